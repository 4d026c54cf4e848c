"""`postward login`: obtain a relay's refresh token, store it, and try it."""

import asyncio
import sys
import time
from pathlib import Path

import click

from postward.agent.commands.common import exit_on_error, fail, load, settings_option
from postward.agent.commands.exit_status import FAILED
from postward.agent.commands.relay import check_text
from postward.agent.console import qr_code, terminal
from postward.agent.oauth2.keeper import renew
from postward.agent.oauth2.request import DeviceCode, TokenError, fetch_by_device_code, fetch_device_code
from postward.agent.oauth2.store import Grant, TokenStore
from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import login_endpoint, read_client
from postward.config.oauth2 import STORED_GRANTS
from postward.config.relay import Relay
from postward.config.settings import Settings
from postward.parsers.scrub import printable

_MAX_QR = 300  # characters; a QR code of more is larger than a terminal


@click.command("login")
@click.argument("name", metavar="RELAY")
@settings_option
@click.option(
    "--refresh-token-file",
    "source",
    type=click.File("r"),
    help="Store the refresh token in this file (- for standard input) instead of asking for a sign-in.",
)
def command(name: str, settings_file: Path, source: click.File | None) -> None:
    """Sign in for RELAY: show a code to enter in a browser, wait, store the refresh token, and try it at the relay.

    RELAY has [relay.oauth2] with grant device_code or refresh_token. A stored token that works is replaced only by
    another that works. Exit status 0 if the relay accepts the token, else 1.
    """
    with exit_on_error():
        settings = load(settings_file)
        relay = _relay(settings, name)
        try:
            token = source.read().strip() if source else sign_in(relay)  # type: ignore[attr-defined]
            store_grant(relay, token)
        except TokenError as error:
            fail(str(error))
        check = asyncio.run(_try(relay, settings))
    terminal().print(check_text(check))
    sys.exit(0 if check.ok else FAILED)


async def _try(relay: Relay, settings: Settings) -> RelayCheck:
    return await check_relay(login_endpoint(relay, settings, relay.read_password(), read_client(settings)))


def _relay(settings: Settings, name: str) -> Relay:
    fitting = {
        relay.name: relay for relay in settings.relay if relay.oauth2 and relay.oauth2.grant in STORED_GRANTS
    }
    if name not in fitting:
        fail(
            f"{name} must be a relay with [relay.oauth2] and grant device_code or refresh_token; "
            f"the settings have: {', '.join(fitting) or 'none'}"
        )
    return fitting[name]


def sign_in(relay: Relay) -> str:
    """Show a device code, wait until it was entered, and return the refresh token. Raises TokenError, SettingsError."""
    if not relay.oauth2 or not relay.oauth2.device_endpoint:
        fail(
            f"relay {relay.name} has no device codes; obtain a refresh token elsewhere, then: "
            f"postward login {relay.name} --refresh-token-file FILE"
        )
    code = fetch_device_code(relay)
    address = code.verification_uri_complete or code.verification_uri
    if len(address) <= _MAX_QR and (drawn := qr_code(address, terminal())):
        terminal().print(drawn)
    click.echo(f"Open   {printable(code.verification_uri)}")
    click.echo(f"enter  {printable(code.user_code)}")
    click.echo(f"and sign in as {relay.username}. Waiting {code.expires_in / 60:.0f} minutes …")
    return _awaited(relay, code)


def _awaited(relay: Relay, code: DeviceCode) -> str:
    end = time.monotonic() + code.expires_in
    while time.monotonic() < end:
        time.sleep(code.interval)
        answer = fetch_by_device_code(relay, code)
        if answer is None:
            continue
        if not answer.refresh_token:
            raise TokenError("the answer has no refresh token; add offline_access to scope", lasting=True)
        return answer.refresh_token
    raise TokenError("the code was not entered in time", lasting=True)


def store_grant(relay: Relay, token: str) -> None:
    """Store a refresh token and use it once. If that fails, the former one comes back. Raises TokenError."""
    if not token or not token.isascii() or not token.isprintable():
        raise TokenError("the refresh token must be a single line of printable ASCII; write only the token")
    store = TokenStore(relay)
    with store.locked():
        former = store.read_grant()
        store.write_grant(Grant(token, time.time()))
    state = renew(relay, store, time.time(), 1.0)
    if state.problem is None:
        click.echo(f"the refresh token of relay {relay.name} is stored, and gives access tokens")
        return
    if former is not None:
        with store.locked():
            store.write_grant(former)
    raise TokenError(f"{state.problem}{'; the former refresh token is kept' if former else ''}")

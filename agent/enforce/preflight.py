"""Tries new settings on the relays before they are applied: connection, TLS, login, no mail.

A fault that will persist (a refused login, a bad certificate) is a refusal. One that may pass (connection refused, no
answer, no address) is reported as such and tried again. Neither changes anything.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.run import PostfixError
from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import login_endpoint, read_client
from postward.config.relay import Relay
from postward.config.settings import Settings
from postward.parsers import Cause
from postward.parsers.scrub import hide

# Causes that depend on the relay or the network rather than on the settings.
_TRANSIENT = frozenset(
    {
        Cause.REFUSED,
        Cause.TIMEOUT,
        Cause.UNREACHABLE,
        Cause.DNS,
        Cause.LOST,
        Cause.GREETING_REFUSED,
        Cause.RATE_LIMIT,
        Cause.QUOTA,
        Cause.AUTH_TEMPORARY,
        Cause.REMOTE_TEMPORARY,
        Cause.LOCAL_RESOURCE,
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why new settings must not be applied.

    Attributes:
        text: the relays' answers.
        transient: the same settings may work later.
    """

    text: str
    transient: bool


def preflight(settings: Settings, passwords: Mapping[str, str], postfix: PostfixConfig) -> Fault | None:
    """Check every relay of the settings with its new login. None if all accept it."""
    logins: dict[str, tuple[str, str]] = {}
    for relay in settings.relay:
        if relay.login_table:
            found = _look_up(relay, postfix)
            if isinstance(found, Fault):
                return found
            logins[relay.name] = found
    return fault_of(check_relays(settings, passwords, logins))


def _look_up(relay: Relay, postfix: PostfixConfig) -> tuple[str, str] | Fault:
    """Return the login in the admin's table, by the keys of smtp(8) in their order (smtp/smtp_sasl_glue.c)."""
    kind, _, name = relay.login_table.removeprefix("proxy:").partition(":")
    where = f"relay.{relay.name}.login_table: {relay.login_table}"
    try:
        found = postfix.look_up(kind, name, dict.fromkeys((relay.host, relay.next_hop)))
    except PostfixError as error:
        return Fault(f"{where} cannot be searched: {error}", transient=True)
    for key in (relay.host, relay.next_hop):
        if login := found.get(key):
            username, _, password = login.partition(":")
            hide([(username, password)])
            return username, password
    return Fault(f"{where} has no login for {relay.next_hop}; add an entry with that key", transient=False)


def fault_of(checks: Iterable[RelayCheck]) -> Fault | None:
    """Return why the settings must not be applied after these checks; None if every step succeeded."""
    failed = [check for check in checks if not check.ok]
    if not failed:
        return None
    text = "; ".join(_describe(check) for check in failed)
    return Fault(text, all(check.cause in _TRANSIENT for check in failed))


def check_relays(
    settings: Settings, passwords: Mapping[str, str], logins: Mapping[str, tuple[str, str]] = {}
) -> list[RelayCheck]:
    """Check all relays at once, each with its password, or with a login from elsewhere."""
    return asyncio.run(_check_all(settings, passwords, logins))


async def _check_all(
    settings: Settings, passwords: Mapping[str, str], logins: Mapping[str, tuple[str, str]]
) -> list[RelayCheck]:
    client = read_client(settings)
    endpoints = [
        login_endpoint(relay, settings, passwords.get(relay.name), client)
        for relay in settings.relays_with_server
    ]
    with_logins = [
        replace(endpoint, username=logins[endpoint.relay][0], password=logins[endpoint.relay][1])
        if endpoint.relay in logins
        else endpoint
        for endpoint in endpoints
    ]
    return await asyncio.gather(*map(check_relay, with_logins))


def _describe(check: RelayCheck) -> str:
    return f"relay {check.relay} ({check.server}) fails at step {check.step}: {check.cause} ({check.detail})"

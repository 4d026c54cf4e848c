"""`postward relay`: check the relays without sending mail."""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.text import Text

from postward.agent.commands.common import echo_json, exit_on_error, fail, json_option, load, settings_option
from postward.agent.commands.completion import completing, relays
from postward.agent.commands.exit_status import FAILED
from postward.agent.console import terminal
from postward.agent.relay.advice import describe_cause
from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import ALTERNATIVE_PORTS, endpoint_of, on_port
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import throttled_check
from postward.config.relay import Relay
from postward.config.settings import Settings


@click.command("relay")
@click.argument("names", nargs=-1, shell_complete=completing(relays))
@settings_option
@json_option
@click.option("--all-ports", is_flag=True, help="Also check ports 587, 465, 2525 and 25, without a login.")
@click.option("--no-auth", is_flag=True, help="Attempt no login.")
def command(
    names: tuple[str, ...], settings_file: Path, as_json: bool, all_ports: bool, no_auth: bool
) -> None:
    """Check the relays, or only those in NAMES: connect, EHLO, TLS, certificate, AUTH, QUIT. No mail is sent.

    Exit status 0 if every step succeeded at every relay, else 1.
    """
    with exit_on_error():
        settings = load(settings_file)
        if others := {relay.name for relay in settings.relay if not relay.has_known_server} & set(names):
            fail(f"{', '.join(sorted(others))}: MX records name the servers; name other relays")
        chosen = [relay for relay in settings.relays_with_server if not names or relay.name in names]
        if unknown := set(names) - {relay.name for relay in chosen}:
            known = ", ".join(relay.name for relay in settings.relays_with_server)
            fail(f"unknown relay: {', '.join(sorted(unknown))}; the settings have: {known}")
        if not chosen:
            fail("nothing to check: MX records name the servers of all relays")
        results = asyncio.run(_check_all(chosen, settings, all_ports=all_ports, login=not no_auth))
    if as_json:
        echo_json([[_as_json(check) for check in checks] for checks in results])
    else:
        for checks in results:
            for check in checks:
                terminal().print(check_text(check))
    sys.exit(0 if all(checks[0].ok for checks in results) else FAILED)


async def _check_all(
    relays: list[Relay], settings: Settings, *, all_ports: bool, login: bool
) -> list[list[RelayCheck]]:
    """Return the checks of each relay: on its own port first, then on other ports."""
    throttle = login_throttle(settings)
    return list(
        await asyncio.gather(*(_check(relay, settings, throttle, all_ports, login) for relay in relays))
    )


async def _check(
    relay: Relay, settings: Settings, throttle: LoginThrottle | None, all_ports: bool, login: bool
) -> list[RelayCheck]:
    endpoint = endpoint_of(relay, settings.host)
    own = throttled_check(relay, settings, throttle) if login else check_relay(endpoint)
    ports = [port for port in ALTERNATIVE_PORTS if port != relay.port] if all_ports else []
    return list(await asyncio.gather(own, *(check_relay(on_port(endpoint, port)) for port in ports)))


def login_throttle(settings: Settings) -> LoginThrottle | None:
    """Return the throttle that the agent uses too; None without a state directory."""
    return LoginThrottle.of_settings(settings) if Path(settings.state.directory).is_dir() else None


def _as_json(check: RelayCheck) -> dict[str, object]:
    return asdict(check) | {"ok": check.ok, "reachable": check.reachable}


def check_text(check: RelayCheck) -> Text:
    """Return a check as text: the result, then the transcript."""
    text = Text.assemble(
        ("relay ", "bold"),
        f"{check.relay} {check.server} ",
        ("ok", "bold green") if check.ok else ("", ""),
    )
    if not check.ok:
        text.append(f"stopped at {check.step}", "bold red")
        text.append(f": {describe_cause(check.cause)}" if check.cause else "")
    if check.auth == "untried" and check.auth_detail:
        text.append(f"  (no login attempted: {check.auth_detail})", "yellow")
    if check.problem:
        text.append(f"  (certificate: {check.problem})", "yellow")
    for line in check.transcript:
        text.append(f"\n  {line.seconds:8.3f} s  {line.by}  ", "dim" if line.by == "-" else "")
        text.append(line.text, "dim" if line.by == "-" else "")
    return text

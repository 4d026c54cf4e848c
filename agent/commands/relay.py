"""`postward relay`: talk to the relays without sending mail."""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.text import Text

from postward.agent.commands.common import FAILED, echo_json, fail, json_option, load, settings_option, told
from postward.agent.console import cause_words, terminal
from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import guarded_check
from postward.agent.relay.target import ALTERNATIVE_PORTS, on_port, target_of
from postward.config.relay import Relay
from postward.config.settings import Settings


@click.command("relay")
@click.argument("names", nargs=-1)
@settings_option
@json_option
@click.option(
    "--all-ports", is_flag=True, help="Also see what answers on 587, 465, 2525 and 25, without a login."
)
@click.option("--no-auth", is_flag=True, help="Try no login.")
def command(
    names: tuple[str, ...], settings_file: Path, as_json: bool, all_ports: bool, no_auth: bool
) -> None:
    """Talk to the relays (or those NAMED): connect, EHLO, TLS, certificate, AUTH, QUIT. Status 0 if all went through."""
    with told():
        settings = load(settings_file)
        chosen = [relay for relay in settings.relay if not names or relay.name in names]
        if unknown := set(names) - {relay.name for relay in chosen}:
            fail(
                f"no relay is called {', '.join(sorted(unknown))}; there are: {', '.join(r.name for r in settings.relay)}"
            )
        results = asyncio.run(_talk(chosen, settings, all_ports=all_ports, login=not no_auth))
    if as_json:
        echo_json([[_as_json(check) for check in checks] for checks in results])
    else:
        for checks in results:
            for check in checks:
                terminal().print(relay_text(check))
    sys.exit(0 if all(checks[0].ok for checks in results) else FAILED)


async def _talk(
    relays: list[Relay], settings: Settings, *, all_ports: bool, login: bool
) -> list[list[RelayCheck]]:
    """For each relay its own conversation first, then those on other ports."""
    guard = login_guard(settings)
    return list(
        await asyncio.gather(*(_talk_to(relay, settings, guard, all_ports, login) for relay in relays))
    )


async def _talk_to(
    relay: Relay, settings: Settings, guard: LoginThrottle | None, all_ports: bool, login: bool
) -> list[RelayCheck]:
    target = target_of(relay, settings.host.myhostname, settings.host.inet_protocols, None)
    own = guarded_check(relay, settings, guard) if login else check_relay(target)
    ports = [port for port in ALTERNATIVE_PORTS if port != relay.port] if all_ports else []
    return list(await asyncio.gather(own, *(check_relay(on_port(target, port)) for port in ports)))


def login_guard(settings: Settings) -> LoginThrottle | None:
    """The agent's own memory of refused logins; none where no agent has a folder."""
    directory = Path(settings.state.directory)
    if not directory.is_dir():
        return None
    return LoginThrottle(directory / "logins.json", settings.relay, settings.probe.max_auth_attempts_per_hour)


def _as_json(check: RelayCheck) -> dict[str, object]:
    return asdict(check) | {"ok": check.ok, "reachable": check.reachable}


def relay_text(check: RelayCheck) -> Text:
    """A conversation for a human."""
    text = Text.assemble(
        ("relay ", "bold"),
        f"{check.relay} {check.host}:{check.port} ",
        ("ok", "bold green") if check.ok else ("", ""),
    )
    if not check.ok:
        text.append(f"stopped at {check.step}", "bold red")
        text.append(f": {cause_words(check.cause)}" if check.cause else "")
    if check.auth == "untried" and check.auth_words:
        text.append(f"  (no login tried: {check.auth_words})", "yellow")
    if check.problem:
        text.append(f"  (certificate: {check.problem})", "yellow")
    for line in check.transcript:
        text.append(f"\n  {line.seconds:8.3f} s  {line.by}  ", "dim" if line.by == "-" else "")
        text.append(line.text, "dim" if line.by == "-" else "")
    return text

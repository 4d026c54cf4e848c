"""`postward probe`: send probes now."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from postward.agent.commands import completion
from postward.agent.commands.common import echo_json, exit_on_error, fail, json_option, load, settings_option
from postward.agent.commands.completion import completing
from postward.agent.commands.exit_status import FAILED
from postward.agent.console import probe_text, terminal
from postward.agent.probe.message import KeyFileError
from postward.agent.probe.once import probe_local, probe_once, probe_routes
from postward.agent.probe.result import ProbeResult
from postward.config.settings import Settings

# Outcome → exit status of a monitoring plug-in; all others are CRITICAL.
_PLUGIN_STATUS = {"accepted": 0, "arrived": 0, "late": 1, "duplicate": 1, "altered": 1}
_CRITICAL, _UNKNOWN = 2, 3
_PLUGIN_STATUS_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


@click.command("probe")
@settings_option
@json_option
@click.option("--all", "every", is_flag=True, help="Probe every route at once: each sender and each relay.")
@click.option(
    "--relay",
    "relays",
    multiple=True,
    shell_complete=completing(completion.relays),
    help="Probe the routes of this relay. Can be repeated.",
)
@click.option(
    "--sender",
    "senders",
    multiple=True,
    shell_complete=completing(completion.senders),
    help="Probe the route of this sender of the settings. Can be repeated.",
)
@click.option("--admin", is_flag=True, help="Send it to root, whose mail host.admin gets.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "check"]),
    default="text",
    show_default=True,
    help="check: print one line, and exit with a status, as monitoring plug-ins do.",
)
def command(
    settings_file: Path,
    as_json: bool,
    every: bool,
    relays: tuple[str, ...],
    senders: tuple[str, ...],
    admin: bool,
    form: str,
) -> None:
    """Send a probe now and print its timeline. Without options, the route of the default sender is probed.

    Exit status 0 if every probe was accepted, else 1.
    """
    with _unknown_on_failure(form), exit_on_error():
        settings = load(settings_file)
        if admin and not settings.host.admin:
            fail("host.admin is not set; set it to the address that gets the mail of root")
        if not (admin or settings.sends_probes):
            fail("probe.recipient is not set; set it to the address that receives probes")
        chosen = bool(every or relays or senders)
        try:
            results = asyncio.run(_probe(settings, chosen, relays, senders, admin=admin))
        except KeyFileError as error:
            fail(f"probe.key_file: {error}")
    if not results:
        fail("no route of the settings matches; `postward check` lists relays and senders")
    if form == "check":
        sys.exit(_print_check(results))
    if as_json:
        echo_json([_as_json(result) for result in results] if chosen else _as_json(results[0]))
    else:
        for result in results:
            terminal().print(probe_text(result))
    sys.exit(0 if all(result.accepted for result in results) else FAILED)


@contextmanager
def _unknown_on_failure(form: str) -> Iterator[None]:
    """Exit with the plug-in's status UNKNOWN if no probe can be sent or followed; standard error has the reason."""
    try:
        yield
    except SystemExit:
        if form == "check":
            click.echo("PROBE UNKNOWN - no probe was sent; see standard error")
            sys.exit(_UNKNOWN)
        raise


async def _probe(
    settings: Settings, chosen: bool, relays: tuple[str, ...], senders: tuple[str, ...], *, admin: bool
) -> list[ProbeResult]:
    if admin:
        return [await probe_local(settings, "root")]
    return await probe_routes(settings, relays, senders) if chosen else [await probe_once(settings)]


def _as_json(result: ProbeResult) -> dict[str, object]:
    more = {"accepted": result.accepted, "verdicts": dict(result.verdicts), "durations": result.durations()}
    return asdict(result) | more


def _plugin_status(result: ProbeResult) -> int:
    status = _PLUGIN_STATUS.get(result.outcome, _CRITICAL)
    return max(status, 1) if result.folder == "spam" else status


def _print_check(results: list[ProbeResult]) -> int:
    """Print one line, the worst result first, and how long each took. Return the worst status."""
    worst_first = sorted(results, key=_plugin_status, reverse=True)
    status = _plugin_status(worst_first[0])
    verdicts = "; ".join(
        f"{result.relay} {result.outcome}"
        + (f" at {result.step}" + (f" ({result.cause})" if result.cause else "") if result.step else "")
        + (" in a folder for spam" if result.folder == "spam" else "")
        for result in worst_first
    )
    times = " ".join(
        f"'{result.relay} {result.sender}'={result.timeline[-1].seconds:.3f}s"
        for result in results
        if result.timeline
    )
    click.echo(f"PROBE {_PLUGIN_STATUS_NAMES[status]} - {verdicts.replace('|', '/')} | {times}")
    return status

"""`postward probe`: probes now."""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

import click

from postward.agent.commands.common import FAILED, echo_json, fail, json_option, load, settings_option, told
from postward.agent.console import probe_text, terminal
from postward.agent.probe.message import KeyFileError
from postward.agent.probe.once import probe_once, probe_routes
from postward.agent.probe.result import ProbeResult
from postward.config.settings import Settings

# Outcome → exit status of a monitoring plug-in; everything else is CRITICAL.
_PLUGIN_STATUS = {"accepted": 0, "late": 1, "duplicate": 1, "altered": 1}
_PLUGIN_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


@click.command("probe")
@settings_option
@json_option
@click.option("--all", "every", is_flag=True, help="Probe each relay and sender, all at once.")
@click.option("--relay", "relays", multiple=True, help="Probe this relay; more than one may be named.")
@click.option("--sender", "senders", multiple=True, help="Probe with this sender of the settings.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "check"]),
    default="text",
    help="check: one line and an exit status as monitoring plug-ins have them.",
)
def command(
    settings_file: Path,
    as_json: bool,
    every: bool,
    relays: tuple[str, ...],
    senders: tuple[str, ...],
    form: str,
) -> None:
    """Send a probe now and show its timeline. Status 0 if it was accepted."""
    with told():
        settings = load(settings_file)
        if not settings.probe.recipient:
            fail("probe.recipient is not set; write the address that probes may go to")
        try:
            chosen = every or relays or senders
            results = asyncio.run(_several(settings, relays, senders) if chosen else _one(settings))
        except KeyFileError as error:
            fail(f"probe.key_file: {error}")
    if not results:
        fail("no sender of the settings leads there; postward check shows relays and senders")
    if form == "check":
        sys.exit(_check(results))
    if as_json:
        echo_json([_as_json(result) for result in results] if chosen else _as_json(results[0]))
    else:
        for result in results:
            terminal().print(probe_text(result))
    sys.exit(0 if all(result.accepted for result in results) else FAILED)


async def _one(settings: Settings) -> list[ProbeResult]:
    return [await probe_once(settings)]


async def _several(
    settings: Settings, relays: tuple[str, ...], senders: tuple[str, ...]
) -> list[ProbeResult]:
    return await probe_routes(settings, relays, senders)


def _as_json(result: ProbeResult) -> dict[str, object]:
    return asdict(result) | {"accepted": result.accepted, "durations": result.durations()}


def _check(results: list[ProbeResult]) -> int:
    """One line: the verdict, the worst first, and how long each took."""
    status = max(_PLUGIN_STATUS.get(result.outcome, 2) for result in results)
    worst = sorted(results, key=lambda result: -_PLUGIN_STATUS.get(result.outcome, 2))
    words = "; ".join(
        f"{result.relay} {result.outcome}"
        + (f" at {result.step}" + (f" ({result.cause})" if result.cause else "") if result.step else "")
        for result in worst
    )
    times = " ".join(
        f"'{result.relay} {result.sender}'={result.timeline[-1].seconds:.3f}s"
        for result in results
        if result.timeline
    )
    click.echo(f"PROBE {_PLUGIN_WORDS[status]} - {words.replace('|', '/')} | {times}")
    return status

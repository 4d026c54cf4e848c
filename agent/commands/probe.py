"""`postward probe`: one probe now."""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path

import click

from agent.commands.common import FAILED, echo_json, fail, json_option, load, settings_option, told
from agent.console import probe_text, terminal
from agent.one_probe import one_probe


@click.command("probe")
@settings_option
@json_option
def command(settings_file: Path, as_json: bool) -> None:
    """Send one probe now and show its timeline. Status 0 if the relay accepted it."""
    with told():
        settings = load(settings_file)
        if not settings.probe.recipient:
            fail("probe.recipient is not set; write the address that probes may go to")
        result = asyncio.run(one_probe(settings))
    if as_json:
        echo_json(asdict(result))
    else:
        terminal().print(probe_text(result))
    sys.exit(0 if result.accepted else FAILED)

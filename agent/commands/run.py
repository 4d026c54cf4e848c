"""`postward run`: the agent."""

import sys
from pathlib import Path

import click

from postward.agent.commands.common import (
    allow_option,
    exit_on_error,
    fail,
    load,
    require_root,
    settings_option,
)
from postward.agent.commands.log_output import log_options
from postward.agent.daemon import Options, StartError, serve
from postward.config.consequences import Effect

# Seconds. Threads read the facts of the host. Beside a thread that computes, each turn of the loop would wait for
# Python's default of 5 ms, and a scrape takes many turns.
_SWITCH_INTERVAL = 0.0005


@click.command("run")
@settings_option
@click.option(
    "--enforce", is_flag=True, help="Also enforce Postfix's configuration in this process. Needs root."
)
@click.option(
    "--deliveries", is_flag=True, help="Print each delivery and each probe's timeline to standard output."
)
@allow_option
@log_options
def command(settings_file: Path, enforce: bool, deliveries: bool, allow: tuple[str, ...]) -> None:
    """Run the agent: read the mail log, count, probe, and serve metrics."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with exit_on_error():
        settings = load(settings_file)
        if enforce:
            require_root()
        try:
            serve(settings, Options(enforce, deliveries, settings_file, frozenset(map(Effect, allow))))
        except StartError as error:
            fail(str(error))

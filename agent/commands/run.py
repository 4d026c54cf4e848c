"""`postward run`: the agent."""

import sys
from pathlib import Path

import click

from postward.agent.commands.common import fail, load, log_to_stderr, require_root, settings_option, told
from postward.agent.daemon import Options, StartError, serve

# Seconds. Threads read the facts of the host; beside one that computes, each of the loop's turns, of which a scrape takes
# many, would else wait for Python's usual five milliseconds.
_SWITCH_INTERVAL = 0.0005


@click.command("run")
@settings_option
@click.option("--enforce", is_flag=True, help="Also keep Postfix's configuration, in this process (root).")
@click.option(
    "--deliveries", is_flag=True, help="Print each delivery and each probe's timeline on standard output."
)
def command(settings_file: Path, enforce: bool, deliveries: bool) -> None:
    """Read the mail log, count, probe, and serve metrics."""
    log_to_stderr()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with told():
        settings = load(settings_file)
        if enforce:
            require_root()
        try:
            serve(settings, Options(enforce, deliveries, settings_file))
        except StartError as error:
            fail(str(error))

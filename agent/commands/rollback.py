"""`postward rollback`: restore a former configuration."""

from pathlib import Path

import click

from postward.agent.commands.common import exit_on_error, load, require_root, settings_option
from postward.agent.commands.completion import completing, generations
from postward.agent.enforce.apply import exclusively, roll_back
from postward.agent.enforce.history import forget_generation
from postward.agent.enforce.state import read_applied, write_applied
from postward.agent.postfix.commands import Postfix


@click.command("rollback")
@click.argument("number", type=int, required=False, shell_complete=completing(generations))
@settings_option
def command(settings_file: Path, number: int | None) -> None:
    """Roll back to generation NUMBER, or to the previous configuration.

    Stop postward-enforce first (or change the settings): otherwise it applies the settings again.
    """
    require_root()
    with exit_on_error():
        settings = load(settings_file)
        directory = Path(settings.enforce.directory)
        with exclusively(directory):
            former = roll_back(Postfix(Path(settings.postfix.config_directory)), directory, number)
            write_applied(directory, read_applied(directory).with_restored(former.confirmed))
            forget_generation(directory, former.number)
    click.echo(f"generation {former.number} is back in force")

"""`postward rollback`: the previous configuration comes back."""

from pathlib import Path

import click

from postward.agent.commands.common import exit_on_error, load, require_root, settings_option
from postward.agent.enforce.apply import exclusively, roll_back
from postward.agent.enforce.history import forget_generation
from postward.agent.enforce.verdicts import AppliedState
from postward.agent.postfix.commands import Postfix


@click.command("rollback")
@click.argument("number", type=int, required=False)
@settings_option
def command(settings_file: Path, number: int | None) -> None:
    """Bring generation NUMBER back, or the previous configuration. A running enforcer would undo that: stop it, or change the settings."""
    require_root()
    with exit_on_error():
        settings = load(settings_file)
        directory = Path(settings.enforce.directory)
        with exclusively(directory):
            former = roll_back(Postfix(Path(settings.postfix.config_directory)), directory, number)
            AppliedState(directory / "verdicts.json").restored(former.confirmed)
            forget_generation(directory, former.number)
    click.echo(f"generation {former.number} is back in force")

"""`postward generations`: list the former configurations."""

from pathlib import Path

import click

from postward.agent.commands.common import (
    echo_json,
    exit_on_error,
    json_option,
    load,
    require_root,
    settings_option,
)
from postward.agent.enforce.history import list_generations


@click.command("generations")
@settings_option
@json_option
def command(settings_file: Path, as_json: bool) -> None:
    """List the former configurations, newest first.

    Each with its number, when it was replaced, whether a probe was accepted with it, and its files.
    """
    require_root()
    with exit_on_error():
        kept = list_generations(Path(load(settings_file).enforce.directory))
    if as_json:
        echo_json(
            [
                {
                    "number": generation.number,
                    "replaced": generation.replaced.isoformat(),
                    "confirmed": bool(generation.confirmed),
                    "files": generation.files,
                }
                for generation in kept
            ]
        )
        return
    for generation in kept:
        confirmed = "confirmed  " if generation.confirmed else "unconfirmed"
        click.echo(
            f"{generation.number:4}  {generation.replaced.astimezone():%Y-%m-%d %H:%M:%S}  {confirmed}  "
            f"{' '.join(generation.files)}"
        )
    if not kept:
        click.echo("no former configuration is kept")

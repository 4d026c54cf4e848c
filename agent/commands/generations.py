"""`postward generations`: the former configurations that can come back."""

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
    """List the former configurations, newest first: number, when it was replaced, whether a probe was accepted with it, files."""
    require_root()
    with exit_on_error():
        kept = list_generations(Path(load(settings_file).enforce.directory))
    if as_json:
        echo_json(
            [
                {
                    "number": one.number,
                    "replaced": one.replaced.isoformat(),
                    "confirmed": bool(one.confirmed),
                    "files": one.files,
                }
                for one in kept
            ]
        )
        return
    for one in kept:
        confirmed = "confirmed  " if one.confirmed else "unproven"
        click.echo(
            f"{one.number:4}  {one.replaced.astimezone():%Y-%m-%d %H:%M:%S}  {confirmed}  {' '.join(one.files)}"
        )
    if not kept:
        click.echo("there is no former configuration")

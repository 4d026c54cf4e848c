"""`postward check`: the settings, checked and as they are in effect."""

from pathlib import Path

import click

from agent.commands.common import echo_json, json_option, load, settings_option, told
from config.example import example


@click.command("check")
@settings_option
@json_option
@click.option("--example", "show_example", is_flag=True, help="Print a commented settings file instead.")
def command(settings_file: Path, as_json: bool, show_example: bool) -> None:
    """Check the settings; print them as they are in effect, without secrets."""
    if show_example:
        click.echo(example(), nl=False)
        return
    with told():
        settings = load(settings_file)
    effective = settings.model_dump(mode="json")
    if as_json:
        echo_json(effective)
        return
    for section, values in effective.items():
        for number, table in enumerate(values if isinstance(values, list) else [values]):
            name = f"{section}.{table['name']}" if section == "relay" else section
            for key, value in table.items():
                click.echo(f"{name}.{key} = {value}")
            if isinstance(values, list) and number < len(values) - 1:
                click.echo()
    click.echo(f"{settings_file}: no problem found", err=True)

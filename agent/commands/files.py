"""`postward files`: write out the files that belong to Postward but not to its Python packages.

They are package data of the wheel, so that `pipx install` brings dashboards, alert rules, runbooks and units as well.
"""

from importlib.resources import as_file, files
from pathlib import Path
from shutil import copytree

import click

from postward.agent.commands.manual import write_pages


@click.command("files")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def command(directory: Path) -> None:
    """Write alert rules, dashboards, Zabbix's template, runbooks, units, the SASL plug-in and manual pages into DIRECTORY.

    Existing files of the same name are replaced. Nothing is installed or started.
    """
    with as_file(files("postward").joinpath("files")) as source:
        for part in sorted(path for path in source.iterdir() if path.is_dir()):
            copytree(part, directory / part.name, dirs_exist_ok=True)
    write_pages(directory / "man")
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        click.echo(path)

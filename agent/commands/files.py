"""`postward files`: write out the files that belong to Postward but not to its Python packages.

They are package data of the wheel, so that `pipx install` brings dashboards, alert rules, runbooks and units as well.
"""

import re
from importlib.resources import as_file, files
from pathlib import Path
from shutil import copytree

import click

from postward.agent.commands.common import exit_on_error, load, settings_option
from postward.agent.commands.manual import write_pages

_RUNBOOK = re.compile(r"(?<=runbook_url: )\S+/docs/runbooks(?=/)")


@click.command("files")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@settings_option
@click.option(
    "--runbooks",
    metavar="URL",
    help="URL of the runbooks in the alert rules, as in https://HOST:19787/runbooks. Default: those of web.external_url, "
    "else the project's.",
)
def command(directory: Path, settings_file: Path, runbooks: str | None) -> None:
    """Write alert rules, dashboards, Zabbix's template, runbooks, units, the SASL plug-in and manual pages into DIRECTORY.

    Existing files of the same name are replaced. Nothing is installed or started.
    """
    with as_file(files("postward").joinpath("files")) as source:
        for part in sorted(path for path in source.iterdir() if path.is_dir()):
            copytree(part, directory / part.name, dirs_exist_ok=True)
    if url := runbooks or _own_runbooks(settings_file):
        for path in (directory / "alerts").iterdir():
            path.write_text(with_runbooks(path.read_text(encoding="utf-8"), url), encoding="utf-8")
    write_pages(directory / "man")
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        click.echo(path)


def with_runbooks(rules: str, url: str) -> str:
    """Return alert rules whose runbooks are below another URL."""
    return _RUNBOOK.sub(url.rstrip("/").replace("\\", ""), rules)


def _own_runbooks(settings_file: Path) -> str | None:
    """Return the URL of the agent's runbooks, if the host has settings with web.external_url."""
    if not settings_file.exists():
        return None
    with exit_on_error():
        url = load(settings_file).web.external_url
    return f"{url}/runbooks" if url else None

"""`postward why`: why mail does not go out, which setting is to blame, and the remedy.

With files it reads only them, whatever host wrote them. Without files it asks the running agent, or reads what the
agent last saved, and reads facts about this host that separate the causes of one and the same line.
"""

import re
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click

from postward.agent.commands.common import (
    DRIFT,
    echo_json,
    exit_on_error,
    fail,
    json_option,
    load,
    settings_option,
)
from postward.agent.commands.reading import ignore_broken_pipe, progress_bar
from postward.agent.console import terminal
from postward.agent.incidents import Incident
from postward.agent.incidents.diagnosis import diagnose, to_dict
from postward.agent.incidents.model import IncidentRow
from postward.agent.incidents.render import heading, lines_of_incident
from postward.agent.incidents.replay import read_logs
from postward.agent.logs.archive import LogFileError
from postward.agent.metrics.labels import RelayNames
from postward.agent.status.client import LiveError, read_live
from postward.agent.text import local_now

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _since(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    if match := re.fullmatch(r"(\d{1,6})([smhd])", value):
        return local_now() - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    try:
        return datetime.fromisoformat(value).astimezone()
    except ValueError:
        raise click.BadParameter(f'{value} is not a time; write 30m, 2h, 3d, or "2026-11-24 09:00"') from None


@click.command("why")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, metavar="[FILE|-]...")
@settings_option
@json_option
@click.option(
    "--since", callback=_since, help='Only lines written since: 30m, 2h, 3d, or "2026-11-24 09:00".'
)
@click.option("--addresses", is_flag=True, help="Show mail addresses; they are masked otherwise.")
def command(
    files: tuple[Path, ...], settings_file: Path, as_json: bool, since: datetime | None, addresses: bool
) -> None:
    """Explain why mail does not go out: cause, setting to blame, remedy, and the lines that prove it.

    FILE: logs of any host, also .gz, .xz, .bz2 and .zst; `journal` is the systemd journal of this host.
    Without FILE: the incidents of this host.
    Exit status 3 if an open incident keeps mail back.
    """
    with exit_on_error(), ignore_broken_pipe():
        rows = (
            _of_files(files, since, addresses=addresses)
            if files
            else _live(settings_file, since, addresses=addresses)
        )
    if as_json:
        echo_json({"incidents": rows})
    else:
        show(rows)
    if any(row["closed"] is None and row["effect"] != "note" for row in rows):
        sys.exit(DRIFT)


def _of_files(files: tuple[Path, ...], since: datetime | None, *, addresses: bool) -> list[IncidentRow]:
    try:
        with progress_bar(files, wanted=True) as progress:
            incidents = read_logs(files, RelayNames(), local_now(), since=since, progress=progress)
    except LogFileError as error:
        fail(str(error))
    symptoms = {incident.symptom for incident in incidents.open}
    return [
        to_dict(incident, diagnose(incident, open_symptoms=symptoms), addresses=addresses)
        for incident in (*incidents.open, *incidents.closed)
    ]


def _live(settings_file: Path, since: datetime | None, *, addresses: bool) -> list[IncidentRow]:
    settings = load(settings_file)
    try:
        live = read_live(settings, settings_file, addresses=addresses)
    except LiveError as error:
        fail(str(error))
    if live.behind:
        click.echo(f"postward: {live.behind}", err=True)

    def is_since(incident: Incident) -> bool:
        return since is None or max(incident.last, incident.closed or 0.0) >= since.timestamp()

    return live.shown(is_since, addresses=addresses)


def show(rows: list[IncidentRow]) -> None:
    """Print incidents on the terminal."""
    from rich.text import Text

    console, now = terminal(), time.time()
    for row in rows:
        for parts in lines_of_incident(row, now):
            console.print(Text.assemble(*parts))
        console.print()
    click.echo(heading(rows), err=True)

"""`postward why`: why mail does not go out, which setting is to blame, and the remedy.

With files it reads only them, and that host's configuration if it is given, whatever host wrote them. Without files it
asks the running agent, or reads what the agent last saved, and reads facts about this host that separate the causes of
one and the same line.
"""

import re
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from postward.agent.commands.common import echo_json, exit_on_error, fail, json_option, settings_option
from postward.agent.commands.exit_status import BAD_SETTINGS, DRIFT, UNREAD
from postward.agent.commands.reading import LOG_FILE, progress_bar
from postward.agent.commands.status import ask_despite
from postward.agent.console import terminal
from postward.agent.incidents import Incident
from postward.agent.incidents.diagnosis import diagnose, proofs_of, to_dict
from postward.agent.incidents.model import IncidentRow
from postward.agent.incidents.pasted import explain_pasted
from postward.agent.incidents.render import heading, lines_of_incident
from postward.agent.incidents.replay import read_logs
from postward.agent.logs.archive import LogFileError
from postward.agent.logs.coverage import Coverage
from postward.agent.metrics.labels import RelayNames
from postward.agent.postfix.facts import read_posted_facts
from postward.agent.status.client import HostIncidents, LiveError, read_live
from postward.agent.text import local_now
from postward.config.errors import SettingsError
from postward.config.lint import Finding, HostFacts
from postward.config.settings import load_settings

_FILE: Final = click.Path(exists=True, dir_okay=False, readable=False, path_type=Path)
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
@click.argument("files", type=LOG_FILE, nargs=-1, metavar="[FILE|-]...")
@settings_option
@json_option
@click.option(
    "--since", callback=_since, help='Only lines written since: 30m, 2h, 3d, or "2026-11-24 09:00".'
)
@click.option("--addresses", is_flag=True, help="Show mail addresses; they are masked otherwise.")
@click.option("--text", metavar="ERROR", help="Explain one error: a reply, a bounce's text or a line.")
@click.option("--main-cf", type=_FILE, help="main.cf or `postconf -n` of the host that wrote FILE.")
@click.option("--master-cf", type=_FILE, help="master.cf or `postconf -M` of that host.")
def command(**options: Any) -> None:
    """Explain why mail does not go out: cause, setting to blame, remedy, and the lines that prove it.

    FILE: logs of any host, also .gz, .xz, .bz2 and .zst; `journal` is the systemd journal of this host.
    Without FILE: the incidents of this host.
    Exit status 3 if an open incident keeps mail back, 4 if no line of Postfix was read or the agent does not answer.
    """
    _why(_Options(**options))


@dataclass(frozen=True, slots=True)
class _Options:
    """The command line."""

    files: tuple[Path, ...]
    settings_file: Path
    as_json: bool
    since: datetime | None
    addresses: bool
    text: str | None
    main_cf: Path | None
    master_cf: Path | None


def _why(options: _Options) -> None:
    if options.text is not None and (options.files or options.main_cf):
        raise click.UsageError("--text explains an error alone: leave out FILE and --main-cf")
    if (options.main_cf or options.master_cf) and not (options.files and options.main_cf):
        raise click.UsageError("--main-cf and --master-cf belong to a FILE; --master-cf needs --main-cf")
    with exit_on_error():
        if options.text is not None:
            _explain(options.text, as_json=options.as_json)
        elif options.files:
            coverage = Coverage()
            _report(_of_files(options, coverage), options, coverage)
        else:
            _report_live(options)


def _explain(text: str, *, as_json: bool) -> None:
    rows = explain_pasted(text, local_now())
    if as_json:
        echo_json({"incidents": rows})
    else:
        _show(rows, with_place=False)
    if not rows:
        click.echo("Postward does not know this error", err=True)
        sys.exit(UNREAD)


def _report(rows: list[IncidentRow], options: _Options, coverage: Coverage | None) -> None:
    if options.as_json:
        echo_json({"incidents": rows} | ({"lines": coverage.to_dict()} if coverage is not None else {}))
    else:
        _show(rows)
    if coverage is not None:
        click.echo(coverage.summary, err=True)
        if coverage.is_blind:
            sys.exit(UNREAD)
    click.echo(heading(rows), err=True)
    if any(row["closed"] is None and row["effect"] != "note" for row in rows):
        sys.exit(DRIFT)


def _of_files(options: _Options, coverage: Coverage) -> list[IncidentRow]:
    facts, findings = HostFacts(), list[Finding]()
    if options.main_cf is not None:
        facts = read_posted_facts(options.main_cf, options.master_cf)
        findings = proofs_of(None, facts)
    try:
        with progress_bar(options.files, wanted=True) as progress:
            incidents = read_logs(
                options.files,
                RelayNames(),
                local_now(),
                since=options.since,
                coverage=coverage,
                progress=progress,
            )
    except LogFileError as error:
        fail(str(error))
    symptoms = {incident.symptom for incident in incidents.open}
    return [
        to_dict(incident, diagnose(incident, facts, findings, symptoms), addresses=options.addresses)
        for incident in (*incidents.open, *incidents.closed)
    ]


def _report_live(options: _Options) -> None:
    try:
        settings = load_settings(options.settings_file)
    except SettingsError as error:
        _report(ask_despite(error, options.settings_file)["incidents"], options, None)
        sys.exit(BAD_SETTINGS)
    try:
        live = read_live(settings, options.settings_file, addresses=options.addresses)
    except LiveError as error:
        fail(str(error))
    if live.behind:
        click.echo(f"postward: {live.behind}", err=True)
    _report(_rows_of(live, options), options, None)
    if live.behind:
        sys.exit(UNREAD)


def _rows_of(live: HostIncidents, options: _Options) -> list[IncidentRow]:
    since = options.since

    def is_since(incident: Incident) -> bool:
        return since is None or max(incident.last, incident.closed or 0.0) >= since.timestamp()

    return live.shown(is_since, addresses=options.addresses)


def _show(rows: list[IncidentRow], *, with_place: bool = True) -> None:
    """Print incidents on the terminal."""
    from rich.text import Text

    console, now = terminal(), time.time()
    for row in rows:
        for parts in lines_of_incident(row, now, with_place=with_place):
            console.print(Text.assemble(*parts))
        console.print()

"""`postward why`: why mail does not go out, which setting is to blame, and the remedy.

With files it reads only them, and that host's configuration if it is given, whatever host wrote them. Without files it
asks the running agent, or reads what the agent last saved, and reads facts about this host that separate the causes of
one and the same line.
"""

import contextlib
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from postward.agent.commands.common import echo_json, exit_on_error, fail, json_option, settings_option
from postward.agent.commands.exit_status import BAD_SETTINGS, DRIFT, UNREAD
from postward.agent.commands.reading import LOG_FILE, moment_of, progress_bar
from postward.agent.commands.status import ask_despite
from postward.agent.console import terminal
from postward.agent.doctor.system import agent_remedy
from postward.agent.incidents import Incident
from postward.agent.incidents.diagnosis import diagnose, for_settings_file, proofs_of, to_dict
from postward.agent.incidents.model import IncidentRow
from postward.agent.incidents.pasted import explain_pasted
from postward.agent.incidents.render import (
    EFFECT_TEXTS,
    MAIL_STOPS,
    closed_line,
    heading,
    lines_of_incident,
    worst_effect,
)
from postward.agent.incidents.replay import read_logs
from postward.agent.logs.archive import LogFileError
from postward.agent.logs.coverage import Coverage
from postward.agent.metrics.labels import RelayNames
from postward.agent.postfix.facts import read_posted_facts
from postward.agent.status.client import LiveError, read_live
from postward.agent.text import local_now
from postward.config.errors import SettingsError
from postward.config.lint import Finding, HostFacts
from postward.config.settings import load_settings

_FILE: Final = click.Path(exists=True, dir_okay=False, readable=False, path_type=Path)


@click.command("why")
@click.argument("files", type=LOG_FILE, nargs=-1, metavar="[FILE|-]...")
@settings_option
@json_option
@click.option(
    "--since", callback=moment_of, help='Only lines written since: 30m, 2h, 3d, or "2026-11-24 09:00".'
)
@click.option("--addresses", is_flag=True, help="Show mail addresses; they are masked otherwise.")
@click.option(
    "--closed", is_flag=True, help="Show the resolved incidents of this host in full, not in one line each."
)
@click.option("--text", metavar="ERROR", help="Explain one error: a reply, a bounce's text or a line.")
@click.option("--main-cf", type=_FILE, help="main.cf or `postconf -n` of the host that wrote FILE.")
@click.option("--master-cf", type=_FILE, help="master.cf or `postconf -M` of that host.")
def command(**options: Any) -> None:
    """Explain why mail does not go out: cause, setting to blame, remedy, and the lines that prove it.

    FILE: logs of any host, also .gz, .xz, .bz2 and .zst; `journal` is the systemd journal of this host.
    Without FILE: the incidents of this host.
    Exit status 3 if an incident is open that is more than a note, 4 if no line of Postfix was read or the agent does not
    observe the mail.
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
    closed: bool
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


def _report(rows: list[IncidentRow], options: _Options, coverage: Coverage) -> None:
    if options.as_json:
        echo_json({"incidents": rows, "lines": coverage.to_dict()})
    else:
        _show(rows)
    click.echo(coverage.summary, err=True)
    if coverage.is_blind:
        sys.exit(UNREAD)
    click.echo(heading(rows), err=True)
    if any(row["closed"] is None and row["effect"] != "note" for row in rows):
        sys.exit(DRIFT)


def _report_live(options: _Options) -> None:
    bad = False
    try:
        rows, unknown = _live(options)
    except SettingsError as error:
        rows, unknown, bad = ask_despite(error, options.settings_file)["incidents"], "", True
    remedy = agent_remedy() if unknown else ""
    if options.as_json:
        echo_json({"incidents": rows} | ({"unknown": unknown, "remedy": remedy} if unknown else {}))
    else:
        _show(rows, in_full=options.closed)
    if unknown:
        click.echo(f"not known whether mail goes out: {unknown}\nremedy: {remedy}", err=True)
        sys.exit(DRIFT if worst_effect(rows) in MAIL_STOPS else UNREAD)
    click.echo(heading(rows), err=True)
    if bad:
        sys.exit(BAD_SETTINGS)
    if {row["effect"] for row in rows if row["closed"] is None} - {"note"}:
        sys.exit(UNREAD if worst_effect(rows) == "blind" else DRIFT)


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
    if options.main_cf is not None and len(incidents.by_host) > 1:
        hosts = ", ".join(sorted(incidents.by_host))
        click.echo(f"{options.main_cf} is not used: FILE has lines of several hosts: {hosts}", err=True)
        facts, findings = HostFacts(), []
    rows: list[IncidentRow] = []
    for host, of_host in incidents.by_host.items():
        symptoms = {incident.symptom for incident in of_host.open}
        for incident in (*of_host.open, *of_host.closed):
            diagnosis = diagnose(incident, facts, findings, symptoms)
            rows.append(to_dict(incident, diagnosis, addresses=options.addresses, host=host))
    effects = list(EFFECT_TEXTS)
    return sorted(rows, key=lambda row: (row["closed"] is not None, effects.index(row["effect"])))


def _live(options: _Options) -> tuple[list[IncidentRow], str]:
    """Return the incidents of this host, of all its instances, and why they may be out of date."""
    settings, since = load_settings(options.settings_file), options.since
    every = {options.settings_file: settings}
    for path in map(Path, settings.postfix.instances):
        # The incident of a bad file is one of the main instance.
        with contextlib.suppress(SettingsError):
            every[path] = load_settings(path)

    def is_since(incident: Incident) -> bool:
        return since is None or max(incident.last, incident.closed or 0.0) >= since.timestamp()

    rows: list[IncidentRow] = []
    unknown: list[str] = []
    for file, own in every.items():
        try:
            live = read_live(own, file, addresses=options.addresses)
        except LiveError as error:
            fail(str(error))
        shown = live.shown(is_since, addresses=options.addresses)
        rows += shown if own is settings else [for_settings_file(row, file) for row in shown]
        unknown += filter(None, [live.unknown])
    return sorted(rows, key=lambda row: row["closed"] is not None), "; ".join(unknown)


def _show(rows: list[IncidentRow], *, with_place: bool = True, in_full: bool = True) -> None:
    """Print incidents on the terminal; unless `in_full`, closed ones in one line each."""
    from rich.text import Text

    console, now = terminal(), time.time()
    for row in rows:
        if row["closed"] is not None and not in_full:
            console.print(Text.assemble(*closed_line(row, now)))
            continue
        for parts in lines_of_incident(row, now, with_place=with_place):
            console.print(Text.assemble(*parts))
        console.print()

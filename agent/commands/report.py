"""`postward report`: totals, incidents, relays and domains of logs, as text, JSON or one HTML file.

Memory does not grow with the logs. The report is the same from one process, all cores, or a Dask cluster. A file that cannot
be read to its end is named, the others are counted, and the exit status is 1. It is 4 if no line of Postfix was read.
"""

import json
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from postward.agent.commands.exit_status import FAILED, UNREAD
from postward.agent.commands.reading import (
    logs_of_this_host,
    moment_of,
    relays_of,
    relays_option,
    settings_file_of,
    settings_of,
    size_bar,
    written_since,
)
from postward.agent.logs.archive import STANDARD_INPUT, LogFileError
from postward.agent.logs.coverage import head_of, looks_of
from postward.agent.output import output_file
from postward.agent.report.chunks import CHUNK, chunks_of
from postward.agent.report.period import Period
from postward.agent.report.workers import Counted, Job, count_on_all_cores
from postward.agent.senders.part import user_of
from postward.agent.text import local_now

if TYPE_CHECKING:
    from postward.config.settings import Settings

_STANDARD_OUTPUT: Final = Path("-")


@click.command("report")
@click.argument("files", type=click.Path(readable=False), nargs=-1, metavar="[FILE]...")
@click.option("--since", callback=moment_of, help='Only lines since: 30m, 2h, 3d, or "2026-11-24 09:00".')
@click.option("--until", callback=moment_of, help='Only lines before: 30m, 2h, 3d, or "2026-11-24 09:00".')
@click.option("--yesterday", is_flag=True, help="Only lines of the day before today.")
@click.option("--last-week", is_flag=True, help="Only lines of the last whole week, Monday to Sunday.")
@click.option("--compare", is_flag=True, help="Compare the totals with the period of the same length before.")
@click.option("--lost", is_flag=True, help="List the mails that were lost, one line for each recipient.")
@click.option("--csv", "as_csv", is_flag=True, help="With --lost: print CSV.")
@click.option(
    "--addresses",
    is_flag=True,
    help="Count and show the addresses of senders and recipients, and the names of logins; they are masked otherwise.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the report as one HTML file with charts; - is standard output.",
)
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Number of hosts, and of domains of each kind.",
)
@click.option("--mask", is_flag=True, help="Leave out names of hosts and domains, and replies of servers.")
@click.option("--jobs", type=click.IntRange(min=1), help="Number of processes; default: one for each core.")
@click.option("--dask", metavar="ADDRESS", help="Count on a Dask cluster; FILE may be any fsspec URL.")
@click.option(
    "--chunk",
    type=click.IntRange(min=1),
    default=CHUNK,
    show_default=True,
    help="Size of the pieces of plain files that are counted apart, in bytes.",
)
@click.option("--send", is_flag=True, help="Send the report that is due, as [report] of the settings says.")
@relays_option
def command(**options: Any) -> None:
    """Report on logs: totals, incidents, relays, causes, delays, hosts, domains.

    FILE may be compressed (.gz, .xz, .bz2, .zst); - is standard input, journal the systemd journal.
    The order of the files does not matter.
    Without FILE: the log of this host and its rotated files.
    """
    _report(_Options(**options))


@dataclass(frozen=True, slots=True)
class _Options:
    """The command line."""

    files: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    yesterday: bool
    last_week: bool
    compare: bool
    lost: bool
    as_csv: bool
    addresses: bool
    as_json: bool
    html: Path | None
    top: int
    mask: bool
    jobs: int | None
    dask: str | None
    chunk: int
    send: bool
    settings_file: Path | None
    is_own_log: bool = False

    def period(self, now: datetime) -> Period:
        """Return the time that is asked for."""
        if bool(self.since or self.until) + self.yesterday + self.last_week > 1:
            raise click.UsageError("--yesterday, --last-week, and --since with --until exclude each other")
        if self.yesterday or self.last_week:
            return Period.yesterday(now) if self.yesterday else Period.last_week(now)
        if self.since and self.until and self.since >= self.until:
            raise click.UsageError("--since must be earlier than --until")
        return Period.between(self.since, self.until)


def _report(options: _Options) -> None:
    now = local_now()
    period = options.period(now)
    _check(options, period)
    if options.send:
        from postward.agent.commands.sending import send_report

        sys.exit(send_report(settings_file_of(options.settings_file), now))
    if options.files:
        relays = relays_of(options.settings_file)
    else:
        from postward.agent.metrics.labels import rows_of

        settings = settings_of(settings_file_of(options.settings_file))
        own = _of_this_host(settings, options, period, now)
        options = replace(options, files=own, is_own_log=True)
        relays = rows_of(settings.relay)
    if options.lost:
        from postward.agent.commands.lost import print_lost

        files = [Path(file) for file in options.files]
        form = "json" if options.as_json else "csv" if options.as_csv else "text"
        masks = (options.addresses, options.mask)
        sys.exit(print_lost(files, relays, period, form, *masks))
    file = options.html if options.html != _STANDARD_OUTPUT else None
    job = Job(relays, period=period, addresses=options.addresses)
    with output_file(file) if file else nullcontext() as page:
        status = _count_and_write(options, job, job.before(now) if options.compare else None, page)
    sys.exit(status)


def _check(options: _Options, period: Period) -> None:
    """Refuse options that do not fit together."""
    if options.compare and period.since is None:
        raise click.UsageError("--compare needs a period: --yesterday, --last-week or --since")
    if options.compare and str(STANDARD_INPUT) in options.files:
        raise click.UsageError("standard input cannot be read twice; write it to a file first")
    if options.as_csv and not options.lost:
        raise click.UsageError("--csv belongs to --lost")
    if options.addresses and options.mask and not options.lost:
        raise click.UsageError("--addresses and --mask exclude each other")
    if options.lost and (options.html or options.dask or options.compare):
        raise click.UsageError("--lost is a list: leave out --html, --dask and --compare")
    if options.as_csv and options.as_json:
        raise click.UsageError("--csv and --json exclude each other")
    if options.send and (options.files or options.lost or period != Period()):
        raise click.UsageError("--send sends the report of the settings: leave out FILE, --lost and times")


def _of_this_host(settings: "Settings", options: _Options, period: Period, now: datetime) -> tuple[str, ...]:
    """Return the logs of this host that may have lines of the period."""
    first = period.before(now) if options.compare else period
    paths = logs_of_this_host(settings)
    return tuple(map(str, written_since(paths, first or Period(), whole_mails=options.lost)))


def _count_and_write(options: _Options, job: Job, before: Job | None, page: Path | None) -> int:
    """Count, write what was asked for, an HTML page to `page` or else to standard output, and return the status."""
    counted = _count(job, options)
    former = _count(before, options).tally if before is not None else None
    for message in counted.errors:
        click.echo(f"postward: {message}", err=True)
    if counted.errors and not counted.tally.lines:
        sys.exit(FAILED)
    from postward.agent.report.summary import Compared, summarise

    compared = Compared(before.period, former) if before is not None and former is not None else None
    report = summarise(
        counted.tally,
        top=options.top,
        mask=options.mask,
        period=job.period,
        before=compared,
        users=user_of if options.is_own_log else lambda _: None,
    )
    if options.html is not None:
        from postward.agent.report.html import as_page

        text = as_page(report, options.files, version("postward"))
        if page is not None:
            page.write_text(text, encoding="utf-8")
        else:
            click.echo(text)
    if options.as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    elif options.html is None:
        from postward.agent.report.text import as_text

        click.echo(as_text(report), nl=False)
    if counted.errors:
        return FAILED
    if not sum(counted.tally.lines.values()) - counted.tally.lines["foreign"]:
        return _explain_nothing(options, job.period)
    return 0


def _explain_nothing(options: _Options, period: Period) -> int:
    """Say why no line was counted."""
    for file in options.files:
        looks = "" if period != Period() else f": {_looks_of(file)}"
        click.echo(f"postward: {file}: 0 lines of Postfix{looks or ' in the time asked for'}", err=True)
    return UNREAD


def _count(job: Job, options: _Options) -> Counted:
    return _on_dask(options.dask, job, options) if options.dask else _here(job, options)


def _looks_of(file: str) -> str:
    try:
        return looks_of(head_of(Path(file)))
    except LogFileError as error:  # such as the URL of a file on the cluster
        return str(error)


def _here(job: Job, options: _Options) -> Counted:
    chunks, errors = [], []
    for file in dict.fromkeys(options.files):
        try:
            chunks += chunks_of([Path(file)], options.chunk)
        except LogFileError as error:
            errors.append(str(error))
    with size_bar(sum(piece.size for piece in chunks)) as progress:
        try:
            counted = count_on_all_cores(job, chunks, options.jobs or _cores(), progress)
        except ChildProcessError as error:
            click.echo(f"postward: {error}", err=True)
            sys.exit(1)
    return Counted(counted.tally, [*errors, *counted.errors])


def _on_dask(address: str, job: Job, options: _Options) -> Counted:
    try:
        from postward.agent.report.dask import ClusterError, count_on_dask
    except ImportError as error:
        from postward.agent.commands.common import fail_without

        fail_without("distributed fsspec", error)
    try:
        with size_bar(None) as progress:
            return count_on_dask(address, job, list(dict.fromkeys(options.files)), options.chunk, progress)
    except ClusterError as error:
        click.echo(f"postward: {error}", err=True)
        sys.exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0))

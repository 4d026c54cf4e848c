"""`postward report --send`: the report that is due, by mail and web hook, as `[report]` of the settings says."""

import asyncio
import os
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import click

from postward.agent.commands.exit_status import FAILED
from postward.agent.commands.reading import logs_of_this_host, settings_of, written_since
from postward.agent.incidents.render import MAIL_STOPS
from postward.agent.logs.archive import LogFileError
from postward.agent.metrics.labels import rows_of
from postward.agent.report.chunks import Chunk, chunks_of
from postward.agent.report.period import Period
from postward.agent.report.send import SentReports, digest_of, period_of, send_by
from postward.agent.report.summary import Compared, Report, summarise
from postward.agent.report.workers import Counted, Job, count_on_all_cores
from postward.agent.senders.part import user_of
from postward.agent.status.client import ask_for_check
from postward.config.settings import Settings


def send_report(settings_file: Path, now: datetime) -> int:
    """Send the report that is due, if any, and return the exit status."""
    settings = settings_of(settings_file)
    period = period_of(settings.report, now)
    if period is None:
        click.echo('no report is sent: report.send is "never"')
        return 0
    sent = SentReports(Path(settings.state.directory))
    ways = sent.due(settings, period)
    if not ways:
        click.echo("the report has been sent before")
        return 0
    first = period.before(now) or period
    paths = written_since(logs_of_this_host(settings), first)
    report, errors = _count(settings, paths, period, now)
    digest = digest_of(report, settings.host.myhostname, [*map(str, paths)], version("postward"))
    failing, status = _failing(settings_file), FAILED if errors else 0
    for message in errors:
        click.echo(f"postward: {message}", err=True)
    for way in ways:
        reason = asyncio.run(send_by(way, settings, digest, failing))
        if reason:
            click.echo(f"postward: {reason}", err=True)
            status = FAILED
        else:
            sent.note(way, period)
            click.echo(f"sent by {way}: {digest.headline}")
    return status


def _count(settings: Settings, paths: list[Path], period: Period, now: datetime) -> tuple[Report, list[str]]:
    """Return the report, compared with the period before, and a message for each log that could not be read."""
    job = Job(rows_of(settings.relay), period=period)
    chunks: list[Chunk] = []
    errors: list[str] = []
    for path in paths:
        try:
            chunks += chunks_of([path])
        except LogFileError as error:
            errors.append(str(error))
    counted = _counted(job, chunks)
    before = job.before(now)
    former = Compared(before.period, _counted(before, chunks).tally) if before else None
    report = summarise(
        counted.tally,
        top=settings.report.top,
        mask=settings.report.mask,
        period=period,
        before=former,
        users=user_of,
    )
    return report, [*errors, *counted.errors]


def _counted(job: Job, chunks: list[Chunk]) -> Counted:
    return count_on_all_cores(job, chunks, len(os.sched_getaffinity(0)))


def _failing(settings_file: Path) -> frozenset[str]:
    """Return the relays whose mail stops, if the agent says so."""
    status, _ = ask_for_check(settings_file)
    rows = status["incidents"] if status else []
    return frozenset(row["relay"] for row in rows if row["closed"] is None and row["effect"] in MAIL_STOPS)

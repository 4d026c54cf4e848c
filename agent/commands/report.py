"""`postward report`: totals, incidents, relays and domains of logs, as text, JSON or one HTML file.

Memory does not grow with the logs. The report is the same from one process, all cores, or a Dask cluster. A file that cannot
be read to its end is named, the others are counted, and the exit status is 1. It is 4 if no line of Postfix was read.
"""

import json
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click

from postward.agent.commands.exit_status import FAILED, UNREAD
from postward.agent.commands.reading import relays_of, relays_option, size_bar
from postward.agent.logs.archive import LogFileError
from postward.agent.logs.coverage import head_of, looks_of
from postward.agent.output import output_file
from postward.agent.report.chunks import CHUNK, chunks_of
from postward.agent.report.workers import Counted, Job, count_on_all_cores

_STANDARD_OUTPUT: Final = Path("-")


@click.command("report")
@click.argument("files", type=click.Path(readable=False), nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write the report as one HTML file with charts; - is standard output.",
)
@click.option(
    "--top", type=click.IntRange(min=0), default=20, show_default=True, help="Number of domains of each kind."
)
@click.option("--mask", is_flag=True, help="Leave out names of domains and replies of servers.")
@click.option("--jobs", type=click.IntRange(min=1), help="Number of processes; default: one for each core.")
@click.option("--dask", metavar="ADDRESS", help="Count on a Dask cluster; FILE may be any fsspec URL.")
@click.option(
    "--chunk",
    type=click.IntRange(min=1),
    default=CHUNK,
    show_default=True,
    help="Size of the pieces of plain files that are counted apart, in bytes.",
)
@relays_option
def command(**options: Any) -> None:
    """Report on logs: totals, incidents, relays, causes, delays, domains.

    FILE may be compressed (.gz, .xz, .bz2, .zst); - is standard input, journal the systemd journal.
    The order of the files does not matter.
    """
    _report(_Options(**options))


@dataclass(frozen=True, slots=True)
class _Options:
    """The command line."""

    files: tuple[str, ...]
    as_json: bool
    html: Path | None
    top: int
    mask: bool
    jobs: int | None
    dask: str | None
    chunk: int
    settings_file: Path | None


def _report(options: _Options) -> None:
    file = options.html if options.html != _STANDARD_OUTPUT else None
    with output_file(file) if file else nullcontext() as page:
        status = _count_and_write(options, page)
    sys.exit(status)


def _count_and_write(options: _Options, page: Path | None) -> int:
    """Count, write what was asked for, an HTML page to `page` or else to standard output, and return the status."""
    job = Job(relays_of(options.settings_file))
    counted = _on_dask(options.dask, job, options) if options.dask else _here(job, options)
    for message in counted.errors:
        click.echo(f"postward: {message}", err=True)
    if counted.errors and not counted.tally.lines:
        sys.exit(FAILED)
    from postward.agent.report.summary import summarise

    report = summarise(counted.tally, top=options.top, mask=options.mask)
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
        for file in options.files:
            click.echo(f"postward: {file}: 0 lines of Postfix: {_looks_of(file)}", err=True)
        return UNREAD
    return 0


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

"""`postward report`: what happened to mail in any span of logs, as text, JSON or one HTML file.

Memory does not grow with the logs. The report is the same whether one process reads them, all cores, or a Dask cluster. A file
that cannot be read, or not to its end, is named, the others are counted all the same, and the status is 1.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from postward.agent.logs.archive import LogFileError, ignore_broken_pipe
from postward.agent.report.chunks import CHUNK, chunks_of
from postward.agent.report.workers import Counted, Job, Progress, count_on_all_cores

_WORTH_A_BAR = 8 << 20  # bytes on disk


@click.command("report")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write it as one HTML file with charts."
)
@click.option(
    "--top", type=click.IntRange(min=0), default=20, show_default=True, help="So many domains of each kind."
)
@click.option("--mask", is_flag=True, help="Leave out names of domains and the words of other servers.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; default: one for each core.")
@click.option("--dask", metavar="ADDRESS", help="Count on a Dask cluster; FILE may be any fsspec URL.")
@click.option(
    "--chunk",
    type=click.IntRange(min=1),
    default=CHUNK,
    show_default=True,
    help="Bytes of a plain file that one process counts at a time.",
)
@click.option(
    "--config",
    "settings_file",
    type=click.Path(path_type=Path),
    help="Settings, for the names of the relays; without, their hosts are shown.",
)
def command(
    files: tuple[str, ...],
    as_json: bool,
    html: Path | None,
    top: int,
    mask: bool,
    jobs: int | None,
    dask: str | None,
    chunk: int,
    settings_file: Path | None,
) -> None:
    """Report on logs: totals, incidents, relays, causes, delays, domains.

    FILE may be compressed (.gz, .xz, .bz2, .zst); - is standard input, journal the systemd journal.
    Nothing of the report depends on the order of the files.
    """
    job = Job(relays_of(settings_file))
    counted = _on_dask(dask, job, files, chunk) if dask else _here(job, files, chunk, jobs or _cores())
    for words in counted.errors:
        click.echo(f"postward: {words}", err=True)
    from postward.agent.report.summary import summarise

    report = summarise(counted.tally, top=top, mask=mask)
    with ignore_broken_pipe():
        if html is not None:
            from postward.agent.report.html import as_page

            html.write_text(as_page(report), encoding="utf-8")
        if as_json:
            click.echo(json.dumps(report, ensure_ascii=False))
        elif html is None:
            from postward.agent.report.text import as_text

            click.echo(as_text(report), nl=False)
    sys.exit(1 if counted.errors else 0)


def _here(job: Job, files: tuple[str, ...], chunk: int, jobs: int) -> Counted:
    chunks, errors = [], []
    for file in dict.fromkeys(files):
        try:
            chunks += chunks_of([Path(file)], chunk)
        except LogFileError as error:
            errors.append(str(error))
    with _bar(sum(piece.size for piece in chunks)) as progress:
        try:
            counted = count_on_all_cores(job, chunks, jobs, progress)
        except ChildProcessError as error:
            click.echo(f"postward: {error}", err=True)
            sys.exit(1)
    return Counted(counted.tally, [*errors, *counted.errors])


def _on_dask(address: str, job: Job, files: tuple[str, ...], chunk: int) -> Counted:
    try:
        from postward.agent.report.dask import ClusterError, count_on_dask
    except ImportError as error:
        click.echo(
            f"postward: --dask needs the extra: pip install 'postward[dask]' (here and on the workers): {error}",
            err=True,
        )
        sys.exit(1)
    try:
        with _bar(None) as progress:
            return count_on_dask(address, job, list(dict.fromkeys(files)), chunk, progress)
    except ClusterError as error:
        click.echo(f"postward: {error}", err=True)
        sys.exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def relays_of(settings_file: Path | None) -> tuple[tuple[str, int, str], ...]:
    """(host, port, name) of each relay of the settings; none without settings."""
    if settings_file is None:
        return ()
    from postward.agent.commands.common import exit_on_error, load  # only settings need all that

    with exit_on_error():
        return tuple((relay.host, relay.port, relay.name) for relay in load(settings_file).relay)
    raise AssertionError("exit_on_error() ends the command")


@contextmanager
def _bar(size: int | None) -> Iterator[Progress]:
    """A bar on standard error, if that is a terminal and the logs are long (None: nobody knows how long)."""
    if not sys.stderr.isatty() or (size is not None and size < _WORTH_A_BAR):
        yield lambda _more: None
        return
    from rich.console import Console  # loaded for a terminal only
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("counting", total=size)
        yield lambda more: bar.update(task, advance=more)

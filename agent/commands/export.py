"""`postward export`: the events of logs as one Parquet file, for DuckDB, ClickHouse or Spark.

A row for each line of Postfix's; lines of other programs are left out. The schema is in docs/report.md. Memory does not grow with
the logs. Secrets are scrubbed; addresses are written as they are, unless `--mask` is given.
"""

import sys
from pathlib import Path

import click

from postward.agent.commands.common import fail_without
from postward.agent.commands.exit_status import FAILED
from postward.agent.commands.reading import LOG_FILE, progress_bar, relays_of, relays_option
from postward.agent.logs.archive import LogFileError, blocks, last_written
from postward.agent.output import output_file


@click.command("export")
@click.argument("files", type=LOG_FILE, nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--parquet",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write; it appears when it is whole.",
)
@click.option("--mask", is_flag=True, help="Write domains in the place of mail addresses.")
@relays_option
def command(files: tuple[Path, ...], target: Path, mask: bool, settings_file: Path | None) -> None:
    """Write the events of logs (also .gz, .xz, .bz2, .zst; - is standard input) as Parquet."""
    try:
        from postward.agent.export.parquet import EventFile
    except ImportError as error:
        fail_without("pyarrow", error)
    from postward.agent.report.counter import HostNames

    failed = False
    names = HostNames(relays_of(settings_file))
    with output_file(target) as part:
        with EventFile(part, names, mask=mask) as events, progress_bar(files) as progress:
            for path in dict.fromkeys(files):
                written = last_written(path)
                try:
                    for block in blocks(path, progress(path)):
                        events.feed(block, written)
                except LogFileError as error:
                    click.echo(f"postward: {error}", err=True)
                    failed = True
        if failed and not events.rows:
            sys.exit(FAILED)
    click.echo(f"{target}: {events.rows:,} rows", err=True)
    sys.exit(FAILED if failed else 0)

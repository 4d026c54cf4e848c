"""`postward trace`: one mail's life across queue IDs, as a timeline.

The logs are read twice, a block at a time: once for which mails belong together, once for their lines. So standard input
cannot be traced. Secrets are scrubbed, addresses are shown: they are what is looked for.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from postward.agent.commands.common import fail, json_option, load, settings_option, told
from postward.agent.commands.parse import printable
from postward.agent.logs.archive import (
    JOURNAL,
    STANDARD_INPUT,
    LogFileError,
    blocks,
    first_moment,
    ignore_broken_pipe,
    last_written,
    progress_bar,
)
from postward.agent.logs.lines import lines_of
from postward.agent.report.trace import Links, step
from postward.agent.text import local_now
from postward.parsers import parse, parse_record
from postward.parsers.scrub import scrub

_AS_BYTES = '"MESSAGE":['  # how the journal prints text that is not UTF-8


@click.command("trace")
@click.argument("name", metavar="QUEUE-ID|MESSAGE-ID|ADDRESS")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, metavar="[FILE]...")
@settings_option
@json_option
def command(name: str, files: tuple[Path, ...], settings_file: Path, as_json: bool) -> None:
    """Show one mail's life: forwarded, bounced, filtered and requeued copies as well, as a timeline.

    FILE: logs (also .gz, .xz, .bz2, .zst); `journal` is the systemd journal. Without: this host's log, with what rotation made of it.
    Status 1 if no line tells of it.
    """
    if STANDARD_INPUT in files:
        raise click.UsageError("standard input cannot be read twice; write it to a file first")
    with told():
        paths = _in_order(files) if files else _of_this_host(settings_file)
    try:
        found = _trace(name, paths, as_json=as_json)
    except LogFileError as error:
        fail(str(error))
    if not found:
        fail(f"no line tells of {name}; looked at {', '.join(map(str, paths))}")


def _trace(name: str, paths: list[Path], *, as_json: bool) -> bool:
    links = Links(name)
    with progress_bar(paths) as progress:
        for path in paths:
            for block in blocks(path, progress(path)):
                for line in lines_of(block):
                    if links.may_tell(line) or _AS_BYTES in line:
                        record, event = parse(line.removesuffix("\r"))
                        if record is not None and event is not None:
                            links.learn(record, event)
    wanted = links.wanted()
    found = False
    with ignore_broken_pipe():
        for row in _steps(paths, wanted):
            found = True
            click.echo(json.dumps(row, ensure_ascii=False) if as_json else _shown(row))
    return found


def _steps(paths: list[Path], wanted: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    ids = {queue_id for _, queue_id in wanted}
    few = tuple(ids) if len(ids) <= 64 else ()
    for path in paths:
        for block in blocks(path) if ids else ():
            text = block.decode("utf-8", "replace")
            if few and _AS_BYTES not in text and not any(queue_id in text for queue_id in few):
                continue
            for line in lines_of(block):
                record = parse_record(line.removesuffix("\r"))
                if record is None or record.text.partition(": ")[0] not in ids:
                    continue
                _, event = parse(line.removesuffix("\r"))
                row = step(record, event, scrub(record.text))
                if row is not None and (record.host, row["queue_id"]) in wanted:
                    yield row


def _shown(row: dict[str, Any]) -> str:
    arrow = f"  → {row['leads_to']}" if row["leads_to"] else ""
    return printable(f"{row['stamp']}  {row['queue_id']:15} {row['daemon']:10} {row['text']}{arrow}")


def _in_order(files: tuple[Path, ...]) -> list[Path]:
    """The files by their first stamps; those without one last."""

    def first(path: Path) -> float:
        try:
            there = path == JOURNAL or path.exists()
            moment = first_moment(path, last_written(path) if there else local_now())
        except LogFileError as error:
            fail(str(error))
        return moment.timestamp() if moment else float("inf")

    unique = list(dict.fromkeys(files))
    return sorted(unique, key=first) if len(unique) > 1 else unique


def _of_this_host(settings_file: Path) -> list[Path]:
    from postward.agent.logs import journal
    from postward.agent.logs.discover import find_log
    from postward.agent.logs.rotation import rotated_files
    from postward.agent.postfix.commands import Postfix

    settings = load(settings_file)
    names, _ = find_log(settings.log.source, Postfix(Path(settings.postfix.config_directory)))
    paths = [entry.path for name in names if name.startswith("/") for entry in rotated_files(Path(name))]
    if journal.NAME in names:
        paths.append(JOURNAL)
    if not paths:
        fail("log.source is standard input, which cannot be read again; name the files that it came from")
    return paths

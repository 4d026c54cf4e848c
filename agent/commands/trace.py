"""`postward trace`: one mail's life across queue IDs, as a timeline.

The logs are read twice, block by block: first to find the mails that belong together, then to print their lines. So
standard input cannot be traced. Secrets are scrubbed; mail addresses are shown, because they are what users search for.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import click

from postward.agent.commands.common import exit_on_error, fail, json_option, load, settings_option
from postward.agent.commands.exit_status import UNREAD
from postward.agent.commands.reading import LOG_FILE, in_order, logs_of_this_host, progress_bar
from postward.agent.logs.archive import STANDARD_INPUT, LogFileError, blocks
from postward.agent.logs.coverage import head_of, looks_of
from postward.agent.logs.lines import lines_of
from postward.agent.output import has_reader
from postward.agent.report.trace import Links, Mail, TraceRow, trace_row
from postward.parsers import parse, parse_record
from postward.parsers.scrub import printable, scrub

_ENCODED_MESSAGE: Final = '"MESSAGE":['  # journalctl prints text that is not UTF-8 as a list of bytes
_MAX_QUEUE_IDS_IN_BLOCK: Final = 64  # above, searching a block for each costs more than parsing it


@click.command("trace")
@click.argument("name", metavar="QUEUE-ID|MESSAGE-ID|ADDRESS")
@click.argument("files", type=LOG_FILE, nargs=-1, metavar="[FILE]...")
@settings_option
@json_option
def command(name: str, files: tuple[Path, ...], settings_file: Path, as_json: bool) -> None:
    """Show one mail's life as a timeline, with its forwarded, bounced, filtered and requeued copies.

    FILE: logs, also .gz, .xz, .bz2 and .zst; `journal` is the systemd journal.
    Without FILE: the log of this host and its rotated files.
    Exit status 1 if the logs have no line about the mail, 4 if one has no line of Postfix.
    """
    if STANDARD_INPUT in files:
        raise click.UsageError("standard input cannot be read twice; write it to a file first")
    try:
        with exit_on_error():
            paths = in_order(files) if files else logs_of_this_host(load(settings_file))
        found = _print_rows(_rows(paths, _find_mails(name, paths)), as_json=as_json)
    except LogFileError as error:
        fail(str(error))
    if not found:
        _fail_without_lines(name, paths)


def _fail_without_lines(name: str, paths: list[Path]) -> NoReturn:
    for path in paths:
        head = head_of(path)
        if not any(parse_record(line) for line in head):
            click.echo(f"postward: {path}: {looks_of(head)}", err=True)
            sys.exit(UNREAD)
    fail(f"no line is about {name} in {', '.join(map(str, paths))}")


def _find_mails(name: str, paths: list[Path]) -> set[Mail]:
    links = Links(name)
    with progress_bar(paths) as progress:
        for line in _lines(paths, progress):
            if links.may_concern(line) or _ENCODED_MESSAGE in line:
                record, event = parse(line)
                if record is not None and event is not None:
                    links.learn(record, event)
    return links.wanted()


def _print_rows(rows: Iterator[TraceRow], *, as_json: bool) -> bool:
    """Print the timeline; False if it is empty."""
    found = False
    for row in rows:
        found = True
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else _text(row))
        if not has_reader():
            break
    return found


def _rows(paths: list[Path], wanted: set[Mail]) -> Iterator[TraceRow]:
    queue_ids = {queue_id for _, queue_id in wanted}
    if not queue_ids:
        return

    def is_of_interest(block: bytes) -> bool:
        if len(queue_ids) > _MAX_QUEUE_IDS_IN_BLOCK:
            return True
        text = block.decode("utf-8", "replace")
        return _ENCODED_MESSAGE in text or any(queue_id in text for queue_id in queue_ids)

    for line in _lines(paths, is_of_interest=is_of_interest):
        record = parse_record(line)
        if record is None or record.text.partition(": ")[0] not in queue_ids:
            continue
        _, event = parse(line)
        row = trace_row(record, event, scrub(record.text, record.severity))
        if row is not None and (record.host, row["queue_id"]) in wanted:
            yield row


def _lines(
    paths: list[Path],
    progress: Callable[[Path], Callable[[int], object]] = lambda _: lambda _: None,
    is_of_interest: Callable[[bytes], bool] = lambda _: True,
) -> Iterator[str]:
    for path in paths:
        for block in blocks(path, progress(path)):
            if is_of_interest(block):
                yield from (line.removesuffix("\r") for line in lines_of(block))


def _text(row: TraceRow) -> str:
    arrow = f"  → {row['leads_to']}" if row["leads_to"] else ""
    return printable(f"{row['stamp']}  {row['queue_id']:15} {row['daemon']:10} {row['text']}{arrow}")

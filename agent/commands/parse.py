"""`postward parse`: what each line of a log says."""

import json
import sys
from collections.abc import Iterator
from typing import IO, Any

import click

from parsers import Event, Record, as_fields, cause_of, parse


@click.command("parse")
@click.argument("files", type=click.File("rb"), nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def command(files: tuple[IO[bytes], ...], as_json: bool) -> None:
    """Show what each line of FILES (default: standard input) says."""
    for file in files or (sys.stdin.buffer,):
        for line in _lines(file):
            record, event = parse(line)
            row = as_object(record, event, line)
            click.echo(json.dumps(row, ensure_ascii=False) if as_json else as_row(row))


def _lines(file: IO[bytes]) -> Iterator[str]:
    for line in file:
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def as_object(record: Record | None, event: Event | None, line: str) -> dict[str, Any]:
    """A line as the JSON object of `postward parse --json`."""
    if record is None:
        return {"event": None, "outcome": "foreign", "text": line}
    row: dict[str, Any] = {
        "stamp": record.stamp,
        "host": record.host,
        "instance": record.instance,
        "daemon": record.daemon,
        "pid": record.pid,
        "severity": record.severity,
    }
    if event is None:
        return row | {"event": None, "outcome": "unrecognised", "text": record.text}
    row |= {"event": type(event).__name__} | as_fields(event)
    if cause := cause_of(event):
        row["cause"] = str(cause)
    return row


def as_row(row: dict[str, Any]) -> str:
    """A line for the eye: time, daemon, kind, and the fields that are there."""
    if "stamp" not in row:
        return f"foreign: {row['text']}"
    fields = [
        f"{key}={value}" for key, value in row.items() if key not in _HEADER and value not in (None, "")
    ]
    return f"{row['stamp']} {row['daemon']}: {row['event'] or row['outcome']} {' '.join(fields)}"


_HEADER = frozenset({"stamp", "host", "instance", "daemon", "pid", "event", "outcome"})

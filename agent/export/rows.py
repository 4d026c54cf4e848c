"""Log lines as rows: the JSON objects of `postward parse --json` and the source of an export's columns. Pure."""

from collections.abc import Iterator
from typing import Any

from postward.agent.logs.lines import lines_of
from postward.parsers import Event, Record, as_fields, cause_of, parse_event, parse_record
from postward.parsers import outcome_of as line_outcome
from postward.parsers.scrub import scrub

Row = dict[str, Any]


def rows(block: bytes) -> Iterator[Row]:
    """Yield the rows of a block of whole lines."""
    for line in lines_of(block):
        yield as_object(line.removesuffix("\r"))


def as_object(line: str) -> Row:
    """Return a line as the JSON object of `postward parse --json`, without secrets."""
    record = parse_record(line)
    if record is None:
        return {"event": None, "outcome": "foreign", "text": scrub(line)}
    if (text := scrub(record.text, record.severity)) is not record.text:
        record = record._replace(text=text)
    return of_record(record, parse_event(record))


def of_record(record: Record, event: Event | None) -> Row:
    """Return the row of a Postfix line; `event` is None if no rule recognised it."""
    row: Row = {
        "stamp": record.stamp,
        "host": record.host,
        "instance": record.instance,
        "daemon": record.daemon,
        "pid": record.pid,
        "severity": record.severity,
    }
    if record.repeat > 1:
        row["repeat"] = record.repeat
    if event is None:
        return row | {"event": None, "outcome": "unrecognised", "text": record.text}
    fields = as_fields(event)
    if "queue_id" in fields:
        row["queue_id"] = fields["queue_id"]
    if (outcome := line_outcome(record, event)) != "event":
        row["outcome"] = outcome
    row["event"] = type(event).__name__
    row.update(fields)
    if cause := cause_of(event):
        row["cause"] = cause.value
    return row


def outcome_of(row: Row) -> str:
    """Return the outcome of a row, one of `parsers.OUTCOMES`."""
    outcome: str = row.get("outcome", "event")
    return outcome

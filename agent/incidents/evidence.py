"""Lines of the log as evidence: without secrets, of bounded length, and with addresses masked unless asked for."""

import re
from datetime import UTC, datetime

from parsers import Record, parse_stamp
from parsers.scrub import scrub

_LONGEST = 600  # characters; Postfix cuts its own text at 2000
_NEAR_TO = datetime(2000, 1, 1, tzinfo=UTC)  # a stamp of the journal has its year
_BRACKETED = re.compile(r"<[^<>]*@(?=[^<>@\s]*>)")
_BARE = re.compile(r"(?<![\w.%+*/=…-])[\w.%+*/=-]+@(?=[\w-]+\.|\w+\b)")


def line_of(record: Record) -> str:
    """A record as a line, without what secrets it may hold."""
    tag = f"{record.instance}/{record.daemon}" if record.daemon else record.instance
    pid = f"[{record.pid}]" if record.pid is not None else ""
    severity = "" if record.severity == "info" else f"{record.severity}: "
    line = f"{stamp_of(record)} {record.host} {tag}{pid}: {severity}{scrub(record.text)}"
    return harmless(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…")


def stamp_of(record: Record) -> str:
    """Its stamp as people read it: the journal's is a number of microseconds."""
    if not record.stamp.isdecimal():
        return record.stamp
    moment = parse_stamp(record.stamp, _NEAR_TO)
    return moment.astimezone().isoformat(timespec="seconds") if moment is not None else record.stamp


def harmless(text: str) -> str:
    """Text with control characters spelled out: strangers send them, and a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def masked(text: str) -> str:
    """Text without the local parts of mail addresses: `<…@example.com>`."""
    if "@" not in text:
        return text
    return _BARE.sub("…@", _BRACKETED.sub("<…@", text))

"""Lines of the log as evidence: without secrets, of bounded length, and with addresses masked unless asked for."""

import re

from postward.agent.clock import readable
from postward.parsers import Record
from postward.parsers.scrub import scrub

_LONGEST = 600  # characters; Postfix cuts its own text at 2000
_BRACKETED = re.compile(r"<[^<>]*@(?=[^<>@\s]*>)")
_BARE = re.compile(r"(?<![\w.%+*/=…-])[\w.%+*/=-]+@(?=[\w-]+\.|\w+\b)")


def line_of(record: Record) -> str:
    """A record as a line, without what secrets it may hold."""
    tag = f"{record.instance}/{record.daemon}" if record.daemon else record.instance
    pid = f"[{record.pid}]" if record.pid is not None else ""
    severity = "" if record.severity == "info" else f"{record.severity}: "
    line = f"{readable(record.stamp)} {record.host} {tag}{pid}: {severity}{scrub(record.text)}"
    return printable(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…")


def printable(text: str) -> str:
    """Text with control characters spelled out: strangers send them, and a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def masked(text: str) -> str:
    """Text without the local parts of mail addresses: `<…@example.com>`."""
    if "@" not in text:
        return text
    return _BARE.sub("…@", _BRACKETED.sub("<…@", text))

"""Lines of the log as evidence: without secrets, of bounded length, and with addresses masked unless asked for."""

from postward.agent.text import readable
from postward.parsers import Record
from postward.parsers.scrub import printable, scrub

_LONGEST = 600  # characters; Postfix cuts its own text at 2000


def line_of(record: Record) -> str:
    """A record as a line, without what secrets it may hold."""
    tag = f"{record.instance}/{record.daemon}" if record.daemon else record.instance
    pid = f"[{record.pid}]" if record.pid is not None else ""
    severity = "" if record.severity == "info" else f"{record.severity}: "
    line = f"{readable(record.stamp)} {record.host} {tag}{pid}: {severity}{scrub(record.text)}"
    return printable(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…")

"""Lines of the log as evidence: without secrets, printable, and of bounded length; and the words in them that count."""

from typing import Final

from postward.agent.text import readable
from postward.parsers import Record, parse
from postward.parsers.scrub import printable, scrub
from postward.parsers.strangers import own_words

MAX_CHARACTERS: Final = 600  # Postfix itself cuts its text at 2000


def line_of(record: Record) -> str:
    """Return a record as one line, scrubbed, with its mail addresses."""
    tag = f"{record.instance}/{record.daemon}" if record.daemon else record.instance
    pid = f"[{record.pid}]" if record.pid is not None else ""
    severity = "" if record.severity == "info" else f"{record.severity}: "
    line = (
        f"{readable(record.stamp)} {record.host} {tag}{pid}: {severity}{scrub(record.text, record.severity)}"
    )
    return printable(line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}…")


def own_line(line: str) -> str:
    """Return a line of evidence without the words of strangers, but for a server's reply."""
    record, event = parse(line)
    if record is None or event is None or not line.endswith(record.text):
        return line
    return line.removesuffix(record.text) + own_words(record.text, event)

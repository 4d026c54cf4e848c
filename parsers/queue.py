"""`postqueue -j` → one value a queued mail: Postfix 3.1 and later, postqueue/showq_json.c.

The listing of a big queue is hundreds of megabytes and a mail with many recipients is one long line, so it is
read as a stream, and of each line only the beginning is kept: the fields that tell how old a mail is and why it waits
stand there. A stranger's text cannot look like a field: inside a JSON string every quote is escaped.

A line that is none of postqueue's is None, and nothing raises.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

QUEUES: Final = ("maildrop", "incoming", "active", "deferred", "hold")
HEAD: Final = 16384  # bytes of a line that are looked at

_MAIL: Final = re.compile(
    rb'\{"queue_name": "(\w{1,32})", "queue_id": "\w{1,32}", "arrival_time": (\d{1,12}), "message_size": (\d{1,15})'
)
_REASON: Final = re.compile(rb'"delay_reason": "((?:[^"\\]|\\.)*+)')
_ESCAPE: Final = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])')
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class QueuedMail(NamedTuple):
    """A mail in a queue. `reason` is why its first recipient that has a reason waits, as postqueue escapes it."""

    queue: str
    arrival: int
    size: int
    reason: bytes | None


class QueueLines:
    """Splits a stream into lines, of which it keeps the beginnings."""

    def __init__(self) -> None:
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The beginnings of the lines that end in this piece."""
        *ended, rest = data.split(b"\n")
        for part in ended:
            yield (self._head + part[: HEAD - len(self._head)]) if self._head else part[:HEAD]
            self._head = b""
        if len(self._head) < HEAD:
            self._head += rest[: HEAD - len(self._head)]


def parse_queued_mail(line: bytes) -> QueuedMail | None:
    """One line of `postqueue -j`."""
    match = _MAIL.match(line)
    if match is None:
        return None
    reason = _REASON.search(line, match.end())
    return QueuedMail(match[1].decode(), int(match[2]), int(match[3]), reason[1] if reason else None)


def unescaped(reason: bytes) -> str:
    """A reason as the log has it."""
    return _ESCAPE.sub(_unescape, reason.decode("utf-8", "replace"))


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] == "u" else _ESCAPED.get(code, code)

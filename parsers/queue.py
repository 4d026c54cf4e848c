"""Parser for the output of `postqueue -j`, one queued message a line (Postfix 3.1 and later, postqueue/showq_json.c).

The listing of a big queue has hundreds of megabytes, and a message with many recipients is one long line. So the
output is read as a stream, and only the beginning of each line is kept. It holds the age of the message and the
reason why it waits. Text from a remote server cannot imitate a field, because JSON escapes every quote in a string.

The result is None for a line that postqueue did not print. Nothing raises.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

QUEUES: Final = ("maildrop", "incoming", "active", "deferred", "hold")
HEAD: Final = 16384  # bytes kept of each line

_MAIL: Final = re.compile(
    rb'\{"queue_name": "(\w{1,32})", "queue_id": "(\w{1,32})", "arrival_time": (\d{1,12}), "message_size": (\d{1,15})'
    rb'(?:(?:, "forced_expire": \w{1,9})?, "sender": "((?:[^"\\]|\\.)*+)")?'
)
_REASON: Final = re.compile(rb'"delay_reason": "((?:[^"\\]|\\.)*+)')
_ESCAPE: Final = re.compile(r'\\(u[0-9a-fA-F]{4}|["\\/bfnrt])')
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class QueuedMail(NamedTuple):
    """A message in a queue.

    Attributes:
        queue: the name of the queue.
        arrival: when the message arrived, in seconds since the epoch.
        size: its size in bytes.
        reason: why delivery is delayed, with postqueue's escapes: the first reason given for a recipient.
        queue_id: its name in the queue.
        sender: the envelope sender; MAILER-DAEMON for the empty one (showq/showq.c).
    """

    queue: str
    arrival: int
    size: int
    reason: bytes | None
    queue_id: str = ""
    sender: str = ""


class QueueLines:
    """A splitter of a stream into lines, which keeps the first `HEAD` bytes of each."""

    def __init__(self) -> None:
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the beginning of each line that ends in this chunk."""
        *ended, rest = data.split(b"\n")
        for part in ended:
            yield (self._head + part[: HEAD - len(self._head)]) if self._head else part[:HEAD]
            self._head = b""
        if len(self._head) < HEAD:
            self._head += rest[: HEAD - len(self._head)]


def parse_queued_mail(line: bytes) -> QueuedMail | None:
    """Parse one line of `postqueue -j`; None if it is not one."""
    match = _MAIL.match(line)
    if match is None:
        return None
    reason = _REASON.search(line, match.end())
    name, queue_id, arrival, size, sender = match.groups()
    return QueuedMail(
        name.decode(),
        int(arrival),
        int(size),
        reason[1] if reason else None,
        queue_id.decode("ascii", "replace"),
        unescaped(sender or b""),
    )


def unescaped(reason: bytes) -> str:
    """Return a reason without its JSON escapes, as the log shows it."""
    return _ESCAPE.sub(_unescape, reason.decode("utf-8", "replace"))


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] == "u" else _ESCAPED.get(code, code)

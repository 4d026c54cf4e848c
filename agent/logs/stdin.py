"""Standard input as a source, for containers where Postfix logs to standard output (maillog_file = /dev/stdout).

It has no position. Unread lines wait in the pipe; lines that were read but not yet saved are lost if the agent is
killed.

How it fails: the end of input is a problem. The agent keeps running and shows its counts.
"""

import fcntl
import select
import struct
import sys
import termios
from collections.abc import Callable
from os import read
from pathlib import Path

from postward.agent.logs.source import nothing_to_sync

NAME = "-"
# Bytes. In the journal's JSON a message that is not UTF-8 is a list of numbers, four times as long.
_MAX_LINE = 1 << 23


class Pipe:
    """The reading end of a pipe: whole lines, read without blocking. Raises OSError.

    O_NONBLOCK is not set, since a terminal may share the open file.

    Attributes:
        has_ended: the last writer has closed the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.has_ended = False
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read(self, limit: int) -> bytes:
        """Return the next whole lines, or nothing if there are none yet."""
        if self.has_ended or not self._poll.poll(0):
            return b""
        data = read(self.descriptor, limit)
        self.has_ended = not data
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:] if len(data) - end <= _MAX_LINE else b""
        return data[:end]

    def take_rest(self) -> bytes:
        """Return the incomplete last line, once."""
        rest, self._rest = self._rest, b""
        return rest

    def unread(self) -> int:
        """Return the number of bytes in the pipe; 0 if it is unknown."""
        try:
            waiting = fcntl.ioctl(self.descriptor, termios.FIONREAD, b"\0" * 4)
        except (OSError, ValueError):
            return 0
        number: int = struct.unpack("i", waiting)[0]
        return number


class StandardInput:
    """Lines of standard input, or of another descriptor."""

    name = NAME
    folder: Path | None = None
    skipping = False
    behind = False  # no line is read again after a restart
    position = None

    def __init__(self, descriptor: int | None = None) -> None:
        self.problem: str | None = None
        self.losses = 0
        self._pipe = Pipe(sys.stdin.fileno() if descriptor is None else descriptor)

    def read(self, limit: int = 1 << 17) -> bytes:
        """Return the next whole lines, or nothing if there are none yet."""
        try:
            lines = self._pipe.read(limit)
        except OSError as error:
            self.problem = f"standard input: {error.strerror}"
            return b""
        if self._pipe.has_ended:
            self.problem = "standard input has ended: its writer is gone"
            rest = self._pipe.take_rest()
            lines += rest and rest + b"\n"
        return lines

    def unread(self) -> int:
        """Return the number of bytes in the pipe."""
        return self._pipe.unread()

    def sync(self) -> Callable[[], None]:
        """Return a function that does nothing."""
        return nothing_to_sync

    def close(self) -> None:
        """Do nothing: the caller owns the descriptor."""

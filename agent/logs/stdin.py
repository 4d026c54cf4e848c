"""Standard input as a source: for containers, where Postfix writes its log to standard output (maillog_file).

It has no position: what comes while nobody reads waits in the pipe, what was taken and not yet saved when the agent
is killed is gone. Its end is a problem, and the agent goes on telling what it knows.
"""

import fcntl
import select
import struct
import sys
import termios
from collections.abc import Callable, Sequence
from os import read
from pathlib import Path

from postward.agent.logs.source import nothing_to_sync

NAME = "-"
_MAX_LINE = 1 << 23  # bytes; a message that is not UTF-8 stands in JSON as numbers, four times as long


class Pipe:
    """The reading end of a pipe: whole lines, read without waiting. Raises OSError.

    The pipe's own settings are left alone: a terminal may share it.

    Attributes:
        has_ended: the last writer has closed it.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.has_ended = False
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read(self, limit: int) -> bytes:
        """The next whole lines, or nothing for now."""
        if self.has_ended or not self._poll.poll(0):
            return b""
        data = read(self.descriptor, limit)
        self.has_ended = not data
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:] if len(data) - end <= _MAX_LINE else b""
        return data[:end]

    def take_rest(self) -> bytes:
        """What came of a line whose end has not come."""
        rest, self._rest = self._rest, b""
        return rest

    def unread(self) -> int:
        """Bytes in the pipe; of a file, whose end is not asked for, 0."""
        try:
            waiting = fcntl.ioctl(self.descriptor, termios.FIONREAD, b"\0" * 4)
        except (OSError, ValueError):
            return 0
        number: int = struct.unpack("i", waiting)[0]
        return number


class StandardInput:
    """Lines of standard input (or of another descriptor)."""

    name = NAME
    folder: Path | None = None
    behind = False  # nothing comes again
    position = None

    def __init__(self, descriptor: int | None = None) -> None:
        self.problem: str | None = None
        self.losses = 0
        self._pipe = Pipe(sys.stdin.fileno() if descriptor is None else descriptor)

    def read(self, limit: int = 1 << 17) -> bytes:
        """The next whole lines, or nothing for now."""
        try:
            lines = self._pipe.read(limit)
        except OSError as error:
            self.problem = f"standard input: {error.strerror}"
            return b""
        if self._pipe.has_ended:
            self.problem = "standard input has ended: nobody writes the log any more"
            rest = self._pipe.take_rest()
            lines += rest and rest + b"\n"
        return lines

    def unread(self) -> int:
        """Bytes in the pipe."""
        return self._pipe.unread()

    def sync(self) -> Callable[[], None]:
        """Nothing can be made safe."""
        return nothing_to_sync

    def descriptors(self) -> Sequence[int]:
        """The input, while it lasts."""
        return () if self._pipe.has_ended else (self._pipe.descriptor,)

    def concerns(self, _name: str) -> bool:
        """No file matters."""
        return False

    def close(self) -> None:
        """It is not ours to close."""

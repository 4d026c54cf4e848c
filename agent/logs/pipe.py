"""Whole lines from a pipe, read without waiting: what a child process prints, or standard input.

The pipe's own settings are left alone, for it may be a terminal's too. How it fails: OSError.
"""

import fcntl
import select
import struct
import termios
from os import read

_LONGEST_LINE = 1 << 23  # bytes; a message that is not UTF-8 stands in JSON as numbers, four times as long


class Pipe:
    """The reading end.

    Attributes:
        has_ended: nobody writes any more.
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
        self._rest = data[end:] if len(data) - end <= _LONGEST_LINE else b""
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

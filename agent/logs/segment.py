"""One log file as a sequence of bytes that only grows: the file in use, a rotated one, or a compressed one.

A file is known by its first bytes, not by its name: rotation renames it, copytruncate empties it and leaves a
copy, gzip gives it another inode, and an inode is used again for another file.

Promise: only whole lines are handed out, and none that was read while the file was being rewritten. How it
fails: `OSError` for a file that cannot be opened or is no regular file, `DamagedError` (one too) for a
compressed one that is cut short or broken, after all that can be unpacked of it has been handed out.
"""

import errno
import hashlib
import io
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from postward.agent.logs import codecs

HEAD = 1024  # bytes that identify a file: a first log line with its stamp and process ID is seldom longer
LONGEST_LINE = 1 << 20  # bytes; what has no line end by then is handed out in pieces
_WINDOW = 1 << 16  # bytes read at once when looking back for a line end


class DamagedError(OSError):
    """A compressed file is cut short or broken."""


@dataclass(frozen=True, slots=True)
class FilePosition:
    """A position in a file, as a checkpoint keeps it.

    Attributes:
        device, inode: where the file was.
        head_length, head: how many of its first bytes were hashed, and their SHA-256.
        line_length, line: the same of its first line alone: a copy can be shorter than what was read.
        offset: bytes before it are done.
        done: nothing more is expected from this file; the mark only says that it is an old acquaintance.
        copied: it is a copy of a log that was then emptied, so that its last line goes on in the log.
    """

    device: int
    inode: int
    head_length: int
    head: str
    offset: int
    line_length: int = 0
    line: str = ""
    done: bool = False
    copied: bool = False

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    @property
    def is_fragment(self) -> bool:
        """True if the file holds but the beginning of a line: a stamp, for one, with which every log can begin."""
        return not self.line_length and self.head_length < HEAD

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint; `FilePosition(**data)` is the way back."""
        return asdict(self)


class Segment:
    """An open file and how far it has been read.

    Args:
        path: the file; a compressed one is read as what it was.

    Raises:
        OSError: it cannot be opened or read, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.copied = False
        self.damaged = False
        self.compressed = path.suffix in codecs.BY_SUFFIX
        self._file = _open(path)
        self._stream: Any = None
        self._broken = ""
        self._head = b""
        status = os.fstat(self._file.fileno())
        self.device, self.inode = status.st_dev, status.st_ino

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    def close(self) -> None:
        """Let the file go."""
        self._stream = None
        self._file.close()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._file.fileno()

    def size(self) -> int:
        """Bytes that it holds now; of a compressed file, which is complete, unknown and taken as all read."""
        return self.offset if self.compressed else os.fstat(self._file.fileno()).st_size

    def has_no_name(self) -> bool:
        """True if it was deleted, or compressed into another file: only this descriptor holds it."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    # What file is this?

    def mark(self, *, done: bool = False) -> FilePosition:
        """Its position."""
        head, line = self._head, self._head[: self._head.find(b"\n") + 1]
        return FilePosition(
            *self.identity, len(head), _digest(head), self.offset, len(line), _digest(line), done, self.copied
        )

    def is_continued_by(self, mark: FilePosition) -> bool:
        """True if this is the file of that mark, under whatever name."""
        if mark.head_length == 0:
            return self.identity == mark.identity
        if mark.is_fragment:  # the whole of it must be the same
            is_it = self.compressed or self.identity == mark.identity
            return is_it and _digest(self.first_bytes()) == mark.head
        head = self.first_bytes(mark.head_length)
        if len(head) == mark.head_length:
            return _digest(head) == mark.head
        return 0 < mark.line_length <= len(head) and _digest(head[: mark.line_length]) == mark.line

    def starts_like(self, other: "Segment") -> bool:
        """True if the two begin with the same bytes, at least a line of them: one is a copy of the other."""
        mine, theirs = self.first_bytes(), other.first_bytes()
        shorter = min(len(mine), len(theirs))
        return mine[:shorter] == theirs[:shorter] and (b"\n" in mine[:shorter] or mine == theirs != b"")

    def first_bytes(self, length: int = HEAD) -> bytes:
        """What identifies the file; of a damaged one, what can be unpacked."""
        if self.compressed and self.offset:
            return self._head[:length]  # it does not change, and going back means to unpack it all again
        head = self._read_at(0, length)
        self._stream = None  # many files may be looked at, few are read: no unpacker is kept
        return head

    # Where to read

    def go_to(self, offset: int) -> None:
        """Go on from there."""
        self.offset = 0
        self._head = self.first_bytes(min(HEAD, offset)) if offset else b""
        self.offset = offset

    def go_back_to_line(self, before: int) -> None:
        """Go on from the beginning of the line that this offset lies in."""
        self.go_to(self._last_line(min(before, self.size())))

    def continue_from(self, mark: FilePosition) -> None:
        """Go on where a mark of this file says."""
        self.copied = mark.copied
        if mark.head_length:
            self.go_to(mark.offset)
        else:
            self.go_back_to_line(mark.offset)  # it could only be counted in bytes then, not looked into

    def _last_line(self, before: int) -> int:
        """Where the line begins that `before` lies in."""
        end = before
        while end > 0:
            start = max(0, end - _WINDOW)
            if found := self._read_at(start, end - start).rfind(b"\n") + 1:
                return start + found
            end = start
        return 0

    def remember_beginning(self) -> bool:
        """Of a file of which nothing was read yet: from now on `was_rewritten` holds for it. True if there is a line."""
        self._head = self.first_bytes()
        return b"\n" in self._head or len(self._head) == HEAD

    def has_known_beginning(self) -> bool:
        """True if something of it was read or remembered."""
        return bool(self._head)

    def was_rewritten(self) -> bool:
        """True if the file begins otherwise than when it was read: truncated, perhaps grown again since."""
        if self.compressed or not self._head:
            return False
        now = self._read_at(0, len(self._head))
        return now != self._head and not (b"\n" in now and self._head.startswith(now))

    def was_cut(self) -> bool:
        """True if it lost its end and kept its beginning, as after a power cut: what is left has been read."""
        return self.size() < self.offset and not self.was_rewritten()

    # Reading

    def read_lines(self, limit: int, *, finished: bool = False) -> bytes:
        """The next whole lines, at most about `limit` bytes; empty if there are none yet.

        Args:
            limit: how much to read at once, in bytes.
            finished: nobody writes to the file any more, so that a last line without an end is a line too.

        Raises:
            OSError: it cannot be read.
        """
        data = self._skip_holes(limit)
        end = _end_of_lines(data)
        if not end and len(data) == limit:  # one line longer than the limit
            data = self._read_at(self.offset, LONGEST_LINE)
            end = data.find(b"\n") + 1 or (LONGEST_LINE if len(data) == LONGEST_LINE else 0)
        if not end and self._broken:
            raise DamagedError(errno.EIO, f"is cut short or damaged ({self._broken})", str(self.path))
        if not end and finished:
            end = len(data)
        # Truncation after the read leaves the head as it was, truncation before it does not.
        if not end or self.was_rewritten():
            return b""
        self._advance(data[:end])
        return data[:end]

    def _skip_holes(self, limit: int) -> bytes:
        """The next bytes. NULs at the beginning of a line are none: the writer of a truncated file went on at its
        old place, or a power cut took what stood there.
        """
        while (data := self._read_at(self.offset, limit)).startswith(b"\0"):
            rest = data.lstrip(b"\0")
            if self.was_rewritten():
                return b""
            self._advance(data[: len(data) - len(rest)])
        return data

    def _advance(self, data: bytes) -> None:
        # From the bytes that were handed out, not from the file: that can be another one by now.
        if self.offset < HEAD:
            self._head = (self._head[: self.offset] + data)[:HEAD]
        self.offset += len(data)

    def _read_at(self, offset: int, size: int) -> bytes:
        if not self.compressed:
            return os.pread(self._file.fileno(), size, offset)
        parts: list[bytes] = []
        try:
            if self._stream is None:
                self._file.seek(0)
                self._stream = codecs.BY_SUFFIX[self.path.suffix].open(self._file)
            self._stream.seek(offset)
            while size and (part := self._stream.read1(size)):
                parts.append(part)
                size -= len(part)
        except Exception as error:
            if not (isinstance(error, OSError) or codecs.is_damage(error)):
                raise
            self._broken = str(error) or type(error).__name__
            self._stream = None
        return b"".join(parts)


def _open(path: Path) -> io.FileIO:
    # Without O_NONBLOCK a FIFO of this name would hold up the whole agent.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return io.FileIO(descriptor, "rb")


def _end_of_lines(data: bytes) -> int:
    """Where the last whole line ends; lines end before a hole."""
    hole = data.find(b"\n\0")
    return hole + 1 if hole >= 0 else data.rfind(b"\n") + 1


def _digest(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()

"""One log file: the log, a rotated file or a compressed file.

A file is identified by its first bytes, not by its name or inode. Rotation renames it, copytruncate truncates it and
leaves a copy, gzip writes another inode, and the file system reuses inodes.

Promise: only whole lines are returned, and no line that was read while the file was truncated and rewritten.

How it fails: `OSError` for a file that cannot be opened or is not a regular file. `DamagedError`, an `OSError`, for a
compressed file that is truncated or damaged, after the lines before the damage have been returned.
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
from postward.agent.logs.lines import MAX_LINE

HEAD = 1024  # bytes that identify a file: the first line, with its timestamp and process ID, is rarely longer
_MAX_SKIPPED = 1 << 21  # bytes of NULs skipped by one read, which other tasks wait for
_NULS = bytes(MAX_LINE)
_WINDOW = 1 << 16  # bytes of one read when searching backwards for a line end


class DamagedError(OSError):
    """A compressed file is truncated or damaged."""


@dataclass(frozen=True, slots=True)
class FilePosition:
    """The position in a file, as the checkpoint saves it.

    Attributes:
        device, inode: the file's identity when it was read.
        head_length, head: number of its first bytes that were hashed, and their SHA-256.
        line_length, line: the same for its first line alone, since a copy can be shorter than the part that was read.
        offset: number of bytes that have been read.
        done: the file has been read to its end and closed; the mark only identifies it.
        copied: the file is a copytruncate copy, so that its incomplete last line continues in the log.
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
        """True if only the beginning of a line was read, such as a timestamp, which other files can begin with too."""
        return not self.line_length and self.head_length < HEAD

    def as_json(self) -> dict[str, Any]:
        """Return the position as JSON; `FilePosition(**data)` restores it."""
        return asdict(self)


class Segment:
    """An open file and the offset up to which it has been read.

    Args:
        path: the file; a compressed file is unpacked while it is read.

    Raises:
        OSError: the file cannot be opened or read, or is not a regular file.

    Attributes:
        offset: number of bytes that have been read, of a compressed file after unpacking.
        copied: the file is a copytruncate copy; its incomplete last line continues in the log.
        damaged: the compressed data ended in an error.
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
        self.skipping = False  # the last read skipped NULs, and there may be more
        self._head = b""
        status = os.fstat(self._file.fileno())
        self.device, self.inode = status.st_dev, status.st_ino

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    def close(self) -> None:
        """Close the file."""
        self._stream = None
        self._file.close()

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._file.fileno()

    def size(self) -> int:
        """Return the size in bytes; for a compressed file, whose unpacked size is unknown, the offset."""
        return self.offset if self.compressed else os.fstat(self._file.fileno()).st_size

    def has_no_name(self) -> bool:
        """Return True if the file was deleted, as compression does too, and exists only while it is open."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    def is_at(self, path: Path) -> bool:
        """Return True if the path leads to this file."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    # Identity

    def mark(self, *, done: bool = False) -> FilePosition:
        """Return the position, with the hashes that identify the file."""
        head, line = self._head, self._head[: self._head.find(b"\n") + 1]
        return FilePosition(
            *self.identity, len(head), _digest(head), self.offset, len(line), _digest(line), done, self.copied
        )

    def is_continued_by(self, mark: FilePosition) -> bool:
        """Return True if the mark belongs to this file or to a copy of it."""
        if mark.head_length == 0:
            return self.identity == mark.identity
        if mark.is_fragment:  # the whole file must be equal
            is_it = self.compressed or self.identity == mark.identity
            return is_it and _digest(self.first_bytes()) == mark.head
        head = self.first_bytes(mark.head_length)
        if len(head) == mark.head_length:
            return _digest(head) == mark.head
        return 0 < mark.line_length <= len(head) and _digest(head[: mark.line_length]) == mark.line

    def starts_like(self, other: "Segment") -> bool:
        """Return True if one file is a copy of the other: both begin with the same bytes, at least one line."""
        mine, theirs = self.first_bytes(), other.first_bytes()
        shorter = min(len(mine), len(theirs))
        return mine[:shorter] == theirs[:shorter] and (b"\n" in mine[:shorter] or mine == theirs != b"")

    def first_bytes(self, length: int = HEAD) -> bytes:
        """Return the first bytes, which identify the file; of a damaged file, those before the damage."""
        if self.compressed and self.offset:
            return self._head[:length]  # the file does not change, and seeking back would unpack it again
        head = self.read_at(0, length)
        self._stream = None  # many files are examined and few are read, so no unpacker stays open
        return head

    # Offset

    def go_to(self, offset: int) -> None:
        """Set the offset of the next read."""
        self.offset = 0
        self._head = self.first_bytes(min(HEAD, offset)) if offset else b""
        self.offset = offset

    def go_back_to_line(self, before: int) -> None:
        """Set the offset to the beginning of the line that contains the byte at `before`."""
        self.go_to(self._last_line(min(before, self.size())))

    def continue_from(self, mark: FilePosition) -> None:
        """Set the offset to that of a mark of this file."""
        self.copied = mark.copied
        if mark.head_length:
            self.go_to(mark.offset)
        else:
            self.go_back_to_line(mark.offset)  # the file was unreadable then: only its size is known

    def _last_line(self, before: int) -> int:
        """Return the offset at which the line that contains `before` begins."""
        end = before
        while end > 0:
            start = max(0, end - _WINDOW)
            if found := self.read_at(start, end - start).rfind(b"\n") + 1:
                return start + found
            end = start
        return 0

    def remember_beginning(self) -> bool:
        """Remember the first bytes of an unread file, so that `was_rewritten` works for it.

        Return True if they contain a line end or a full kilobyte.
        """
        self._head = self.first_bytes()
        return b"\n" in self._head or len(self._head) == HEAD

    def has_known_beginning(self) -> bool:
        """Return True if the first bytes are known, by reading or by `remember_beginning`."""
        return bool(self._head)

    def was_rewritten(self) -> bool:
        """Return True if the first bytes have changed since they were read: the file was truncated, and may have grown again."""
        if self.compressed or not self._head:
            return False
        now = self.read_at(0, len(self._head))
        return now != self._head and not (b"\n" in now and self._head.startswith(now))

    def was_cut(self) -> bool:
        """Return True if the file is shorter than the offset and begins as before, as after a power cut."""
        return self.size() < self.offset and not self.was_rewritten()

    # Reading

    def read_lines(self, limit: int, *, finished: bool = False) -> bytes:
        """Return the next whole lines, at most about `limit` bytes; empty if there are none yet.

        Args:
            limit: bytes of one read; a longer line is returned whole.
            finished: the file is not written to any more, so an incomplete last line is returned too.

        Raises:
            OSError: the file cannot be read.
            DamagedError: no more lines can be unpacked.
        """
        data = self._skip_holes(limit)
        end = _end_of_lines(data)
        if not end and len(data) == limit:  # one line longer than the limit
            data = self.read_at(self.offset, MAX_LINE)
            end = data.find(b"\n") + 1 or (MAX_LINE if len(data) == MAX_LINE else 0)
        if not end and self._broken:
            raise DamagedError(errno.EIO, f"is truncated or damaged ({self._broken})", str(self.path))
        if not end and finished:
            end = len(data)
        # The data are discarded if the file was truncated and rewritten before the read: its first bytes have changed.
        if not end or self.was_rewritten():
            return b""
        self._advance(data[:end])
        return data[:end]

    def _skip_holes(self, limit: int) -> bytes:
        """Return the next bytes, without NULs at the beginning of a line.

        NULs appear if the writer of a truncated file goes on at its old offset, or after a power cut.
        """
        self.skipping = False
        skipped = 0
        while (data := self.read_at(self.offset, limit)).startswith(b"\0"):
            if self.was_rewritten():
                return b""
            self._jump_over_hole()
            # Comparing is much faster than stripping, and there can be gigabytes.
            hole = self.read_at(self.offset, MAX_LINE)
            size = len(hole) if hole == _NULS[: len(hole)] else len(hole) - len(hole.lstrip(b"\0"))
            self._advance(hole[:size])
            skipped += size
            if skipped >= _MAX_SKIPPED:
                self.skipping = True
                return b""
        return data

    def _jump_over_hole(self) -> None:
        """Go on at the next bytes that the file system has stored; the others read as NULs (lseek(2), SEEK_DATA)."""
        if self.compressed:
            return
        try:
            data = os.lseek(self._file.fileno(), self.offset, os.SEEK_DATA)
        except OSError:  # nothing is stored up to the end of the file
            data = self.size()
        if (gap := data - self.offset) > 0:
            self._advance(bytes(min(gap, HEAD)))
            self.offset = data

    def _advance(self, data: bytes) -> None:
        # From the bytes returned: the file can have been rewritten since.
        if self.offset < HEAD:
            self._head = (self._head[: self.offset] + data)[:HEAD]
        self.offset += len(data)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes at an offset, unpacked; fewer at the end of the file or before damage."""
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
    # Without O_NONBLOCK, opening a FIFO of this name would block the agent.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return io.FileIO(descriptor, "rb")


def _end_of_lines(data: bytes) -> int:
    """Return the end of the last whole line before the first hole of NULs."""
    hole = data.find(b"\n\0")
    return hole + 1 if hole >= 0 else data.rfind(b"\n") + 1


def _digest(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()

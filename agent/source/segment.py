"""One log file as a sequence of bytes that only grows: the file in use, a rotated one, or a compressed one.

A file is known by its first bytes, not by its name: rotation renames it, copytruncate empties it and leaves a
copy, gzip gives it another inode, and an inode is used again for another file.
"""

import bz2
import gzip
import hashlib
import lzma
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

HEAD = 1024  # bytes that identify a file: a first log line with its stamp and process ID is seldom longer
LONGEST_LINE = 1 << 20  # bytes; what has no line end by then is handed out in pieces

_OPENERS: Mapping[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
COMPRESSED = frozenset(_OPENERS)


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a file, as a checkpoint keeps it.

    Attributes:
        device, inode: where the file was.
        head_length, head: how many of its first bytes were hashed, and their SHA-256.
        offset: bytes before it are done.
    """

    device: int
    inode: int
    head_length: int
    head: str
    offset: int

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint; `Mark(**data)` is the way back."""
        return asdict(self)


class Segment:
    """An open file and how far it has been read.

    Args:
        path: the file; a compressed one is read as what it was.
        offset: where to go on.

    Raises:
        OSError: it cannot be opened or read.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        opener = _OPENERS.get(path.suffix)
        self._file: IO[bytes] = opener(path, "rb") if opener else path.open("rb", buffering=0)
        self.compressed = opener is not None
        status = os.fstat(self._file.fileno())
        self.device, self.inode = status.st_dev, status.st_ino
        self.offset = offset
        self._head = self._read_at(0, min(HEAD, offset)) if offset else b""

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def size(self) -> int:
        """Bytes that it holds now; of a compressed file, which is complete, unknown and taken as all read."""
        return self.offset if self.compressed else os.fstat(self._file.fileno()).st_size

    def mark(self) -> Mark:
        """Its position."""
        return Mark(self.device, self.inode, len(self._head), _digest(self._head), self.offset)

    def is_continued_by(self, mark: Mark) -> bool:
        """True if this is the file of that mark, under whatever name."""
        if mark.head_length == 0:
            return (self.device, self.inode) == (mark.device, mark.inode)
        head = self._read_at(0, mark.head_length)
        return len(head) == mark.head_length and _digest(head) == mark.head

    def starts_like(self, other: "Segment") -> bool:
        """True if the two begin with the same bytes, at least a line of them: one is a copy of the other."""
        mine, theirs = self.first_bytes(), other.first_bytes()
        shorter = min(len(mine), len(theirs))
        return mine[:shorter] == theirs[:shorter] and b"\n" in mine[:shorter]

    def first_bytes(self) -> bytes:
        """What identifies the file."""
        return self._read_at(0, HEAD)

    def was_rewritten(self) -> bool:
        """True if the bytes already read are no longer there: truncated, perhaps grown again since."""
        if self.compressed or not self.offset:
            return False
        return self.size() < self.offset or self._read_at(0, len(self._head)) != self._head

    def rewind(self) -> None:
        """Go back to the beginning of a file that was rewritten."""
        self.offset, self._head = 0, b""

    def read_lines(self, limit: int, *, finished: bool = False) -> bytes:
        """The next whole lines, at most about `limit` bytes; empty if there are none yet.

        Args:
            limit: how much to read at once, in bytes.
            finished: nobody writes to the file any more, so that a last line without an end is a line too.
        """
        data = self._read_at(self.offset, limit)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == limit:  # one line longer than the limit
            data = self._read_at(self.offset, LONGEST_LINE)
            end = data.find(b"\n") + 1 or (LONGEST_LINE if len(data) == LONGEST_LINE else 0)
        if not end and finished:
            end = len(data)
        # Truncation after this read leaves the head as it was, truncation before it does not.
        if not end or self.was_rewritten():
            return b""
        self.offset += end
        if len(self._head) < HEAD:
            self._head = self._read_at(0, min(HEAD, self.offset))
        return data[:end]

    def _read_at(self, offset: int, size: int) -> bytes:
        if not self.compressed:
            return os.pread(self._file.fileno(), size, offset)
        self._file.seek(offset)
        return self._file.read(size)


def _digest(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()

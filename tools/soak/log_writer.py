"""A writer that changes a log as syslog daemons, logrotate and admins do, and records every line written.

No line is lost for a reader: the writer does not compress or delete a file that it still writes to, and writes nothing
between the copy and the truncation of copytruncate. The writer does not know which files a reader has finished. The
caller must delete files only when the reader has finished them.
"""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path


class LogWriter:
    """Writes whole and partial lines, and rotates.

    Args:
        path: the log.
        line: returns the text of the line with a number, without the line end.
        dated: name rotated files by date instead of number.

    Attributes:
        written: the complete lines so far.
    """

    LEAST = 8  # min. bytes of each of the two parts of a line

    def __init__(self, path: Path, line: Callable[[int], str], *, dated: bool = False) -> None:
        self.path = path
        self.written: list[bytes] = []
        self._line = line
        self._dated = dated
        self._rotations = 0
        self._number = 0
        self._rest = b""  # the part of a partial line that is not written yet
        self._whole = b""
        self._descriptor = self._open()

    @property
    def _copy_aside(self) -> Path:
        return self.path.with_name(f"{self.path.name}.old")

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _next(self) -> bytes:
        self._number += 1
        return self._line(self._number).encode() + b"\n"

    # Writing

    def append(self, count: int) -> None:
        """Finish a partial line, then write whole lines at once."""
        self.finish_line()
        lines = [self._next() for _ in range(count)]
        self._write(b"".join(lines))
        self.written += lines

    def begin_line(self, length: int) -> None:
        """Write the beginning of a line. Each part is long enough to be distinct from the parts of other lines."""
        self.finish_line()
        self._whole = self._next()
        length = self.LEAST + length % (len(self._whole) - 2 * self.LEAST)
        self._write(self._whole[:length])
        self._rest = self._whole[length:]

    def finish_line(self) -> None:
        """Write the rest of a partial line."""
        if self._rest:
            self._write(self._rest)
            self.written.append(self._whole)
            self._rest = b""

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]

    @property
    def amidst_line(self) -> bool:
        """True while the log ends with a partial line."""
        return bool(self._rest)

    # Rotating

    @property
    def writes_to_log(self) -> bool:
        """False while the writer writes to a renamed or deleted file."""
        return self.path.exists() and self._has_open(self.path)

    def rotated(self) -> list[Path]:
        """Return the rotated files, newest first."""
        if self._dated:
            return sorted(self.path.parent.glob(f"{self.path.name}-*"), reverse=True)
        return sorted(self.path.parent.glob(f"{self.path.name}.[0-9]*"), key=_number)

    def _make_room(self) -> Path:
        """Renumber the rotated files if they have numbers, and return the path for the next one."""
        self._rotations += 1
        if self._dated:
            return self.path.with_name(f"{self.path.name}-20240101-{self._rotations:06d}")
        for file in reversed(self.rotated()):
            packed = ".gz" if file.suffix == ".gz" else ""
            file.rename(file.with_name(f"{self.path.name}.{_number(file) + 1}{packed}"))
        return self.path.with_name(f"{self.path.name}.1")

    def rename(self, *, create: bool) -> None:
        """Rotate as logrotate does by default: the writer keeps writing to the renamed file until `reopen`."""
        if self.writes_to_log:
            self.path.rename(self._make_room())
            if create:
                self.path.touch()

    def reopen(self) -> None:
        """Open the log again, as a syslog daemon does on SIGHUP."""
        self.finish_line()
        os.close(self._descriptor)
        self._descriptor = self._open()

    def copytruncate(self) -> None:
        """Rotate as logrotate does with copytruncate."""
        if self.writes_to_log:
            shutil.copyfile(self.path, self._make_room())
            os.truncate(self.path, 0)

    def compress(self, which: int) -> None:
        """Compress a rotated file as gzip does: the original is deleted after the compressed file is complete."""
        plain = [file for file in self.rotated() if file.suffix != ".gz" and not self._has_open(file)]
        if not plain:
            return
        file = plain[which % len(plain)]
        status = file.stat()
        packed = file.with_name(file.name + ".gz")
        with file.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target, 1 << 12)
        os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
        file.unlink()

    def copy_aside(self) -> None:
        """Copy the log as an admin does, under a name that looks like a rotated file."""
        if self.path.exists():
            shutil.copyfile(self.path, self._copy_aside)

    def delete_log(self) -> None:
        """Delete the log and its copy, and begin a new log."""
        self.finish_line()
        if self.writes_to_log:
            self.path.unlink()
            self._copy_aside.unlink(missing_ok=True)
            self.reopen()

    def delete_rotated(self) -> None:
        """Delete the copy and all rotated files, except one that the writer still writes to."""
        self._copy_aside.unlink(missing_ok=True)
        for file in self.rotated():
            if not self._has_open(file):
                file.unlink()

    def _has_open(self, file: Path) -> bool:
        return os.path.samestat(os.fstat(self._descriptor), file.stat())


def _number(file: Path) -> int:
    return int(file.name.removesuffix(".gz").rpartition(".")[2])

"""A mail log file through its whole life: growth, rotation by rename or copy, compression, deletion, absence.

Promise: every line is handed out once and in order, also lines that the writer puts into a renamed file until
it is told to reopen, lines that only a rotated copy still holds, and lines written while nobody read.

How it fails: an unreadable or absent file is no error but a state (`problem`), looked at again each time. Lines
that no file holds any more (truncated without a copy, rotated away) are lost, and `losses` counts such gaps.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from agent.source.segment import Mark, Segment

_ROTATED = re.compile(r"[.-][0-9][0-9T.:_-]*(?:\.(?:gz|xz|bz2))?|\.old")
_GRACE = 3600.0  # seconds: a writer that was not told to reopen goes on in the renamed file
_MOST_DRAINED = 4  # rotated files kept open at once


class FileSource:
    """Lines of one log file.

    Args:
        path: its name.
        marks: where reading had come to, from a checkpoint; empty: at the beginning. None: nobody has read
            this log before, and what is there now is history.
        clock: monotonic seconds.
    """

    def __init__(
        self, path: Path, marks: Sequence[Mark] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self.problem: str | None = None
        self.losses = 0
        self._clock = clock
        self._marks = marks
        # Oldest first; the last one is the file of this name, the others are drained until their time is over.
        self._segments: list[Segment] = []
        self._deadlines: dict[Segment, float] = {}

    def close(self) -> None:
        """Let all files go."""
        for segment in self._segments:
            segment.close()
        self._segments.clear()

    def marks(self) -> list[Mark]:
        """The position: all lines before it have been handed out, none after it."""
        if self._segments:
            return [segment.mark() for segment in self._segments]
        return list(self._marks or ())

    def unread(self) -> int:
        """Bytes that wait."""
        return sum(max(0, segment.size() - segment.offset) for segment in self._segments)

    def read(self, limit: int = 1 << 17) -> bytes:
        """The next whole lines, or nothing for now."""
        try:
            if not self._segments:
                self._begin()
            lines = self._read_segments(limit)
            if not lines and self._follow_name():
                lines = self._read_segments(limit)
        except OSError as error:
            self.problem = f"{self.path}: {error.strerror or error}"
            return b""
        self.problem = None
        return lines

    def _begin(self) -> None:
        """Open what the checkpoint points at, or the end of the file."""
        if self._marks:
            self._segments = self._resume(self._marks)
        elif self._marks is None and self.path.exists():
            self._segments = [Segment(self.path, _end_of_last_line(self.path))]
        else:
            self._marks = ()  # a file that appears later holds nothing but news
            self._segments = [Segment(self.path)]

    def _resume(self, marks: Sequence[Mark]) -> list[Segment]:
        """The files from the oldest marked one to the newest, each where it was left, new ones at their beginning."""
        found: list[Segment] = []
        resumed = False
        for path in self._generations():
            segment = Segment(path)
            mark = next((mark for mark in marks if segment.is_continued_by(mark)), None)
            copy = any(segment.starts_like(other) for other in found)
            resumed = resumed or mark is not None
            if copy or not resumed:
                segment.close()
                continue
            found.append(segment if mark is None else _at(segment, mark.offset))
        if not resumed:
            self.losses += 1
            found = [Segment(self.path)]
        for segment in found[:-1]:
            self._deadlines[segment] = self._clock() + _GRACE
        return found

    def _generations(self) -> list[Path]:
        """The rotated files of this log, oldest first, and the log itself. OSError if the log is not there."""
        rotated = [
            path
            for path in self.path.parent.glob(f"{_escaped(self.path.name)}*")
            if _ROTATED.fullmatch(path.name.removeprefix(self.path.name)) and path.is_file()
        ]
        self.path.stat()
        return [*sorted(rotated, key=lambda path: path.stat().st_mtime_ns), self.path]

    def _read_segments(self, limit: int) -> bytes:
        for segment in list(self._segments):
            if lines := segment.read_lines(limit):
                return lines
            if segment is self._segments[-1]:
                break
            if segment.compressed or self._clock() > self._deadlines.get(segment, 0):
                lines = segment.read_lines(limit, finished=True)
                segment.close()
                self._segments.remove(segment)
                self._deadlines.pop(segment, None)
                if lines:
                    return lines
        return b""

    def _follow_name(self) -> bool:
        """At the end of all that is open: is the file of this name still the one that is read? True if there is more."""
        current = self._segments[-1]
        if current.was_rewritten():
            self._recover_from_copy(current)
            current.rewind()
            return True
        status = self.path.stat()
        if (status.st_dev, status.st_ino) == (current.device, current.inode):
            return False
        self._rotate(current)
        return True

    def _recover_from_copy(self, current: Segment) -> None:
        """copytruncate: what was not read before the truncation is in the copy, beyond the same offset."""
        mark = current.mark()
        for path in reversed(self._generations()[:-1]):
            copy = Segment(path)
            if copy.is_continued_by(mark):
                copy.offset = mark.offset
                self._drain([copy])
                return
            copy.close()
        self.losses += 1

    def _rotate(self, current: Segment) -> None:
        """The name stands for another file now: drain the one it stood for, and all that came between."""
        newer: list[Segment] = []
        for path in reversed(self._generations()):
            segment = Segment(path)
            if (segment.device, segment.inode) == (current.device, current.inode) or segment.starts_like(
                current
            ):
                segment.close()
                break
            newer.insert(0, segment)
        else:
            # The old file has no name any more, so that nothing says which of the others are newer: only the log is.
            for segment in newer[:-1]:
                segment.close()
            newer = newer[-1:]
        self._segments += newer
        self._deadlines |= {
            segment: self._clock() + _GRACE
            for segment in self._segments[:-1]
            if segment not in self._deadlines
        }
        self._forget_oldest()

    def _drain(self, segments: Iterable[Segment]) -> None:
        self._segments[-1:-1] = segments
        self._deadlines |= {segment: self._clock() + _GRACE for segment in segments}
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Bound the open files; only ones that are read to their end go."""
        while len(self._segments) > _MOST_DRAINED and self._segments[0].size() <= self._segments[0].offset:
            self._deadlines.pop(self._segments.pop(0), None)


def _at(segment: Segment, offset: int) -> Segment:
    segment.close()
    return Segment(segment.path, offset)


def _end_of_last_line(path: Path) -> int:
    """Where the last whole line ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16)))
        tail = file.read(1 << 16)
    return size - (len(tail) - (tail.rfind(b"\n") + 1)) if tail else 0


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)

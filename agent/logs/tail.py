"""Follow a log file through growth, rotation by rename or copy, compression, deletion and absence.

Promise: every line is returned once and in order. This includes lines that the syslog daemon still writes to a renamed
file, lines that exist only in a rotated copy, and lines written while the agent was down.

How it fails: for an unreadable or absent file, `problem` gives the reason, and each read tries again. Lines that no
file contains any more (truncated without a copy, or deleted by rotation) are lost; `losses` counts these gaps.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from postward.agent.logs.lines import MAX_LINE
from postward.agent.logs.recovery import MOST_REMEMBERED, first_look, survey
from postward.agent.logs.segment import DamagedError, FilePosition, Segment

# Seconds without a new line before a rotated file is closed. The newest rotated file stays open while it has a name, for
# a writer that does not reopen the log.
_IDLE = 3600.0
_TIMEOUT = 10.0  # seconds of a problem at the start after which `behind` becomes False
_MAX_POLLS = 3  # a new log takes two: its first bytes are remembered, then it is read
_IDLE_DELETED = 60.0  # seconds; a deleted file occupies disk space while it is open


class FileSource:
    """Lines of one log and its rotated files.

    Args:
        path: the path of the log.
        marks: the saved positions, as `marks()` returned them. None at the first start: existing lines are skipped, and
            files that appear later are read from their beginning.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        marks: Sequence[FilePosition] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.problem: str | None = None
        self.losses = 0
        self._clock = clock
        self._begun = clock()
        self._behind = True
        # Positions in files that are not open; None until the first successful poll.
        self._marks = None if marks is None else list(marks)
        # Oldest first; the last one is the log. The others are read until they are idle.
        self._segments: list[Segment] = []
        self._log: tuple[int, int] | None = None  # device and inode of the log at the last survey
        self._since: dict[Segment, float] = {}  # time of their last line or of their rotation
        # Files that may not be read, each counted once as a loss.
        self._skipped: frozenset[tuple[int, int]] = frozenset()

    @property
    def skipping(self) -> bool:
        """True if the last read skipped bytes that are not lines, and there may be more to read."""
        return any(segment.skipping for segment in self._segments)

    def close(self) -> None:
        """Close all files."""
        for segment in self._segments:
            segment.close()
        self._segments.clear()

    @property
    def name(self) -> str:
        """The path of the log."""
        return str(self.path)

    @property
    def folder(self) -> Path:
        """The folder of the log and its rotated files."""
        return self.path.parent

    @property
    def position(self) -> list[dict[str, Any]] | None:
        """The marks as JSON, for the checkpoint."""
        marks = self.marks()
        return None if marks is None else [mark.as_json() for mark in marks]

    def marks(self) -> list[FilePosition] | None:
        """Return the positions in all known files, after the lines returned so far; None before the first successful poll."""
        if self._marks is None:
            return None
        return [*self._marks, *(segment.mark() for segment in self._segments)]

    @property
    def behind(self) -> bool:
        """True until all lines that existed at the start have been returned, or for 10 seconds if there is a problem.

        Until then, counts may be lower than those shown before a crash.
        """
        if self._behind and self.problem is not None:
            self._behind = self._clock() - self._begun <= _TIMEOUT
        return self._behind

    def unread(self) -> int:
        """Return the number of unread bytes in the open files."""
        return sum(max(0, segment.size() - segment.offset) for segment in self._segments)

    def sync(self) -> Callable[[], None]:
        """Return a function that flushes the lines read so far to disk; call it, in any thread, before saving the position.

        Otherwise a power cut could leave the log shorter than the position, and new lines written there would be missed.
        """
        descriptors = [os.dup(segment.fileno()) for segment in self._segments if not segment.compressed]

        def keep() -> None:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):  # a read-only file system has nothing to flush
                    os.fsync(descriptor)
                os.close(descriptor)
            descriptors.clear()

        return keep

    def read(self, limit: int = 1 << 17) -> bytes:
        """Return the next whole lines, or nothing if there are none yet."""
        try:
            if self._marks is None:
                self._marks = first_look(self.path)
            lines = self._read_segments(self._marks, limit)
            for _ in range(_MAX_POLLS):
                if lines or self.skipping:
                    break
                more = self._poll(self._marks)
                # Late lines of a renamed file do not clear the problem: the log itself may still be unreadable.
                self.problem = None
                if not more:
                    break
                lines = self._read_segments(self._marks, limit, polled=True)
        except OSError as error:
            self.problem = f"{self.path}: {error.strerror or error}"
            return b""
        self._behind &= bool(lines) or self.skipping
        return lines

    # Reading open files

    def _read_segments(self, marks: list[FilePosition], limit: int, *, polled: bool = False) -> bytes:
        copies: list[Segment] = []  # read to their end; an incomplete last line continues in the next file
        for segment in list(self._segments):
            if self._is_unread_log(segment) and not (polled and segment.has_known_beginning()):
                break
            lines = self._lines_of(segment, limit)
            if lines or segment.skipping:
                if segment in self._since:
                    self._since[segment] = self._clock()
                if segment.skipping:
                    return b""
                return b"".join(self._finish(copy, marks) for copy in copies) + lines
            if segment.was_rewritten():
                break  # older lines first: the next poll goes back to the beginning of this file
            if segment.copied and not segment.damaged:
                copies.append(segment)
            elif self._is_over(segment) and (rest := self._finish(segment, marks)):
                return rest if rest.endswith(b"\n") else rest + b"\n"
        return b""

    def _is_unread_log(self, segment: Segment) -> bool:
        return not segment.offset and segment.identity == self._log

    def _lines_of(self, segment: Segment, limit: int, *, finished: bool = False) -> bytes:
        if segment.damaged:
            return b""
        try:
            return segment.read_lines(limit, finished=finished)
        except DamagedError:
            segment.damaged = True
            self.losses += 1
            return b""

    def _is_over(self, segment: Segment) -> bool:
        if segment is self._segments[-1]:
            return False
        if segment.compressed:
            return True
        idle = self._clock() - self._since[segment]
        if segment.has_no_name():
            return idle > _IDLE_DELETED
        return idle > _IDLE and segment is not self._segments[-2]

    def _finish(self, segment: Segment, marks: list[FilePosition]) -> bytes:
        """Close a file and return its incomplete last line."""
        rest = self._lines_of(segment, MAX_LINE, finished=True)
        self._close(segment)
        if segment.offset:
            marks.append(segment.mark(done=True))
        del marks[:-MOST_REMEMBERED]
        return rest

    def _close(self, segment: Segment) -> None:
        segment.close()
        self._segments.remove(segment)
        self._since.pop(segment, None)

    # Finding more files

    def _poll(self, marks: list[FilePosition]) -> bool:
        """Look for truncations and new files, at the end of all open files. Return True if there may be more to read."""
        if self._rewind_rewritten(marks):
            self._survey(marks)
            return True
        if self._segments:
            current = self._segments[-1]
            if current.was_cut():
                self.losses += 1
                current.go_back_to_line(current.size())
                return True
            if current.is_at(self.path):
                return not current.offset and self._survey_before_reading(current, marks)
        return self._survey(marks)

    def _rewind_rewritten(self, marks: list[FilePosition]) -> bool:
        """Go back to the beginning of truncated files; lines unread before the truncation may be in a copy.

        All open files are checked, since a truncated log may have been renamed since.
        """
        rewritten = [segment for segment in self._segments if segment.was_rewritten()]
        for segment in rewritten:
            marks.append(segment.mark())
            segment.go_to(0)
        return bool(rewritten)

    def _survey_before_reading(self, current: Segment, marks: list[FilePosition]) -> bool:
        """Look for copies before the first read of a log, since only a copy shows that the log was truncated.

        The first bytes are remembered before the survey: later bytes can be from after another truncation.
        """
        has_lines = current.remember_beginning()
        return self._survey(marks) or has_lines

    def _survey(self, marks: list[FilePosition]) -> bool:
        finding = survey(self.path, self._segments, marks)
        self.losses += finding.missing + len(finding.unreadable - self._skipped)
        self._skipped = finding.unreadable
        marks[:] = [mark for mark in marks if mark.done]
        for segment in finding.replaced:
            self._close(segment)
        self._segments = list(finding.segments)
        changed = bool(finding.found) or finding.log != self._log
        self._log = finding.log
        for segment in self._segments[:-1]:
            self._since.setdefault(segment, self._clock())
        if self._log is None and not changed:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        return changed

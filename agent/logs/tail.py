"""A mail log file through its whole life: growth, rotation by rename or copy, compression, deletion, absence.

Promise: every line is handed out once and in order, also lines that the writer puts into a renamed file until
it is told to reopen, lines that only a rotated copy still holds, and lines written while nobody read.

How it fails: an unreadable or absent file is no error but a state (`problem`), looked at again each time. Lines
that no file holds any more (truncated without a copy, rotated away) are lost, and `losses` counts such gaps.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from postward.agent.logs.recovery import MOST_REMEMBERED, first_look, survey
from postward.agent.logs.segment import LONGEST_LINE, DamagedError, FilePosition, Segment

# Seconds without a new line until a file that is not the log any more is let go. The youngest one is kept for as long
# as it has a name: a writer that was never told to reopen goes on in it.
_IDLE = 3600.0
_TIMEOUT = 10.0  # seconds of a problem at the start after which counts are shown as they are
_LOOKS = 3  # a log that is new is looked at, then read
_IDLE_WITHOUT_NAME = 60.0  # it takes room on the disk for as long as it is open


class FileSource:
    """Lines of one log file.

    Args:
        path: its name.
        marks: where reading had come to, as `marks()` said. None: nobody has read this log before, and what is
            there now is history; a file that appears later holds nothing but news.
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
        # What is known without being open; None until the first look.
        self._marks = None if marks is None else list(marks)
        # Oldest first; the last one is the file of this name, the others are drained until their time is over.
        self._segments: list[Segment] = []
        self._log: tuple[int, int] | None = None  # which file had the name at the last look
        self._since: dict[Segment, float] = {}  # when those others last gave a line, or ceased to be the log
        self._passed_over: frozenset[tuple[int, int]] = (
            frozenset()
        )  # files that may not be read, told of once

    def close(self) -> None:
        """Let all files go."""
        for segment in self._segments:
            segment.close()
        self._segments.clear()

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def folder(self) -> Path:
        """Rotation happens here."""
        return self.path.parent

    @property
    def position(self) -> list[dict[str, Any]] | None:
        """The marks, as a checkpoint keeps them."""
        marks = self.marks()
        return None if marks is None else [mark.as_json() for mark in marks]

    def concerns(self, name: str) -> bool:
        """The log and what it becomes by rotation."""
        return name.startswith(self.path.name)

    def descriptors(self) -> Sequence[int]:
        """A file is always readable: its folder tells."""
        return ()

    def marks(self) -> list[FilePosition] | None:
        """The position: all lines before it have been handed out, none after it. None: nothing could be seen yet."""
        if self._marks is None:
            return None
        return [*self._marks, *(segment.mark() for segment in self._segments)]

    @property
    def behind(self) -> bool:
        """True until all that was there at the start has been handed out, or could not be for a while.

        Until then counts are older than what may have been shown before a crash.
        """
        if self._behind and self.problem is not None:
            self._behind = self._clock() - self._begun <= _TIMEOUT
        return self._behind

    def unread(self) -> int:
        """Bytes that wait."""
        return sum(max(0, segment.size() - segment.offset) for segment in self._segments)

    def sync(self) -> Callable[[], None]:
        """What makes the lines read so far survive a power cut; run it (in any thread) before saving their position.

        Else the log could come back shorter than the position, and what is then written there would be missed.
        """
        descriptors = [os.dup(segment.fileno()) for segment in self._segments if not segment.compressed]

        def keep() -> None:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):  # a read-only file system: nothing there can get lost
                    os.fsync(descriptor)
                os.close(descriptor)
            descriptors.clear()

        return keep

    def read(self, limit: int = 1 << 17) -> bytes:
        """The next whole lines, or nothing for now."""
        try:
            if self._marks is None:
                self._marks = first_look(self.path)
            lines = self._read_segments(self._marks, limit)
            for _ in range(_LOOKS):
                if lines:
                    break
                more = self._look_around(self._marks)
                self.problem = (
                    None  # and not by late lines of a renamed file: the log itself may be out of reach
                )
                if not more:
                    break
                lines = self._read_segments(self._marks, limit, looked=True)
        except OSError as error:
            self.problem = f"{self.path}: {error.strerror or error}"
            return b""
        self._behind &= bool(lines)
        return lines

    # Reading what is open

    def _read_segments(self, marks: list[FilePosition], limit: int, *, looked: bool = False) -> bytes:
        copies: list[Segment] = []  # read to their end; a last line without an end goes on in the next file
        for segment in list(self._segments):
            if self._is_unread_log(segment) and not (looked and segment.has_known_beginning()):
                break
            if lines := self._lines_of(segment, limit):
                if segment in self._since:
                    self._since[segment] = self._clock()
                return b"".join(self._finish(copy, marks) for copy in copies) + lines
            if segment.was_rewritten():
                break  # older lines first: the next look goes back to its beginning
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
            return idle > _IDLE_WITHOUT_NAME
        return idle > _IDLE and segment is not self._segments[-2]

    def _finish(self, segment: Segment, marks: list[FilePosition]) -> bytes:
        """Let a file go, and hand out what it holds of a last line."""
        rest = self._lines_of(segment, LONGEST_LINE, finished=True)
        self._let_go(segment)
        if segment.offset:
            marks.append(segment.mark(done=True))
        del marks[:-MOST_REMEMBERED]
        return rest

    def _let_go(self, segment: Segment) -> None:
        segment.close()
        self._segments.remove(segment)
        self._since.pop(segment, None)

    # Looking for more

    def _look_around(self, marks: list[FilePosition]) -> bool:
        """At the end of all that is open: is there another file to read? True if there is more."""
        if self._rewind_rewritten(marks):
            self._line_up(marks)
            return True
        if self._segments:
            current = self._segments[-1]
            if current.was_cut():
                self.losses += 1
                current.go_back_to_line(current.size())
                return True
            if self._has_the_name(current):
                return not current.offset and self._look_before_reading(current, marks)
        return self._line_up(marks)

    def _rewind_rewritten(self, marks: list[FilePosition]) -> bool:
        """What was not read before a truncation may be in a copy. All are asked: an emptied log may be renamed by now."""
        rewritten = [segment for segment in self._segments if segment.was_rewritten()]
        for segment in rewritten:
            marks.append(segment.mark())
            segment.go_to(0)
        return bool(rewritten)

    def _look_before_reading(self, current: Segment, marks: list[FilePosition]) -> bool:
        """As long as nothing was read of a log, it cannot be seen whether it was emptied: only a copy tells.

        What is read must have been there before the look: what came later can be from after another emptying.
        """
        has_lines = current.remember_beginning()
        return self._line_up(marks) or has_lines

    def _has_the_name(self, segment: Segment) -> bool:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == segment.identity

    def _line_up(self, marks: list[FilePosition]) -> bool:
        finding = survey(self.path, self._segments, marks)
        self.losses += finding.missing + len(finding.unreadable - self._passed_over)
        self._passed_over = finding.unreadable
        marks[:] = [mark for mark in marks if mark.done]
        for segment in finding.replaced:
            self._let_go(segment)
        self._segments = list(finding.segments)
        changed = bool(finding.found) or finding.log != self._log
        self._log = finding.log
        for segment in self._segments[:-1]:
            self._since.setdefault(segment, self._clock())
        if self._log is None and not changed:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
        return changed

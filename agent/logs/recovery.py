"""Survey a log's folder: find the files that hold unread lines, and the offset of the first unread line in each.

A mark is the saved position in a file and identifies the file by its first bytes, whatever its name and compression. A
file is recognised if it is open, if it has a mark, or if it is a copy of such a file. Files after the newest recognised
file are new and are read. Older ones were there before the first start and are not read. If no file is recognised, all
are new.

Promise: no file is read twice, neither under two names nor in two forms. The log itself is always read.

How it fails: OSError if the folder or the log cannot be read; all files that the survey opened are closed then. A
rotated file that may not be read is skipped and counted.
"""

import errno
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from postward.agent.logs.rotation import Entry, rotated_files
from postward.agent.logs.segment import HEAD, FilePosition, Segment

_MAX_ATTEMPTS = 5
MOST_REMEMBERED = 16  # marks of rotated files; older ones are needed only if the newest file vanishes
_ALL = 1 << 62  # offset that stands for the end of a compressed file, whose unpacked size is unknown


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a survey.

    Attributes:
        segments: all files to read, oldest first: those open before, and `found`.
        found: the files that the survey opened.
        replaced: files open before whose lines continue in one of `found`.
        log: device and inode of the log; None if it does not exist.
        missing: number of files that are gone and were not read to their end.
        unreadable: device and inode of each new rotated file that may not be read.
    """

    segments: Sequence[Segment]
    found: Sequence[Segment]
    replaced: Sequence[Segment]
    log: tuple[int, int] | None
    missing: int
    unreadable: frozenset[tuple[int, int]]


class _MovedError(OSError):
    """The folder changed during the survey."""


def survey(log: Path, opened: Sequence[Segment], marks: Sequence[FilePosition]) -> Finding:
    """Find the files to read.

    Args:
        log: the path of the log.
        opened: the files that are open, oldest first.
        marks: the positions in files that are not open.

    Raises:
        OSError: the folder or the log cannot be read.
    """
    for _ in range(_MAX_ATTEMPTS - 1):
        with suppress(_MovedError):
            return _attempt(log, opened, marks)
    return _attempt(log, opened, marks)


def _attempt(log: Path, opened: Sequence[Segment], marks: Sequence[FilePosition]) -> Finding:
    with ExitStack() as files:  # closed unless they are part of the finding
        finding = _Survey(log, opened, marks, files).run()
        files.pop_all()
    return finding


def first_look(log: Path) -> list[FilePosition]:
    """Return marks at the end of all existing files, so that the first start reads only lines written later.

    Raises:
        OSError: the log exists, but its size cannot be read.
    """
    marks = []
    for entry in rotated_files(log)[-MOST_REMEMBERED:]:
        try:
            segment = _open(entry)
        except PermissionError:
            # Lines written before it becomes readable are to be read.
            marks.append(
                FilePosition(*entry.identity, 0, "", entry.path.stat().st_size, done=entry.path != log)
            )
            continue
        marks.append(_mark_at_end(segment, is_log=entry.path == log))
        segment.close()
    return marks


def _mark_at_end(segment: Segment, *, is_log: bool) -> FilePosition:
    if segment.compressed:
        segment.go_to(len(segment.first_bytes()))
        return replace(segment.mark(done=True), offset=_ALL)
    if is_log:
        segment.go_back_to_line(segment.size())  # an incomplete last line is read once it is complete
    else:
        segment.go_to(segment.size())
    return segment.mark(done=not is_log)


def _open(entry: Entry) -> Segment:
    try:
        segment = Segment(entry.path)
    except FileNotFoundError as error:
        raise _MovedError(errno.ENOENT, "is being rotated", str(entry.path)) from error
    if segment.identity != entry.identity:
        segment.close()
        raise _MovedError(errno.ENOENT, "is being rotated", str(entry.path))
    return segment


class _Survey:
    def __init__(
        self, log: Path, opened: Sequence[Segment], marks: Sequence[FilePosition], files: ExitStack
    ) -> None:
        self._log = log
        self._opened = opened
        self._entries = rotated_files(log)
        # A file with offset 0 has not been read: it is found as a new file.
        self._wanted = [mark for mark in marks if mark.offset and not mark.done]
        self._done = [mark for mark in marks if mark.offset and mark.done]
        self._found: dict[Entry, Segment] = {}
        self._files = files  # all that this survey opens
        self._log_identity = next((entry.identity for entry in self._entries if entry.path == log), None)
        self._replaced: list[Segment] = []
        self._unreadable: set[tuple[int, int]] = set()
        self._logs = {mark.identity for mark in marks if not mark.done and not mark.copied}
        self._places: dict[Segment, int] = {}  # of the files open before

    def run(self) -> Finding:
        self._find_unmoved()
        recognised = False
        for place, entry in reversed(list(enumerate(self._entries))):
            recognised |= self._examine(place, entry, is_new=not recognised)
            if (
                recognised
                and not self._wanted
                and not self._logs - {one.identity for one in self._entries[place:]}
            ):
                break
        self._find_grown()
        self._check_list()
        self._mark_copies()
        return Finding(
            self._in_order(),
            list(self._found.values()),
            self._replaced,
            self._log_identity,
            len(self._wanted),
            frozenset(self._unreadable),
        )

    def _check_list(self) -> None:
        """Raise `_MovedError` if the list changed: lines that seem missing can be in a copy made since."""
        if [entry.key for entry in rotated_files(self._log)] != [entry.key for entry in self._entries]:
            raise _MovedError(errno.EAGAIN, "is being rotated", str(self._log))

    def _mark_copies(self) -> None:
        """Mark as copies the new files that come before a file known as the log."""
        logs = [place for one, place in self._places.items() if not one.copied]
        logs += [place for place, entry in enumerate(self._entries) if entry.identity in self._logs]
        for place, entry in enumerate(self._entries):
            if entry in self._found and entry.identity not in self._logs and place < max(logs, default=0):
                self._found[entry].copied = True

    def _in_order(self) -> list[Segment]:
        order = {
            self._found[entry]: (place, 0)
            for place, entry in enumerate(self._entries)
            if entry in self._found
        }
        place = -1
        for number, segment in enumerate(self._opened):
            # A deleted file keeps its place after the file before it.
            place = self._places.get(segment, place)
            order[segment] = (place, number)
        return sorted((one for one in order if one not in self._replaced), key=order.__getitem__)

    def _find_unmoved(self) -> None:
        """Find files by the inode of their mark first: copies have the same first bytes and can have any place in the list."""
        for entry in self._entries:
            marks = [mark for mark in self._wanted if mark.identity == entry.identity]
            segment = self._open(entry) if marks else None
            if segment is not None and not self._go_on(entry, segment, marks):
                segment.close()

    def _find_grown(self) -> None:
        """Find files that were closed as finished and have grown since."""
        done = {mark.identity: mark for mark in self._done}
        busy = {segment.identity for segment in (*self._opened, *self._found.values())}
        for entry in self._entries:
            mark = done.get(entry.identity)
            if mark is None or entry.size <= mark.offset or entry.identity in busy or entry.is_packed:
                continue
            segment = self._open(entry)
            if segment is not None and segment.is_continued_by(mark):
                self._found[entry] = segment
                segment.continue_from(mark)
            elif segment is not None:
                segment.close()

    def _examine(self, place: int, entry: Entry, *, is_new: bool) -> bool:
        """Open the file if it is to be read. Return True if it was recognised, so that older files are not new."""
        if entry in self._found:
            return True
        for one in self._opened:
            if one.identity == entry.identity:
                self._places[one] = place
                return one.offset > 0
        segment = self._open(entry)
        if segment is None:
            if is_new:
                self._unreadable.add(entry.identity)
            return False
        if self._go_on(entry, segment, self._wanted):
            return True
        if entry.path == self._log:
            return self._take_log(entry, segment)
        return self._take_rotated(place, entry, segment, is_new=is_new)

    def _take_rotated(self, place: int, entry: Entry, segment: Segment, *, is_new: bool) -> bool:
        for one in self._opened:
            if segment.starts_like(one):  # a copy or the compressed form of an open file
                self._places.setdefault(one, place)
        recognised = self._is_old(segment)
        if not recognised and (self._is_unread(segment) or (is_new and not self._is_copy(place, segment))):
            self._found[entry] = segment
        if entry not in self._found:
            segment.close()
        return recognised

    def _open(self, entry: Entry) -> Segment | None:
        try:
            segment = _open(entry)
        except OSError as error:
            if entry.path == self._log or isinstance(error, _MovedError):
                raise
            return None
        self._files.callback(segment.close)
        return segment

    def _go_on(self, entry: Entry, segment: Segment, marks: Sequence[FilePosition]) -> bool:
        mark = next((mark for mark in marks if segment.is_continued_by(mark)), None)
        if mark is None:
            return False
        if mark.identity != entry.identity:
            self._logs.discard(entry.identity)  # a copy, with the inode of a former log that is gone
        self._found[entry] = segment
        segment.continue_from(mark)
        self._wanted.remove(mark)
        return True

    def _take_log(self, entry: Entry, segment: Segment) -> bool:
        """Read the log from its beginning, unless it is the copy of a deleted open file, moved from another disk."""
        self._found[entry] = segment
        for one in self._opened:
            if one.has_no_name() and segment.starts_like(one) and segment.size() >= one.offset:
                segment.go_to(one.offset)
                self._replaced.append(one)
                return True
        return False

    def _is_old(self, segment: Segment) -> bool:
        if any(one.offset and segment.starts_like(one) for one in self._opened):
            return True
        return any(segment.is_continued_by(mark) for mark in self._done)

    def _is_unread(self, segment: Segment) -> bool:
        """Return True if the file was known as the log and its present content has not been read.

        A copy can have the inode of a former log, so a file that starts like a known one is excluded.
        """
        known = [*self._opened, *self._found.values()]
        return (
            segment.identity in self._logs
            and not segment.compressed
            and not any(segment.starts_like(one) for one in known)
        )

    def _is_copy(self, place: int, segment: Segment) -> bool:
        """Return True if the file is a copy of a known file, or the beginning of one.

        An incomplete copy is not read: when its log is truncated, there is another survey. Only the newest rotated file
        can be incomplete: an older one without a whole line is what a truncation cut off.
        """
        begun = segment.first_bytes()
        if begun and b"\n" not in begun and len(begun) < HEAD and place < len(self._entries) - 2:
            return False
        known = [*self._opened, *self._found.values()]
        log = [one for one in known if one.identity == self._log_identity]
        return (
            not begun
            or any(one.first_bytes().startswith(begun) for one in log)
            or any(segment.starts_like(one) for one in known)
        )

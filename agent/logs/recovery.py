"""Looking through a log's folder: which of its files hold lines that nobody has read yet, and from where on.

Files are recognised: as one that is open, as one that a mark stands for (its head is the same, under whatever
name, packed or not), or as a copy of either. Of the others those are news that come after the newest file
recognised; older ones are from before our time. If nothing is recognised everything is news.

Promise: no file is read twice, under two names or in two forms, and the log itself is always among those read.
How it fails: OSError if the folder or the log cannot be read; nothing stays open then. A rotated file that may not be
read is passed over and counted.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from postward.agent.logs.rotation import Entry, rotated_files
from postward.agent.logs.segment import FilePosition, Segment

_LOOKS = 5
MOST_REMEMBERED = 16  # rotated files; the newest of them is what matters, the others are for when it vanishes
_ALL = 1 << 62  # the end of a file whose size is not known


@dataclass(frozen=True, slots=True)
class Finding:
    """What a survey found.

    Attributes:
        segments: all that is to be read, oldest first: what is open already, and `found`.
        found: what was opened now.
        replaced: open files that are read on in one of `found`.
        log: device and inode of the log; None if there is none.
        missing: how many files that were not read to their end are gone.
        unreadable: rotated files that hold unread lines, and may not be read.
    """

    segments: Sequence[Segment]
    found: Sequence[Segment]
    replaced: Sequence[Segment]
    log: tuple[int, int] | None
    missing: int
    unreadable: frozenset[tuple[int, int]]


class _MovedError(OSError):
    """A file is no longer what it was in the list."""


def survey(log: Path, opened: Sequence[Segment], marks: Sequence[FilePosition]) -> Finding:
    """Find what there is to read.

    Args:
        log: the file's name.
        opened: what is open already, oldest first.
        marks: everything else that is known.

    Raises:
        OSError: the folder or the log cannot be read.
    """
    looks = 0
    while True:
        looks += 1
        attempt = _Survey(log, opened, marks)
        try:
            return attempt.run()
        except BaseException as error:
            attempt.close()
            if looks == _LOOKS or not isinstance(error, _MovedError):
                raise


def first_look(log: Path) -> list[FilePosition]:
    """Marks at the end of all that is there: it is history for whoever has not read this log before.

    Raises:
        OSError: there is a log, and not even its size can be learned.
    """
    marks = []
    for entry in rotated_files(log)[-MOST_REMEMBERED:]:
        try:
            segment = _open(entry)
        except PermissionError:
            # Lines that are written until it becomes readable are news.
            marks.append(
                FilePosition(*entry.identity, 0, "", entry.path.stat().st_size, done=entry.path != log)
            )
            continue
        marks.append(_history(segment, is_log=entry.path == log))
        segment.close()
    return marks


def _history(segment: Segment, *, is_log: bool) -> FilePosition:
    if segment.compressed:
        segment.go_to(len(segment.first_bytes()))
        return replace(segment.mark(done=True), offset=_ALL)
    if is_log:
        segment.go_back_to_line(segment.size())  # one that is being written is news when it ends
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
    def __init__(self, log: Path, opened: Sequence[Segment], marks: Sequence[FilePosition]) -> None:
        self._log = log
        self._opened = opened
        self._entries = rotated_files(log)
        # Of a file without offset nothing has been read: it is found as news.
        self._wanted = [mark for mark in marks if mark.offset and not mark.done]
        self._done = [mark for mark in marks if mark.offset and mark.done]
        self._found: dict[Entry, Segment] = {}
        self._tried: list[Segment] = []
        self._log_identity = next((entry.identity for entry in self._entries if entry.path == log), None)
        self._replaced: list[Segment] = []
        self._unreadable: set[tuple[int, int]] = set()
        self._logs = {mark.identity for mark in marks if not mark.done and not mark.copied}
        self._places: dict[Segment, int] = {}  # of those open already

    def close(self) -> None:
        for segment in self._tried:
            segment.close()

    def run(self) -> Finding:
        self._find_unmoved()
        recognised = False
        for place, entry in reversed(list(enumerate(self._entries))):
            recognised |= self._look_at(place, entry, is_news=not recognised)
            if (
                recognised
                and not self._wanted
                and not self._logs - {one.identity for one in self._entries[place:]}
            ):
                break
        self._find_grown()
        self._check_list()
        self._tell_copies()
        return Finding(
            self._in_order(),
            list(self._found.values()),
            self._replaced,
            self._log_identity,
            len(self._wanted),
            frozenset(self._unreadable),
        )

    def _check_list(self) -> None:
        """What seems to be missing can be in a copy that was made after the list was."""
        if [entry.key for entry in rotated_files(self._log)] != [entry.key for entry in self._entries]:
            raise _MovedError(errno.EAGAIN, "is being rotated", str(self._log))

    def _tell_copies(self) -> None:
        """A file that is older than one we knew as the log, and was never seen itself, is a copy of that one."""
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
            place = self._places.get(segment, place)  # one without a name stays behind the one it was behind
            order[segment] = (place, number)
        return sorted((one for one in order if one not in self._replaced), key=order.__getitem__)

    def _find_unmoved(self) -> None:
        """Files with the inode of their mark come before copies, which can have any place in the list."""
        for entry in self._entries:
            marks = [mark for mark in self._wanted if mark.identity == entry.identity]
            segment = self._open(entry) if marks else None
            if segment is not None and not self._go_on(entry, segment, marks):
                segment.close()

    def _find_grown(self) -> None:
        """Files that were let go, and then written to after all."""
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

    def _look_at(self, place: int, entry: Entry, *, is_news: bool) -> bool:
        """Take the file if it is to be read. True if it was recognised, so that older ones are no news."""
        if entry in self._found:
            return True
        for one in self._opened:
            if one.identity == entry.identity:
                self._places[one] = place
                return one.offset > 0
        segment = self._open(entry)
        if segment is None:
            if is_news:
                self._unreadable.add(entry.identity)
            return False
        if self._go_on(entry, segment, self._wanted):
            return True
        if entry.path == self._log:
            return self._take_log(entry, segment)
        return self._take_rotated(place, entry, segment, is_news=is_news)

    def _take_rotated(self, place: int, entry: Entry, segment: Segment, *, is_news: bool) -> bool:
        for one in self._opened:
            if segment.starts_like(one):  # what became of one that has no name any more
                self._places.setdefault(one, place)
        recognised = self._is_old(segment)
        if not recognised and (self._is_unread(segment) or (is_news and not self._is_copy(segment))):
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
        self._tried.append(segment)
        return segment

    def _go_on(self, entry: Entry, segment: Segment, marks: Sequence[FilePosition]) -> bool:
        mark = next((mark for mark in marks if segment.is_continued_by(mark)), None)
        if mark is None:
            return False
        self._found[entry] = segment
        segment.continue_from(mark)
        self._wanted.remove(mark)
        return True

    def _take_log(self, entry: Entry, segment: Segment) -> bool:
        """The log is read in any case, and from its beginning unless it was moved here from somewhere else."""
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
        """Known as the log of then, though nothing was read of what it holds now. Its inode can have become a copy's."""
        known = [*self._opened, *self._found.values()]
        return (
            segment.identity in self._logs
            and not segment.compressed
            and not any(segment.starts_like(one) for one in known)
        )

    def _is_copy(self, segment: Segment) -> bool:
        """Also one that has only begun: its log is emptied later, if at all, and then there is another look."""
        begun = segment.first_bytes()
        known = [*self._opened, *self._found.values()]
        log = [one for one in known if one.identity == self._log_identity]
        return (
            not begun
            or any(one.first_bytes().startswith(begun) for one in log)
            or any(segment.starts_like(one) for one in known)
        )

"""List a log and its rotated files, oldest first, the log itself last.

Promise: the folder had exactly these files at one moment, also if files are renamed meanwhile. The order follows from
the names: the highest number or the earliest date is the oldest. If a folder has both, the last change decides. `.old`
comes before all others. A compressed file beside its plain file is left out, since it is still being written.

How it fails: OSError if the folder cannot be searched, or changes with each of 20 listings.
"""

import errno
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from postward.agent.logs.codecs import BY_SUFFIX

_ROTATED = re.compile(r"(?:[.-]([0-9][0-9T.:_-]*?)|\.old)" + f"(?:{'|'.join(map(re.escape, BY_SUFFIX))})?")
_OLD = "old"
_MAX_LISTINGS = 20  # a rotation renames a few files within a millisecond


class Entry(NamedTuple):
    """A file of the list.

    Attributes:
        path: its name.
        device, inode: its identity.
        changed: its last change, in nanoseconds since the epoch.
        size: its size on disk, in bytes.
    """

    path: Path
    device: int
    inode: int
    changed: int
    size: int

    @property
    def key(self) -> tuple[Path, int, int]:
        """Name, device and inode."""
        return self.path, self.device, self.inode

    @property
    def is_packed(self) -> bool:
        """True for a compressed file, whose size is not that of its lines."""
        return self.path.suffix in BY_SUFFIX

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode


def rotated_files(log: Path) -> list[Entry]:
    """Return the log and its rotated files, oldest first; an empty list if the folder does not exist.

    Raises:
        OSError: the folder cannot be searched, or changes without end.
    """
    before: dict[Path, tuple[int, int]] | None = None
    for _ in range(_MAX_LISTINGS):
        entries = list_files(log)
        # readdir can miss a file that is being renamed. Two equal listings miss one only if it is renamed twice.
        now = {entry.path: entry.identity for entry in entries}
        if now == before:
            return _ordered(log, _without_unfinished(entries))
        before = now
    raise BlockingIOError(errno.EAGAIN, "is being rotated without end", str(log))


def list_files(log: Path) -> list[Entry]:
    """Return the log and its rotated files by one listing of the folder, which can miss a file that is being renamed.

    Raises:
        OSError: the log exists but cannot be examined.
    """
    entries = []
    for path in _names(log):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        except OSError:
            if path == log:
                raise
            continue
        if path == log or stat.S_ISREG(status.st_mode):
            entries.append(Entry(path, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
    return entries


def _names(log: Path) -> list[Path]:
    try:
        paths = list(log.parent.iterdir())
    except FileNotFoundError:
        return []
    except PermissionError:
        return [log]  # the folder may be searched but not listed
    return sorted(path for path in paths if path == log or _rotation(log, path) is not None)


def _rotation(log: Path, path: Path) -> str | None:
    """Return the number or date that rotation appended to the name, or "old"; None if it is not a rotated file."""
    if not path.name.startswith(log.name):
        return None
    match = _ROTATED.fullmatch(path.name, len(log.name))
    return match and (match[1] or _OLD)


def _without_unfinished(entries: list[Entry]) -> list[Entry]:
    paths = {entry.path for entry in entries}
    return [entry for entry in entries if not (entry.is_packed and entry.path.with_suffix("") in paths)]


def _ordered(log: Path, entries: list[Entry]) -> list[Entry]:
    rotated = {entry: _rotation(log, entry.path) or "" for entry in entries if entry.path != log}
    old = [entry for entry, text in rotated.items() if text == _OLD]
    numbered = {entry: text for entry, text in rotated.items() if text != _OLD}
    ordered = [
        *old,
        *sorted(numbered, key=_order(numbered)),
        *(entry for entry in entries if entry.path == log),
    ]
    # Of several links to one file, the newest counts.
    newest = {entry.identity: entry for entry in ordered}
    return [entry for entry in ordered if newest[entry.identity] is entry]


def _order(rotated: Mapping[Entry, str]) -> Callable[[Entry], Any]:
    if all(text.isdigit() and len(text) <= 3 for text in rotated.values()):
        return lambda entry: -int(rotated[entry])
    if all(re.match(r"(?:19|20)[0-9]{2}", text) for text in rotated.values()):
        return lambda entry: re.sub(r"\D", "", rotated[entry])
    return lambda entry: entry.changed

"""Read the journals of other hosts from a directory of systemd-journal-remote, each through a journalctl of its own.

One journalctl for all of them would pass over entries that arrive late: it goes on after the newest entry of any host.

Promise: the interface of `FileSource`. Each host's entries are returned once and in order; hosts whose files appear later
are read from their beginning. A rotation is noticed within seconds.

How it fails: as a `JournalSource` for each host. Hosts beyond `MAX_JOURNALS` are not read, which `problem` says.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from postward.agent.fsutil import stat_identity
from postward.agent.logs.journal import PREFIX, JournalSource
from postward.agent.logs.source import nothing_to_sync

MAX_JOURNALS: Final = 200  # each has a process
_LOOK_INTERVAL: Final = 5.0  # seconds between two listings of the directory
_SUFFIXES: Final = frozenset({".journal", ".journal~"})  # journald and its tools read damaged files, ~, too
_GLOB: Final = frozenset("*?[")  # journalctl reads these in a name


class JournalDirectory:
    """The mail entries in the journals of a directory, as lines of JSON.

    Args:
        directory: the directory.
        position: name of the journal → cursor of the last entry returned; None at the first start, where existing
            entries are skipped.
        clock: monotonic seconds.
    """

    folder: Path | None = None

    def __init__(
        self,
        directory: Path,
        position: Mapping[str, str | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"{PREFIX}{directory}"
        self._directory = directory
        self._saved = position
        self._clock = clock
        self._looked_at = float("-inf")
        self._fault: str | None = None
        self._journals: dict[str, JournalSource] = {}
        self._files: dict[str, list[Path]] = {}
        self._identities: dict[str, object] = {}
        self._turn = 0
        self.skipping = False

    @property
    def behind(self) -> bool:
        """Return True until the entries that existed at the start have been returned."""
        self._look()
        return any(journal.behind for journal in self._journals.values())

    @property
    def position(self) -> dict[str, str | None]:
        """The cursor of each journal."""
        read = {name: journal.position for name, journal in self._journals.items()}
        return {**(self._saved or {}), **read}

    @property
    def problem(self) -> str | None:
        """The reason why a journal cannot be read now; None if all can."""
        faults = (f"{name}: {journal.problem}" for name, journal in self._journals.items() if journal.problem)
        return self._fault or next(faults, None)

    @property
    def losses(self) -> int:
        """Number of gaps and suppressed lines."""
        return sum(journal.losses for journal in self._journals.values())

    def read(self, limit: int = 1 << 17) -> bytes:
        """Return the next whole lines of a journal, each in its turn, or nothing if there are none yet.

        To start journalctl takes a moment, so a call starts it for one journal at most; `skipping` asks for the next call.
        """
        self._look()
        journals = list(self._journals.values())
        for _ in journals:
            self._turn = (self._turn + 1) % len(journals)
            journal = journals[self._turn]
            was_running = journal.is_running
            lines = journal.read(limit)
            self.skipping = journal.is_running and not was_running
            if lines or self.skipping:
                return lines
        self.skipping = False
        return b""

    def unread(self) -> int:
        """Return the number of bytes in the pipes."""
        return sum(journal.unread() for journal in self._journals.values())

    def sync(self) -> Callable[[], None]:
        """Return a function that does nothing; see `JournalSource.sync`."""
        return nothing_to_sync

    def close(self) -> None:
        """Kill all processes."""
        for journal in self._journals.values():
            journal.close()

    def _look(self) -> None:
        """List the directory, if it is time: start to read new journals, and open those again whose files changed."""
        now = self._clock()
        if now - self._looked_at < _LOOK_INTERVAL:
            return
        is_first = self._looked_at < 0
        self._looked_at = now
        try:
            journals = journals_in(self._directory)
        except OSError as error:
            self._fault = f"{self._directory}: {error.strerror}"
            return
        known = {name: files for name, files in journals.items() if name in self._journals}
        new = {name: files for name, files in journals.items() if name not in known}
        room = MAX_JOURNALS - len(self._journals)
        self._fault = None
        if len(new) > room:
            self._fault = (
                f"{self._directory}: {len(new) - room} journals are not read, more than {MAX_JOURNALS}"
            )
        for name, files in (*known.items(), *list(new.items())[:room]):
            self._open(name, files, skip=is_first and self._saved is None)

    def _open(self, name: str, files: list[Path], *, skip: bool) -> None:
        self._files[name] = files
        identity = [
            (stat_identity(file) or ())[:2] for file in files
        ]  # device and inode: entries change the rest
        if name not in self._journals:
            start = None if skip else (self._saved or {}).get(name, "")
            self._journals[name] = JournalSource(start, self._clock, lambda: self._files[name])
        elif identity != self._identities[name]:
            self._journals[name].reopen()
        self._identities[name] = identity


def journals_in(directory: Path) -> dict[str, list[Path]]:
    """Return the name of each journal → its files. Raises OSError.

    systemd-journal-remote writes remote-HOST.journal, and renames it to remote-HOST@….journal at a rotation.
    """
    journals: dict[str, list[Path]] = {}
    for file in sorted(directory.iterdir()):
        if file.suffix in _SUFFIXES and not _GLOB & set(str(file)):
            journals.setdefault(file.stem.partition("@")[0], []).append(file)
    return journals

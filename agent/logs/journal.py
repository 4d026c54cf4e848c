"""Read the mail log from the systemd journal, through a child process: `journalctl --output=json`.

Entries are selected by syslog facility (mail), not by unit, since distributions name Postfix's units differently. The
position is a journal cursor, so entries that were written while the agent was down are read after its start.

Two calls after each other read the journal: one for the entries that exist, which ends, and one that follows. The
second alone would miss the end of the boot before, since from systemd 250 --follow shows the current boot only. The
cursor is given as --cursor, and the entry that was returned already is left out here: --after-cursor skips the first
entry that matches, which in another boot, or after an entry of another program, is not the cursor's.

Promise: the interface of `FileSource`: whole lines, each once and in order. The position is the cursor of the last entry
returned. A message of journald about suppressed lines is not returned but counted as losses.

How it fails: if journalctl cannot be run or ends, `problem` gives the reason, and journalctl is started again after a
pause. A cursor that the journal does not know counts as one loss, and reading starts at the end of the journal.
"""

import contextlib
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from postward.agent.logs.source import nothing_to_sync
from postward.agent.logs.stdin import Pipe

NAME = "journal"
PREFIX = f"{NAME}:"  # before the directory of other hosts' journals, in log.source
_MAIL = "SYSLOG_FACILITY=2"
_SUPPRESSED_ID = "a596d6fe7bfa4994828e72309e95d61e"  # systemd's SD_MESSAGE_JOURNAL_DROPPED
_MOMENT = re.compile(r"(?:^|;)t=([0-9a-f]{1,16})(?:;|$)")
_SUPPRESSED = re.compile(r"Suppressed (\d{1,9}) messages from \S*postfix")
_FIELDS = "MESSAGE,MESSAGE_ID,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_HOSTNAME,_SOURCE_REALTIME_TIMESTAMP"
# --all: without it a field of more than 4 kB is null.
_COMMAND = ("journalctl", "--output=json", "--all", f"--output-fields={_FIELDS}", "--quiet", "--no-pager")
_MATCHES = (_MAIL, "+", f"MESSAGE_ID={_SUPPRESSED_ID}")
_FOLLOW = ("--follow", "--no-tail")
# Another host boots while its journal is followed. Some versions need both options, and in this order.
_FOLLOW_FILES = (*_FOLLOW, "--merge", "--boot=all")

_DEADLINE = 10.0  # seconds for reading the newest entry
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds before journalctl is started again
_STEADY = 3.0  # seconds after which a running journalctl counts as healthy
_TIMEOUT = 10.0  # seconds of a problem at the start after which `behind` becomes False
_BLOCK = 1 << 20  # bytes
# No --quiet: missing permissions appear in the message only, not in the exit status.
_HISTORY_COMMAND = ("journalctl", "--output=json", "--all", "--no-pager")
_NOT_ALLOWED = ("not seeing messages from other users", "due to insufficient permissions")


class JournalSource:
    """The journal's mail entries, as lines of JSON.

    Args:
        position: the cursor of the last entry returned. None at the first start, where existing entries are skipped;
            empty if the journal was empty, so that all entries are read.
        clock: monotonic seconds.
        files: returns the files of the journal to read; None: the journal of this host.
    """

    name = NAME
    folder: Path | None = None
    skipping = False

    def __init__(
        self,
        position: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        files: Callable[[], Iterable[Path]] | None = None,
    ) -> None:
        self.position = position
        self._files = files or tuple
        self.problem: str | None = None
        self.losses = 0
        self._clock = clock
        self._begun = clock()
        self._child: _Child | None = None
        self._follows = False  # the child is the second one
        self._resumed_at: str | None = None  # cursor of an entry that the child returns again
        self._started = clock()
        self._behind = True
        self._not_before = clock()
        self._pause = _FIRST_PAUSE

    @property
    def behind(self) -> bool:
        """Return True until the entries that existed at the start have been returned."""
        if self._behind:
            timed_out = self.problem is not None and self._clock() - self._begun > _TIMEOUT
            self._behind = not (timed_out or self._follows)
        return self._behind

    @property
    def is_running(self) -> bool:
        """Whether journalctl has been started, and has not ended."""
        return self._child is not None

    def unread(self) -> int:
        """Return the number of bytes in the pipe; the rest of the journal is not known."""
        return self._child.pipe.unread() if self._child else 0

    def sync(self) -> Callable[[], None]:
        """Return a function that does nothing.

        After a power cut, journalctl takes a cursor beyond the end of the journal for its end.
        """
        return nothing_to_sync

    def reopen(self) -> None:
        """Start journalctl again: it goes on after the last entry returned."""
        self.close()

    def close(self) -> None:
        """Kill the child process."""
        if self._child:
            self._child.close()
            self._child, self._follows = None, False

    def read(self, limit: int = 1 << 17) -> bytes:
        """Return the next whole lines, or nothing if there are none yet."""
        child = self._child or self._start()
        if child is None:
            return b""
        lines = child.pipe.read(limit)
        if lines:
            self.problem, self._pause = None, _FIRST_PAUSE
        elif child.pipe.has_ended:
            self._end(child)
        elif self.problem and self._clock() - self._started > _STEADY:
            self.problem, self._pause = None, _FIRST_PAUSE  # it runs and has printed nothing new
        return self._take(lines)

    def _take(self, lines: bytes) -> bytes:
        if self._resumed_at and lines:
            first, _, rest = lines.partition(b"\n")
            if _entry(first).get("__CURSOR") == self._resumed_at:
                lines = rest
            self._resumed_at = None
        if _SUPPRESSED_ID.encode() in lines:
            return b"".join(self._take_one(line) for line in lines.splitlines(keepends=True))
        if lines:  # the whole batch is returned, so its last cursor is the position
            last = lines[lines.rstrip(b"\n").rfind(b"\n") + 1 :]
            self.position = _entry(last).get("__CURSOR", self.position)
        return lines

    def _take_one(self, line: bytes) -> bytes:
        entry = _entry(line)
        self.position = entry.get("__CURSOR", self.position)
        if entry.get("MESSAGE_ID") != _SUPPRESSED_ID:
            return line
        if match := _SUPPRESSED.match(str(entry.get("MESSAGE"))):
            self.losses += int(match[1])
        return b""

    def _start(self, *, follow: bool = False) -> "_Child | None":
        if self._clock() < self._not_before:
            return None
        try:
            where = [f"--file={file}" for file in self._files()]
            if self.position is None:
                self.position = _newest(*where) or ""
            options = (_FOLLOW_FILES if where else _FOLLOW) if follow else ()
            cursor = [f"--cursor={self.position}"] if self.position else []
            self._started, self._resumed_at = self._clock(), self.position
            self._child = _Child([*_COMMAND, *where, *options, *cursor, *_MATCHES])
            self._follows = follow
        except FileNotFoundError:
            self._fail("is not installed; name a log file in log.source")
        except (OSError, subprocess.SubprocessError) as error:
            self._fail(str(error))
        return self._child

    def _end(self, child: "_Child") -> None:
        status = child.wait()
        if status or self._follows:
            self._fail(child.exit_reason())
        else:
            self.close()
            self._start(follow=True)

    def _fail(self, why: str) -> None:
        self.close()
        self.problem = f"journalctl: {why}"
        if "cursor" in why:  # unknown cursor: the machine ID changed, or journal files were removed
            self.losses += 1
            self.position = None
        self._not_before = self._clock() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class _Child:
    """A journalctl process and its output. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        # A file: a pipe that is not read while journalctl runs would block it.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._stderr
            )
        except OSError:
            self._stderr.close()
            raise
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        self.pipe = Pipe(self._process.stdout.fileno())

    def wait(self) -> int:
        """Wait for the process, whose output has ended, and return its exit status."""
        return self._process.wait(_DEADLINE)

    def exit_reason(self) -> str:
        """Return the exit status and the end of the standard error of the process."""
        status = self.wait()
        self._stderr.seek(0)
        message = self._stderr.read()[-500:].decode("utf-8", "replace").strip()
        return f"ended with status {status}" + (f": {message}" if message else "")

    def close(self) -> None:
        """Kill the process and close its output."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._stderr.close()


def last_mail() -> float | None:
    """Return the time of the newest mail entry, in seconds since the epoch; None if there is none, or it is unreadable."""
    try:
        cursor = _newest(_MAIL)
    except (OSError, subprocess.SubprocessError):
        return None
    return _moment(cursor) / 1e6 or None


def _newest(*arguments: str) -> str | None:
    """Return the cursor of the newest entry that these arguments of journalctl select; None if there is none.

    Raises:
        OSError: journalctl cannot be run or fails.
        subprocess.TimeoutExpired: journalctl takes longer than 10 seconds.
    """
    command = [*_COMMAND, "--lines=1", *arguments]
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_DEADLINE, check=False
    )
    if run.returncode:
        message = run.stderr.decode("utf-8", "replace").strip()
        raise OSError(f"ended with status {run.returncode}: {message}")
    cursor = _entry(run.stdout.strip()).get("__CURSOR")
    return cursor if isinstance(cursor, str) else None


def _entry(line: bytes) -> dict[str, Any]:
    """Return the entry in a line of journalctl; empty if the line is not a JSON object."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _moment(cursor: str | None) -> int:
    """Return the time of a cursor's entry, in microseconds since the epoch; 0 if unknown."""
    match = _MOMENT.search(cursor or "")
    return int(match[1], 16) if match else 0


class JournalError(Exception):
    """The journal cannot be read."""


def read_journal(since: datetime | None = None, directory: Path | None = None) -> Iterator[bytes]:
    """Yield the mail entries of a journal as JSON, oldest first, in pieces of any length.

    Args:
        since: earlier entries are left out; None reads all.
        directory: of its files; None: the journal of this host.

    Raises:
        JournalError: journalctl is missing, fails, or may not read the journal. Entries before the failure have been
            yielded by then.
    """
    options = [f"--directory={directory}"] if directory else []
    options += [f"--since=@{since.timestamp():.0f}"] if since else []
    command = [*_HISTORY_COMMAND, *options, _MAIL]
    try:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise JournalError(
            f"journalctl cannot be run ({error.strerror}); name log files instead of the journal"
        ) from error
    with running:
        assert running.stdout is not None  # noqa: S101 - asked for above
        assert running.stderr is not None  # noqa: S101
        try:
            while piece := running.stdout.read(_BLOCK):
                yield piece
            message = running.stderr.read(2000).decode("utf-8", "replace").strip()
            status = running.wait()
        finally:
            running.kill()
    if any(text in message for text in _NOT_ALLOWED):
        raise JournalError(
            "this user sees only a part of it; run the command with sudo, or as a member of the group systemd-journal"
        )
    if status:
        raise JournalError(f"journalctl ended with status {status}: {message}")

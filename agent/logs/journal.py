"""The mail log in the systemd journal, through `journalctl --output=json --follow` as a child process.

Entries are matched by syslog facility (mail), not by unit: distributions name Postfix's units differently. A position
is a cursor of the journal, and with a cursor lines written while nobody read are found again.

Promise: the same interface as `FileSource`: whole lines, each once and in order; `position` is behind all that was
handed out and before all that was not. Journald's own word that it suppressed lines is no line but a loss.

How it fails: journalctl that cannot be run, ends or says nothing sensible is a state (`problem`) and is started again
after a pause. A cursor that the journal does not know any more is a loss, and reading goes on at its end.
"""

import contextlib
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from postward.agent.logs.source import nothing_to_sync
from postward.agent.logs.stdin import Pipe

NAME = "journal"
_MAIL = "SYSLOG_FACILITY=2"
_SUPPRESSED_ID = "a596d6fe7bfa4994828e72309e95d61e"  # systemd's SD_MESSAGE_JOURNAL_DROPPED
_MOMENT = re.compile(r"(?:^|;)t=([0-9a-f]{1,16})(?:;|$)")
_SUPPRESSED = re.compile(r"Suppressed (\d{1,9}) messages from \S*postfix")
_FIELDS = "MESSAGE,MESSAGE_ID,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_HOSTNAME,_SOURCE_REALTIME_TIMESTAMP"
# --all: without it a field of more than 4 kB is null.
_COMMAND = ("journalctl", "--output=json", "--all", f"--output-fields={_FIELDS}", "--quiet", "--no-pager")

_DEADLINE = 10.0  # seconds for a look at the newest entry
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds until journalctl is started again
_STEADY = 3.0  # seconds that journalctl lives when nothing is wrong
_TIMEOUT = 10.0  # seconds of a problem at the start after which counts are shown as they are
_BLOCK = 1 << 20  # bytes
# Without --quiet journalctl reports that this user may not read the journal; its exit status does not.
_HISTORY_COMMAND = ("journalctl", "--output=json", "--all", "--no-pager")
_NOT_ALLOWED = "not seeing messages from other users"


class JournalSource:
    """Lines of the journal, as JSON.

    Args:
        position: the cursor up to which lines have been handed out. None: nobody has read before, and what is there
            now is history; empty: the journal was empty then, and all of it is news.
        clock: monotonic seconds.
    """

    name = NAME
    folder: Path | None = None

    def __init__(self, position: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.position = position
        self.problem: str | None = None
        self.losses = 0
        self._clock = clock
        self._begun = clock()
        self._child: _Child | None = None
        self._started = clock()
        self._newest: str | None = None  # when this has been handed out, reading has caught up
        self._behind = True
        self._not_before = clock()
        self._pause = _FIRST_PAUSE

    @property
    def behind(self) -> bool:
        """True as long as entries that were there at the start have not been handed out."""
        if self._behind:
            in_vain = self.problem is not None and self._clock() - self._begun > _TIMEOUT
            self._behind = not in_vain and (
                self._child is None or _moment(self.position) < _moment(self._newest)
            )
        return self._behind

    def descriptors(self) -> Sequence[int]:
        """What journalctl prints to; another one after each time that it had to be started again."""
        return (self._child.pipe.descriptor,) if self._child else ()

    def concerns(self, _name: str) -> bool:
        """No file matters."""
        return False

    def unread(self) -> int:
        """Bytes that journalctl has printed; what else the journal holds it does not tell."""
        return self._child.pipe.unread() if self._child else 0

    def sync(self) -> Callable[[], None]:
        """A journal cut short has another end, and a cursor behind it means that end: nothing is missed or read twice."""
        return nothing_to_sync

    def close(self) -> None:
        """End the child process."""
        if self._child:
            self._child.close()
            self._child = None

    def read(self, limit: int = 1 << 17) -> bytes:
        """The next whole lines, or nothing for now."""
        child = self._child or self._start()
        if child is None:
            return b""
        lines = child.pipe.read(limit)
        if lines:
            self.problem, self._pause = None, _FIRST_PAUSE
        elif child.pipe.has_ended:
            self._fail(child.last_words())
        elif self.problem and self._clock() - self._started > _STEADY:
            self.problem, self._pause = None, _FIRST_PAUSE  # it lives, and there is nothing to print
        return self._take(lines)

    def _take(self, lines: bytes) -> bytes:
        if _SUPPRESSED_ID.encode() in lines:
            return b"".join(self._take_one(line) for line in lines.splitlines(keepends=True))
        if lines:  # a batch is handed out as a whole: only its last cursor matters
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

    def _start(self) -> "_Child | None":
        if self._clock() < self._not_before:
            return None
        try:
            if self.position is None:
                self.position = _newest() or ""
            self._newest = _newest(_MAIL)
            after = [f"--after-cursor={self.position}"] if self.position else []
            self._started = self._clock()
            matches = [_MAIL, "+", f"MESSAGE_ID={_SUPPRESSED_ID}"]
            self._child = _Child([*_COMMAND, "--follow", "--no-tail", *after, *matches])
        except FileNotFoundError:
            self._fail("is not installed; name a log file in log.source")
        except (OSError, subprocess.SubprocessError) as error:
            self._fail(str(error))
        return self._child

    def _fail(self, why: str) -> None:
        self.close()
        self.problem = f"journalctl: {why}"
        if "cursor" in why:  # of another journal: the machine's ID changed, or its files were removed
            self.losses += 1
            self.position = None
        self._not_before = self._clock() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class _Child:
    """journalctl and its output. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        # Not a pipe: nobody empties it while journalctl runs.
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._words
            )
        except OSError:
            self._words.close()
            raise
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        self.pipe = Pipe(self._process.stdout.fileno())

    def last_words(self) -> str:
        """Why it ended."""
        status = self._process.wait(_DEADLINE)
        self._words.seek(0)
        words = self._words.read()[-500:].decode("utf-8", "replace").strip()
        return f"ended with status {status}" + (f": {words}" if words else "")

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._words.close()


def last_mail() -> float | None:
    """When the newest entry of the mail facility was written (seconds since the epoch); None if there is none to see."""
    try:
        cursor = _newest(_MAIL)
    except (OSError, subprocess.SubprocessError):
        return None
    return _moment(cursor) / 1e6 or None


def _newest(*matches: str) -> str | None:
    """The cursor of the newest entry; None if there is none."""
    command = [*_COMMAND, "--lines=1", *matches]
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_DEADLINE, check=False
    )
    if run.returncode:
        words = run.stderr.decode("utf-8", "replace").strip()
        raise OSError(f"ended with status {run.returncode}: {words}")
    cursor = _entry(run.stdout.strip()).get("__CURSOR")
    return cursor if isinstance(cursor, str) else None


def _entry(line: bytes) -> dict[str, Any]:
    """A line as journalctl prints it; empty for what is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _moment(cursor: str | None) -> int:
    """When its entry was written, in microseconds."""
    match = _MOMENT.search(cursor or "")
    return int(match[1], 16) if match else 0


class JournalError(Exception):
    """The journal cannot be read."""


def read_journal(since: datetime | None = None) -> Iterator[bytes]:
    """Read the mail entries from the first one on, for commands that look back, in pieces of any length.

    Entries written before `since` are left out. Lines before a failure have been handed out by then.

    Raises:
        JournalError: journalctl is missing, fails, or may not read it.
    """
    command = [*_HISTORY_COMMAND, *([f"--since=@{since.timestamp():.0f}"] if since else []), _MAIL]
    try:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise JournalError(f"journalctl cannot be run ({error.strerror}); name log files instead") from error
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
    if status:
        raise JournalError(f"journalctl ended with status {status}: {message}")
    if _NOT_ALLOWED in message:
        raise JournalError(
            "this user sees a part of it alone; call this with sudo, or as a member of the group systemd-journal"
        )

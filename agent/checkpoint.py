"""The checkpoint: log position and counts in one file, so that counting resumes after a restart where it stopped.

Promise: the file is replaced atomically and flushed to disk, so it always holds a position and exactly the counts up to
it. Nothing is shown before the first checkpoint is written, so a crash never makes a counter go back. The log is synced
before the position that refers to it. Values that no log line would restore are saved at once (`request`, `flush`).

How it fails: a damaged file (wrong checksum) is moved aside, reported, and counting starts at zero. A file of another
version is refused and kept: `CheckpointError`. A full disk is logged once per occasion, counted, and retried.
"""

import asyncio
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postward.agent.fsutil import owner_in, write_atomically
from postward.agent.logs.watcher import wake_up
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part, Problem
from postward.agent.stored import parse_json, read_regular

VERSION = 3
_FORMER = 2  # of release 0.1: the same form, with the incidents' history under another name
INTERVAL = 15.0  # seconds; a crash re-reads at most this much of the log
SHORT_INTERVAL = 5.0  # seconds, after a failure, and for a log that cannot be read again

_log = logging.getLogger("postward.checkpoint")
# write_atomically uses one temporary name per file: two writers would replace each other's.
_one_writer = threading.Lock()


class CheckpointError(Exception):
    """The checkpoint cannot be used and must not be overwritten."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Counts, and the positions in the log sources up to which they were made.

    Attributes:
        positions: source name → position, as `agent.logs.source` defines it.
        tally: the counts.
        parts: part name → its state (JSON values), kept in step with the counts.
    """

    positions: Mapping[str, Any]
    tally: Tally
    parts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the file's content."""
        body = {"positions": self.positions, "tally": self.tally.as_json(), "parts": self.parts}
        dumped = _dump(body)
        head = _dump({"version": VERSION, "sha256": _checksum(dumped)})
        return head[:-1] + b"," + dumped[1:]


class CheckpointWriter(Part):
    """Writes the checkpoint every few seconds, on request, and last of all.

    Made before the parts that need `request` and `flush`; `start` names the source of the content.

    Args:
        path: the file.
        tally: counts write errors.

    Attributes:
        has_saved: the first save was made or attempted.
    """

    def __init__(self, path: Path, tally: Tally) -> None:
        self.has_saved = False
        self._path = path
        self._tally = tally
        self._requested = asyncio.Event()
        self._next = asyncio.Event()  # set when the save that begins next has ended
        self._saved_at: float | None = None
        self._on_disk = b""
        self._problem = Problem(_log, str(path), f"{path}: can be written again")
        tally.add("postward_checkpoint_errors_total", (), 0)

    def start(
        self,
        snapshot: Callable[[], Checkpoint],
        sync: Callable[[], Callable[[], None]],
        ready: asyncio.Event,
        interval: float = INTERVAL,
    ) -> None:
        """Name the content: `snapshot` is what is true now, `sync` as in `LogReader`, `ready` is set once both are valid."""
        self._snapshot, self._sync, self._ready, self._interval = snapshot, sync, ready, interval

    async def run(self) -> None:
        """Save until cancelled, first when the sources have been polled."""
        await self._ready.wait()
        while True:
            done, self._next = self._next, asyncio.Event()
            # Content and position belong to this moment; only the slow work runs in a thread.
            content, sync = self._snapshot().to_json(), self._sync()
            if content == self._on_disk:  # a host at rest: no write and no fsync
                self._saved_at = time.time()
            else:
                self._note(await asyncio.to_thread(self._write, content, sync))
            done.set()
            await wake_up(self._requested, SHORT_INTERVAL if self._problem.text else self._interval)

    async def flush(self) -> None:
        """Save what is true now; return when it is on disk or could not be written."""
        done = self._next
        self.request()
        await done.wait()

    def request(self) -> None:
        """Save soon, without waiting."""
        self._requested.set()

    def save(self) -> None:
        """Save now, in this thread."""
        self._note(self._write(self._snapshot().to_json(), self._sync()))

    def gauges(self) -> Gauges:
        """Return when the checkpoint was last known to hold what is true."""
        if self._saved_at is None:
            return {}
        return {"postward_checkpoint_timestamp_seconds": {(): self._saved_at}}

    def conditions(self) -> Mapping[str, str | None]:
        """Return why the checkpoint cannot be saved."""
        return {"state-unwritable": self._problem.text and f"{self._path}: {self._problem.text}"}

    def _write(self, content: bytes, sync: Callable[[], None]) -> OSError | None:
        sync()
        try:
            write_checkpoint(self._path, content)
        except OSError as error:
            return error
        self._on_disk = content
        return None

    def _note(self, error: OSError | None) -> None:
        self.has_saved = True
        if error is None:
            self._saved_at = time.time()
            self._problem.note(None)
        else:
            self._tally.add("postward_checkpoint_errors_total", (), 1)
            self._problem.note(
                f"{error.strerror}; after a crash, counting would resume at the last checkpoint"
            )


def write_checkpoint(path: Path, content: bytes) -> None:
    """Replace the checkpoint. Raises OSError; the former file stays then."""
    folder = Path(os.path.realpath(path)).parent
    with _one_writer:
        write_atomically(path, content, mode=0o640, owner=owner_in(folder))


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Return the last checkpoint; None if there is none, or if it was damaged and moved aside.

    Raises:
        CheckpointError: it has another version or cannot be read; starting at zero would overwrite it.
    """
    try:
        content = read_regular(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        _move_aside(path, error)
        return None
    except OSError as error:
        raise CheckpointError(
            f"{path}: {error.strerror}; it must be readable and writable for this user"
        ) from error
    try:
        return parse_checkpoint(content)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except ValueError as error:
        _move_aside(path, error)
        return None


def parse_checkpoint(content: bytes) -> Checkpoint:
    """Parse the output of `Checkpoint.to_json`.

    Raises:
        CheckpointError: it has another version.
        ValueError: it is damaged.
    """
    try:
        data = parse_json(content)
        version = data.pop("version")
        if not isinstance(version, int):
            raise TypeError(f"version {version!r}")  # noqa: TRY301 - handled as any other malformed file
        if version not in {_FORMER, VERSION}:
            raise CheckpointError(
                f"has version {version}, and this Postward uses version {VERSION}; start the Postward that wrote it, "
                "or move the file away to start counting at zero"
            )
        checksum = data.pop("sha256")
        if checksum != _checksum(_dump(data)):
            raise ValueError("the checksum is wrong")
        parts = dict(data.get("parts", {}))
        if version == _FORMER and "day" in (incidents := dict(parts.get("incidents", {}))):
            parts["incidents"] = incidents | {"history": incidents.pop("day")}
        return Checkpoint(dict(data["positions"]), Tally.from_json(data["tally"]), parts)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _move_aside(path: Path, reason: ValueError) -> None:
    aside = path.with_suffix(".damaged")
    try:
        path.replace(aside)
    except OSError as error:
        raise CheckpointError(
            f"{path}: is damaged ({reason}) and cannot be moved aside: {error.strerror}; "
            "move it away to start counting at zero"
        ) from error
    _log.error(
        "checkpoint %s is damaged (%s): moved aside as %s; counting starts at zero", path, reason, aside.name
    )


def _checksum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _dump(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()

"""Saving position and counts: soon after the start, every few seconds, when somebody asks for it, and last of all.

Promise: nothing was shown before the first checkpoint (`saved` tells), so that a crash at any moment goes back to
counts no higher than the next ones. The log is made safe before the position that refers to it. What no line of the log
would bring back after a crash is saved at once (`soon`, `written`).

How it fails: a full disk is told once for each time, counted, and tried again; the agent goes on.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from postward.agent.checkpoint import Checkpoint, write_checkpoint
from postward.agent.logs.watcher import wake_up
from postward.agent.metrics.tally import Gauges, Tally

INTERVAL = 5.0  # seconds; a crash re-reads at most this much of the log

_log = logging.getLogger("postward")


class CheckpointWriter:
    """Writes the checkpoint file.

    Args:
        path: the file.
        tally: failures are counted here.
        checkpoint: what is true now.
        keeper: as that of `LogReader`.
    """

    def __init__(
        self,
        path: Path,
        tally: Tally,
        checkpoint: Callable[[], Checkpoint],
        keeper: Callable[[], Callable[[], None]],
    ) -> None:
        self.saved = False  # or tried to
        self._path = path
        self._tally = tally
        self._checkpoint = checkpoint
        self._keeper = keeper
        self._asked = asyncio.Event()
        self._next = asyncio.Event()  # the save that begins next is done
        self._saved_at: float | None = None
        self._failing = False
        tally.add("postward_checkpoint_errors_total", (), 0)

    async def run(self, looked: asyncio.Event) -> None:
        """Save until cancelled, first when the sources have been looked at."""
        await looked.wait()
        while True:
            done, self._next = self._next, asyncio.Event()
            # Both are of this moment; only what takes long is done elsewhere.
            content, keep = self._checkpoint().to_json(), self._keeper()
            self._note(await asyncio.to_thread(self._write, content, keep))
            done.set()
            await wake_up(self._asked, INTERVAL)

    async def written(self) -> None:
        """Have what is true now saved at once. Done when it is, or cannot be."""
        done = self._next
        self.soon()
        await done.wait()

    def soon(self) -> None:
        """Have it saved at once, without waiting for that."""
        self._asked.set()

    def save(self) -> None:
        """Save now, and wait for it."""
        self._note(self._write(self._checkpoint().to_json(), self._keeper()))

    def _write(self, content: bytes, keep: Callable[[], None]) -> OSError | None:
        keep()
        try:
            write_checkpoint(self._path, content)
        except OSError as error:
            return error
        return None

    def _note(self, error: OSError | None) -> None:
        self.saved = True
        if error is None:
            self._saved_at = time.time()
            if self._failing:
                _log.info("%s: can be written again", self._path)
        else:
            self._tally.add("postward_checkpoint_errors_total", (), 1)
            if not self._failing:
                _log.error("%s: %s; after a crash lines would be counted again", self._path, error.strerror)
        self._failing = error is not None

    def gauges(self) -> Gauges:
        """When it was last saved."""
        return (
            {} if self._saved_at is None else {"postward_checkpoint_timestamp_seconds": {(): self._saved_at}}
        )

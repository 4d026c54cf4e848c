"""The agent's reading: all sources in turn, in slices so short that scrapes and probes stay prompt.

Promise: lines and positions stay in step: what `positions` says is what has been fed. `behind` is true as long as counts
may be older than what was shown before a crash; a scrape must not see them then. A gap, a suppressed line and an
unreadable source are counted.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from postward.agent.logs.source import Source
from postward.agent.logs.watcher import Watcher, wake_up
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part
from postward.agent.systemd import Watchdog

_LOOK_AGAIN = 1.0  # seconds until a source is looked at without a wake-up
_SLICE = 0.005  # seconds that reading and counting take at once; the rest of the agent waits for so long
_LEAST, _MOST = 1 << 12, 1 << 17  # bytes of a slice
# Turns of the loop after a slice: a request needs several, from its connection to its answer.
_TURNS = 8
_BACKLOG = 2.0  # seconds without having seen the end; a reader that keeps up sees it several times a second
# Seconds of work on a backlog after which more was read than before a crash since the last checkpoint, which is five
# seconds old at most: what is shown from then on is no older than what was shown.
_CAUGHT_UP_AFTER = 10.0
# rsyslog's imuxsock and imjournal, in the log themselves where everything goes into one file.
_DROPPED = re.compile(rb"\b(\d{1,9}) messages lost due to rate-limiting")

_log = logging.getLogger("postward")


def _nothing_to_save() -> None:
    """Who reads for one probe keeps no counts."""


class LogReader(Part):
    """Reads sources and feeds what they hand out.

    Args:
        sources: opened.
        feed: takes whole lines.
        tally: losses and read errors are counted here.
        save: called when some were: no line would bring them back after a crash.
        watcher: wakes the reader up when a log file changes.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        feed: Callable[[bytes], None],
        tally: Tally,
        save: Callable[[], None] = _nothing_to_save,
        watcher: Watcher | None = None,
    ) -> None:
        self.sources = sources
        self._feed = feed
        self._tally = tally
        self._save = save
        self._watcher = watcher
        self._watchdog = Watchdog()
        self._limit = _MOST
        self._worked = 0.0  # seconds of slices since the start
        self._caught_up = False
        self._turn = 0
        self._saw_end = time.monotonic()
        self._problems: dict[str, str | None] = {}
        self._losses: dict[str, int] = {}
        self.looked = asyncio.Event()  # at every source once: their positions are known
        for name in ("postward_log_losses_total", "postward_log_read_errors_total"):
            tally.add(name, (), 0)

    @property
    def names(self) -> str:
        """For messages."""
        return ", ".join(source.name for source in self.sources)

    @property
    def behind(self) -> bool:
        """True as long as counts may be older than what was shown before."""
        if not self._caught_up:
            self._caught_up = self._worked > _CAUGHT_UP_AFTER or not any(
                source.behind for source in self.sources
            )
        return not self._caught_up

    @property
    def has_backlog(self) -> bool:
        """True as long as there always was more to read. Bytes that wait are none if they are a line without an end."""
        return time.monotonic() - self._saw_end > _BACKLOG

    @property
    def problem(self) -> str | None:
        """What keeps a source from being read."""
        return next((source.problem for source in self.sources if source.problem), None)

    def unread(self) -> int:
        """Bytes that are known to wait."""
        return sum(source.unread() for source in self.sources)

    def positions(self) -> dict[str, Any]:
        """Source → position."""
        return {source.name: source.position for source in self.sources}

    def sync(self) -> Callable[[], None]:
        """What makes the lines before the positions survive a power cut; call it before saving these."""
        syncs = [source.sync() for source in self.sources]

        def keep() -> None:
            for sync in syncs:
                sync()

        return keep

    def close(self) -> None:
        """Let the sources go."""
        for source in self.sources:
            source.close()

    async def run(self) -> None:
        """Read until cancelled."""
        wake = asyncio.Event()
        if self._watcher is not None:
            for folder in {source.folder for source in self.sources if source.folder is not None}:
                self._watcher.watch(folder, self._concerning(folder), wake)
        while True:
            more = self.read_slice()
            self.looked.set()
            self._watchdog.alive()
            if more:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                continue
            descriptors = [descriptor for source in self.sources for descriptor in source.descriptors()]
            await wake_up(wake, _LOOK_AGAIN, descriptors)

    def read_slice(self) -> bool:
        """Read from the next source that has something. False if none has."""
        for _ in self.sources:
            source = self.sources[self._turn % len(self.sources)]
            self._turn += 1
            started = time.perf_counter()
            lines = source.read(self._limit)
            self._note(source)
            if lines:
                self._note_dropped(lines)
                self._feed(lines)
                self._measure(time.perf_counter() - started, len(lines))
                return True
        self._saw_end = time.monotonic()
        return False

    def _measure(self, seconds: float, size: int) -> None:
        """Keep to the slice: what comes is read as fast as what went."""
        self._worked += seconds
        self._limit = min(max(int(size * _SLICE / max(seconds, 1e-6)), _LEAST), 2 * self._limit, _MOST)

    def _note(self, source: Source) -> None:
        """What became of the source with this look."""
        name = source.name
        if lost := source.losses - self._losses.get(name, 0):
            self._losses[name] = source.losses
            self._tally.add("postward_log_losses_total", (), lost)
            self._save()
            _log.error("log: %s: %d gaps, or lines that were suppressed", name, lost)
        if source.problem == self._problems.get(name):
            return
        self._problems[name] = source.problem
        if source.problem:
            self._tally.add("postward_log_read_errors_total", (), 1)
            self._save()
            _log.error("log: %s", source.problem)
        else:
            _log.info("log: %s can be read again", name)

    def _note_dropped(self, lines: bytes) -> None:
        if b" messages lost due to rate-limiting" in lines:
            lost = sum(int(number) for number in _DROPPED.findall(lines))
            self._tally.add("postward_log_losses_total", (), lost)

    def _concerning(self, folder: Path) -> Callable[[str], bool]:
        sources = [source for source in self.sources if source.folder == folder]
        return lambda name: any(source.concerns(name) for source in sources)

    def gauges(self) -> Gauges:
        """What is true at this moment."""
        gauges: dict[str, Mapping[tuple[str, ...], float]] = {
            "postward_log_unread_bytes": {(): float(self.unread())},
            "postward_log_readable": {(): float(self.problem is None)},
        }
        free = [_free_bytes(source.folder) for source in self.sources if source.folder]
        known = [number for number in free if number is not None]
        return gauges | ({"postward_log_disk_free_bytes": {(): min(known)}} if known else {})


def _free_bytes(folder: Path) -> float | None:
    """What the log's file system has left for those who are not root."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return float(status.f_bavail * status.f_frsize)

"""Poll all sources every second or two and read them in turn, in slices of about 10 ms, so that no scrape or probe is delayed.

A wake-up for each line costs far more than the line, so nothing watches the log. `catch_up` reads at once, for a request
that shows counts.

Promise: `positions` matches the lines that have been fed. `behind` is true while counts may be lower than those shown
before a crash; `/metrics` answers 503 meanwhile. Gaps, suppressed lines and unreadable sources are counted.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from postward.agent.beat import BEAT, next_beat
from postward.agent.fsutil import free_bytes
from postward.agent.logs.source import Source
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part, Problem
from postward.agent.systemd import Watchdog

_BUSY_BEAT = 1.0  # seconds between two polls, while there are lines
_SHORT_INTERVAL = 0.02  # seconds, after a poll that read much of a pipe, and while someone waits for a line
_MUCH = 1 << 15  # bytes: half a pipe, whose writer waits once it is full
_CATCH_UP = 0.1  # seconds of reading before a request is answered; more is a backlog
_SLICE = 0.01  # CPU seconds of reading and counting at a time; the rest of the agent waits meanwhile
_MIN_SIZE, _MAX_SIZE = 1 << 12, 1 << 17  # bytes of a slice
# Iterations of the event loop after each slice: an HTTP request needs several.
_TURNS = 8
_BACKLOG = 2.0  # seconds without reaching the end; a reader that keeps up reaches it at each poll
# Seconds of reading after which the counts have passed those shown before a crash, whose checkpoint was younger.
_CAUGHT_UP_AFTER = 20.0
# A message of rsyslog's imuxsock and imjournal. It is in the mail log only if rsyslog's own messages go there.
_DROPPED = re.compile(rb"\b(\d{1,9}) messages lost due to rate-limiting")

_log = logging.getLogger("postward")


def _nothing_to_save() -> None:
    """Do nothing, where counts are not saved, as in `postward probe`."""


def _nobody_waits() -> bool:
    return False


class LogReader(Part):
    """Reads sources and feeds their lines to a function.

    Args:
        sources: the open sources.
        feed: takes whole lines.
        tally: counts losses and read errors.
        save: called after each loss and read error, which reading the lines again after a crash would not restore.
        awaited: returns True while a new line is awaited, for example a probe's; the sources are polled often then.
        clock: monotonic seconds.

    Attributes:
        looked: set once every source has been polled, so that the positions are known.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        feed: Callable[[bytes], None],
        tally: Tally,
        save: Callable[[], None] = _nothing_to_save,
        awaited: Callable[[], bool] = _nobody_waits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sources = sources
        self._feed = feed
        self._tally = tally
        self._save = save
        self._awaited = awaited
        self._watchdog = Watchdog()
        self._limit = _MAX_SIZE
        self._reads_pipe = any(source.folder is None for source in sources)
        self._worked = 0.0  # seconds of reading and counting since the start
        self._caught_up = False
        self._turn = 0
        self._clock = clock
        self._saw_end = self._due = (
            clock()
        )  # time of the last poll that reached the end, and of the next poll
        self._problems = {
            source.name: Problem(_log, "log", f"log: {source.name} can be read again") for source in sources
        }
        self._losses: dict[str, int] = {}
        self.looked = asyncio.Event()
        for name in ("postward_log_losses_total", "postward_log_read_errors_total"):
            tally.add(name, (), 0)

    @property
    def names(self) -> str:
        """The names of the sources, separated by commas, for messages."""
        return ", ".join(source.name for source in self.sources)

    @property
    def behind(self) -> bool:
        """True while counts may be lower than those shown before a crash."""
        if not self._caught_up:
            self._caught_up = self._worked > _CAUGHT_UP_AFTER or not any(
                source.behind for source in self.sources
            )
        return not self._caught_up

    @property
    def has_backlog(self) -> bool:
        """True if no poll has reached the end of all sources for two seconds, although one was due.

        An incomplete last line is not a backlog.
        """
        return self._clock() - max(self._saw_end, self._due) > _BACKLOG

    @property
    def problem(self) -> str | None:
        """The reason why a source cannot be read; None if all can."""
        return next((source.problem for source in self.sources if source.problem), None)

    def unread(self) -> int:
        """Return the number of bytes known to be unread."""
        return sum(source.unread() for source in self.sources)

    def positions(self) -> dict[str, Any]:
        """Return the position of each source, by its name."""
        return {source.name: source.position for source in self.sources}

    def sync(self) -> Callable[[], None]:
        """Return a function that flushes the lines before the positions to disk; call it before saving the positions."""
        syncs = [source.sync() for source in self.sources]

        def keep() -> None:
            for sync in syncs:
                sync()

        return keep

    def close(self) -> None:
        """Close the sources."""
        for source in self.sources:
            source.close()

    async def run(self) -> None:
        """Read until cancelled."""
        size = 0
        while True:
            read = self.read_slice()
            self.looked.set()
            self._watchdog.alive()
            if read:
                size += read
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                continue
            soon = self._awaited() or (self._reads_pipe and size > _MUCH)
            pause = _SHORT_INTERVAL if soon else _BUSY_BEAT if size else BEAT
            self._due = self._clock() + pause
            await (asyncio.sleep(pause) if soon else next_beat(pause))
            size = 0

    async def catch_up(self) -> None:
        """Read what has been written until now, unless it is a backlog."""
        end = self._clock() + _CATCH_UP
        while self.read_slice() and self._clock() < end:  # noqa: ASYNC110 - gives way, and waits for nothing
            await asyncio.sleep(0)

    def read_slice(self) -> int:
        """Read from the next source with unread lines. Return the number of bytes; 0 if none of them has any."""
        for _ in self.sources:
            source = self.sources[self._turn % len(self.sources)]
            self._turn += 1
            lines = source.read(self._limit)
            self._count_faults(source)
            if lines:
                started = time.thread_time()
                self._count_dropped(lines)
                self._feed(lines)
                self._measure(time.thread_time() - started, len(lines))
            if lines or source.skipping:
                return max(len(lines), 1)
        self._saw_end = self._clock()
        return 0

    def _measure(self, seconds: float, size: int) -> None:
        """Set the size of the next slice by the speed of this one."""
        self._worked += seconds
        self._limit = min(max(int(size * _SLICE / max(seconds, 1e-6)), _MIN_SIZE), 2 * self._limit, _MAX_SIZE)

    def _count_faults(self, source: Source) -> None:
        """Count and log a source's new losses, and the beginning and end of its problems."""
        name = source.name
        if lost := source.losses - self._losses.get(name, 0):
            self._losses[name] = source.losses
            self._tally.add("postward_log_losses_total", (), lost)
            self._save()
            _log.error("log: %s: gaps and suppressed lines: %d", name, lost)
        if self._problems[name].note(source.problem) and source.problem:
            self._tally.add("postward_log_read_errors_total", (), 1)
            self._save()

    def _count_dropped(self, lines: bytes) -> None:
        if b" messages lost due to rate-limiting" in lines:
            lost = sum(int(number) for number in _DROPPED.findall(lines))
            self._tally.add("postward_log_losses_total", (), lost)

    def conditions(self) -> Mapping[str, str | None]:
        """Return why a source cannot be read."""
        return {"log-unreadable": self.problem}

    def gauges(self) -> Gauges:
        """Return the bytes that are unread, whether all sources can be read, and the free space of their disks."""
        gauges: dict[str, Mapping[tuple[str, ...], float]] = {
            "postward_log_unread_bytes": {(): float(self.unread())},
            "postward_log_readable": {(): float(self.problem is None)},
        }
        free = [free_bytes(source.folder) for source in self.sources if source.folder]
        known = [number for number in free if number is not None]
        return gauges | ({"postward_log_disk_free_bytes": {(): min(known)}} if known else {})

"""Gauges of the queue by cause: the listing of postqueue(1), classified like the log.

Promise: a listing is read as a stream in small pieces, so a queue of a million messages neither fills the memory nor
blocks the event loop. Only one listing runs at a time, and listings take at most about a tenth of the time. So a small
queue is listed at each scrape, a large one less often; `postward_queue_read_timestamp_seconds` shows when.
A scrape waits at most `_TIMEOUT` for a listing, then shows the previous one.

How it fails: if postqueue fails, the last listing is no longer shown and `postward_queue_readable` is 0.
"""

import asyncio
import contextlib
import logging
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from postward.agent.parts import Part, Problem
from postward.agent.postfix.commands import PostfixError
from postward.parsers import Cause, classify
from postward.parsers.queue import QUEUES, QueuedMail, QueueLines, parse_queued_mail, unescaped

_TIMEOUT: Final = 0.5  # seconds; Prometheus's default scrape timeout is 10
_PAUSE_FACTOR: Final = 10  # after a listing that took 1 s, none starts for 10 s
_MAX_REASONS: Final = 4096  # in the cache; most messages of a queue are deferred for the same few reasons
_BATCH: Final = 200  # lines, after which other tasks of the event loop run
NO_CAUSE: Final = "none"

# The buckets of prometheus-postfix-exporter, in seconds and in bytes.
AGE_BUCKETS: Final = (10.0, 30.0, 60.0, 300.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0, 1e6, 1e7, 1e8)
SIZE_BUCKETS: Final = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)

Values = dict[tuple[str, ...], float]
_log = logging.getLogger("postward")


@dataclass(slots=True)
class _Queue:
    size: int = 0
    oldest: int | None = None
    ages: list[float] = field(default_factory=lambda: [0.0] * (len(AGE_BUCKETS) + 2))
    sizes: list[float] = field(default_factory=lambda: [0.0] * (len(SIZE_BUCKETS) + 2))


class QueueCounts:
    """The counts of a listing. The set of queues is closed; messages in other queues are not counted."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.queues = {name: _Queue() for name in QUEUES}
        self.causes: dict[tuple[str, str], int] = {("deferred", cause.value): 0 for cause in Cause}
        self.causes |= {(name, NO_CAUSE): 0 for name in QUEUES}
        self._known: dict[bytes, str] = {}

    def add(self, mail: QueuedMail) -> None:
        """Count a message."""
        queue = self.queues.get(mail.queue)
        if queue is None:
            return
        queue.size += mail.size
        if queue.oldest is None or mail.arrival < queue.oldest:
            queue.oldest = mail.arrival
        age = max(0.0, self.now - mail.arrival)
        queue.ages[bisect_left(AGE_BUCKETS, age)] += 1
        queue.ages[-1] += age
        queue.sizes[bisect_left(SIZE_BUCKETS, mail.size)] += 1
        queue.sizes[-1] += mail.size
        key = (mail.queue, self._cause(mail.reason))
        self.causes[key] = self.causes.get(key, 0) + 1

    def _cause(self, reason: bytes | None) -> str:
        if reason is None:
            return NO_CAUSE
        cause = self._known.get(reason)
        if cause is None:
            if len(self._known) >= _MAX_REASONS:
                self._known.clear()
            cause = self._known[reason] = classify(unescaped(reason)).value
        return cause

    def gauges(self) -> dict[str, Values]:
        """Return the gauges of the queue."""
        return {
            "postfix_queue_messages": {key: float(number) for key, number in self.causes.items()},
            "postfix_queue_bytes": {(name,): float(queue.size) for name, queue in self.queues.items()},
            "postfix_queue_oldest_age_seconds": {
                (name,): 0.0 if queue.oldest is None else max(0.0, self.now - queue.oldest)
                for name, queue in self.queues.items()
            },
        }


async def count_queue(pieces: AsyncIterator[bytes], now: float) -> QueueCounts:
    """Return the counts of a listing; other tasks run after each 200 lines."""
    counts, lines, since = QueueCounts(now), QueueLines(), 0
    async for piece in pieces:
        for line in lines.feed(piece):
            mail = parse_queued_mail(line)
            if mail is not None:
                counts.add(mail)
            since += 1
            if since >= _BATCH:
                since = 0
                await asyncio.sleep(0)
    return counts


def _listable() -> None:
    """Return that a listing can always be tried."""


class QueueMonitor(Part):
    """Lists the queue when Prometheus scrapes the agent.

    Args:
        listing: starts a listing and yields it in pieces; raises PostfixError.
        clock: returns the time in seconds since the epoch.
        unlistable: returns why a listing would fail; None if it can be tried.
    """

    def __init__(
        self,
        listing: Callable[[], AsyncIterator[bytes]],
        clock: Callable[[], float] = time.time,
        unlistable: Callable[[], str | None] = _listable,
    ) -> None:
        self._listing = listing
        self._unlistable = unlistable
        self._clock = clock
        self.counts: QueueCounts | None = None
        self._task: asyncio.Task[None] | None = None
        self._problem = Problem(_log, "queue", "queue: can be listed again")
        self._ended = 0.0  # monotonic
        self._took = 0.0

    async def refresh(self) -> None:
        """Start a listing, unless one runs or ended recently; wait for it at most `_TIMEOUT`."""
        if self._task is None and time.monotonic() >= self._ended + _PAUSE_FACTOR * self._took:
            self._task = asyncio.create_task(self._read())
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_TIMEOUT)

    async def run(self) -> None:
        """Wait until cancelled, then cancel a running listing."""
        try:
            await asyncio.Event().wait()
        finally:
            if self._task is not None:
                self._task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task

    def gauges(self) -> dict[str, Values]:
        """Return the gauges of the last listing and of its success."""
        shown: dict[str, Values] = {}
        if self._ended:
            shown["postward_queue_readable"] = {(): float(self._problem.text is None)}
            shown["postward_queue_read_duration_seconds"] = {(): self._took}
        if self.counts is not None:
            shown |= self.counts.gauges()
            shown["postward_queue_read_timestamp_seconds"] = {(): self.counts.now}
        return shown

    async def _read(self) -> None:
        started = time.monotonic()
        try:
            problem = self._unlistable()
            self.counts = None if problem else await count_queue(self._listing(), self._clock())
            self._problem.note(problem)
        except PostfixError as error:
            self.counts = None
            self._problem.note(str(error))
        finally:
            self._ended = time.monotonic()
            self._took = self._ended - started
            self._task = None


def histograms(counts: QueueCounts) -> Mapping[str, Mapping[str, list[float]]]:
    """Return ages in seconds and sizes in bytes by queue, each as a row of bucket counts and the sum."""
    return {
        "age": {name: queue.ages for name, queue in counts.queues.items()},
        "size": {name: queue.sizes for name, queue in counts.queues.items()},
    }

"""The queue by cause: postqueue's listing through the same classifier as the log, as gauges.

Promise: a listing is read as a stream in small pieces, so that a million mails take neither memory nor the loop;
only one runs at a time, and listings take at most a tenth of the time, so a small queue is listed anew for each
scrape and a big one now and then (`postward_queue_read_timestamp_seconds` says when). A scrape waits for a listing
for at most `_TIMEOUT` and shows the one before.

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

from postward.agent.parts import Part
from postward.agent.postfix.commands import PostfixError
from postward.parsers import Cause, classify
from postward.parsers.queue import QUEUES, QueuedMail, QueueLines, parse_queued_mail, unescaped

_TIMEOUT: Final = 0.5  # seconds; Prometheus gives up after 10
_SHARE: Final = 10  # a listing that took a second is the last one for ten
_MAX_REASONS: Final = 4096  # remembered: most mails of a queue wait for the same few reasons
_BATCH: Final = 200  # lines between two turns of the loop
NO_CAUSE: Final = "none"

# Of the names of prometheus-postfix-exporter: its buckets.
AGE_BUCKETS: Final = (10.0, 30.0, 60.0, 300.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0, 1e6, 1e7, 1e8)
SIZE_BUCKETS: Final = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)

Values = dict[tuple[str, ...], float]
_log = logging.getLogger("postward")


@dataclass(slots=True)
class _Queue:
    messages: int = 0
    size: int = 0
    oldest: int | None = None
    ages: list[float] = field(default_factory=lambda: [0.0] * (len(AGE_BUCKETS) + 2))
    sizes: list[float] = field(default_factory=lambda: [0.0] * (len(SIZE_BUCKETS) + 2))


class QueueCounts:
    """What a listing adds up to. Queues that this Postfix should not have are left out: the set is closed."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.queues = {name: _Queue() for name in QUEUES}
        self.causes: dict[tuple[str, str], int] = {("deferred", cause.value): 0 for cause in Cause}
        self.causes |= {(name, NO_CAUSE): 0 for name in QUEUES}
        self._known: dict[bytes, str] = {}

    def add(self, mail: QueuedMail) -> None:
        """Count a mail."""
        queue = self.queues.get(mail.queue)
        if queue is None:
            return
        queue.messages += 1
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
        """What /metrics shows."""
        return {
            "postfix_queue_messages": {key: float(number) for key, number in self.causes.items()},
            "postfix_queue_bytes": {(name,): float(queue.size) for name, queue in self.queues.items()},
            "postfix_queue_oldest_age_seconds": {
                (name,): 0.0 if queue.oldest is None else max(0.0, self.now - queue.oldest)
                for name, queue in self.queues.items()
            },
        }


async def count_queue(pieces: AsyncIterator[bytes], now: float) -> QueueCounts:
    """A listing → its counts, with a turn for the rest of the program now and then."""
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


class QueueMonitor(Part):
    """Lists the queue when it is scraped.

    Args:
        listing: starts a listing and hands it out in pieces; raises PostfixError.
        clock: seconds since the epoch.
    """

    def __init__(
        self, listing: Callable[[], AsyncIterator[bytes]], clock: Callable[[], float] = time.time
    ) -> None:
        self._listing = listing
        self._clock = clock
        self.counts: QueueCounts | None = None
        self._task: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._ended = 0.0  # monotonic
        self._took = 0.0

    async def refresh(self) -> None:
        """List the queue, unless that was done just now or is being done; wait a moment for it."""
        if self._task is None and time.monotonic() >= self._ended + _SHARE * self._took:
            self._task = asyncio.create_task(self._read())
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_TIMEOUT)

    async def run(self) -> None:
        """Wait until cancelled, then end a listing that is under way."""
        try:
            await asyncio.Event().wait()
        finally:
            if self._task is not None:
                self._task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task

    def gauges(self) -> dict[str, Values]:
        """What /metrics shows."""
        shown: dict[str, Values] = {}
        if self._ended:
            shown["postward_queue_readable"] = {(): float(self._problem is None)}
            shown["postward_queue_read_duration_seconds"] = {(): self._took}
        if self.counts is not None:
            shown |= self.counts.gauges()
            shown["postward_queue_read_timestamp_seconds"] = {(): self.counts.now}
        return shown

    async def _read(self) -> None:
        started = time.monotonic()
        try:
            self.counts = await count_queue(self._listing(), self._clock())
            self._tell(None)
        except PostfixError as error:
            self.counts = None
            self._tell(str(error))
        finally:
            self._ended = time.monotonic()
            self._took = self._ended - started
            self._task = None

    def _tell(self, problem: str | None) -> None:
        """Say once that something is wrong, and once that it is over."""
        if problem != self._problem:
            _log.log(
                logging.ERROR if problem else logging.INFO, "queue: %s", problem or "it can be listed again"
            )
        self._problem = problem


def histograms(counts: QueueCounts) -> Mapping[str, Mapping[str, list[float]]]:
    """Ages and sizes by queue, each a row of bucket counts and a sum."""
    return {
        "age": {name: queue.ages for name, queue in counts.queues.items()},
        "size": {name: queue.sizes for name, queue in counts.queues.items()},
    }

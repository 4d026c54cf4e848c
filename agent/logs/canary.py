"""The test line: at intervals the agent logs a line through postlog(1) and waits for it in the log.

It checks the path from Postfix's logging to the counter, also on a host that sends no mail for days, and measures the
latency of that path. A test line is an event of its own and does not count as mail.

How it fails: a line that does not arrive counts as `lost`, and the gauge is 0. If postlog fails (Postfix does not run,
or this user may not use its postlogd), the line counts as `unsent`, and the gauge is absent. Each reason is logged
once.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part, Problem
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.parsers import Event, Record
from postward.parsers.events import OwnTestLine

_FIRST = 30.0  # seconds from the start to the first line, or the interval if that is less
_TIMEOUT = 10.0  # seconds, or the interval if that is less; syslog daemons need milliseconds

_log = logging.getLogger("postward")


class LogCanary(Part):
    """Sends test lines and waits for them.

    Args:
        postfix: the Postfix instance that logs the lines.
        tally: counts the results.
        interval: seconds between two lines; 0 sends none.
        has_backlog: returns True while a backlog is read; a line in it is late, not lost.
        flush: awaited after each result, so that a crash does not lose the count.
        clock: monotonic seconds.

    Attributes:
        is_waiting: a line was sent and has not arrived yet.
    """

    def __init__(
        self,
        postfix: Postfix,
        tally: Tally,
        interval: float,
        has_backlog: Callable[[], bool],
        flush: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._postfix = postfix
        self._tally = tally
        self._interval = interval
        self._has_backlog = has_backlog
        self._flush = flush
        self._clock = clock
        self._token = ""
        self._arrived = asyncio.Event()
        self.is_waiting = False
        self._success: bool | None = None
        self._latency: float | None = None
        self._problem = Problem(_log, "log: cannot send a test line", level=logging.WARNING)
        for result in ("arrived", "lost", "unsent") if interval else ():
            tally.add("postward_log_test_lines_total", (result,), 0)

    async def run(self) -> None:
        """Send lines until cancelled."""
        if not self._interval:
            return
        await asyncio.sleep(min(_FIRST, self._interval))
        while True:
            started = self._clock()
            await self.send()
            await self._flush()
            await asyncio.sleep(max(self._interval - (self._clock() - started), 1.0))

    async def send(self) -> None:
        """Send one line and wait for it."""
        self._token = secrets.token_hex(8)
        self._arrived.clear()
        started = self._clock()
        try:
            await asyncio.to_thread(self._postfix.log, f"postward test line {self._token}")
        except PostfixError as error:
            self._count_unsent(str(error))
            return
        self._problem.note(None)
        self.is_waiting = True
        arrived = await self._wait()
        self.is_waiting = False
        latency = self._clock() - started
        self._tally.add("postward_log_test_lines_total", ("arrived" if arrived else "lost",), 1)
        if arrived:
            self._latency = latency
        if arrived != self._success and not (arrived and self._success is None):
            _log.log(
                logging.INFO if arrived else logging.ERROR,
                "log: the test line %s",
                "arrives again"
                if arrived
                else "did not arrive: Postfix logs to another place, or its lines are lost",
            )
        self._success = arrived

    async def _wait(self) -> bool:
        while True:
            try:
                async with asyncio.timeout(min(_TIMEOUT, self._interval)):
                    await self._arrived.wait()
            except TimeoutError:
                if self._has_backlog():
                    continue
                return False
            return True

    def _count_unsent(self, why: str) -> None:
        self._success = None
        self._tally.add("postward_log_test_lines_total", ("unsent",), 1)
        self._problem.note(why)

    def observe(self, _record: Record, event: Event) -> None:
        """Compare an event of the log with the test line."""
        if isinstance(event, OwnTestLine) and event.token == self._token:
            self._arrived.set()

    def gauges(self) -> Gauges:
        """Return the result and the latency of the last line; no result if it could not be sent."""
        gauges: dict[str, dict[tuple[str, ...], float]] = {}
        if self._success is not None:
            gauges["postward_log_test_line_success"] = {(): float(self._success)}
        if self._latency is not None:
            gauges["postward_log_test_line_latency_seconds"] = {(): self._latency}
        return gauges

"""The agent's own test line: now and then one is handed to postlog(1), and must come back through the log.

It proves the whole way from Postfix's logging to the counter, also on a host that sends no mail for days, and measures how
long that takes. A line is printable, says what it is, and is an event of its own, which counts for nobody.

How it fails: a line that does not come back is `lost`, and the gauge is 0. Where postlog cannot do its work (Postfix does
not run, or its postlogd is not for this user), nothing is sent and nothing concluded: that is `unsent`, and told once.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.parsers import Event, Record
from postward.parsers.events import OwnTestLine

_FIRST = 30.0  # seconds after the start
_TIMEOUT = 10.0  # seconds, or the interval if that is less; syslog daemons take milliseconds, and none buffers mail longer

_log = logging.getLogger("postward")


class LogCanary(Part):
    """Sends test lines and waits for them.

    Args:
        postfix: whose log it is.
        tally: what became of lines is counted here.
        interval: seconds between two; 0: never.
        has_backlog: true as long as a backlog is read: a line in it is late, not lost.
        flush: awaited when a line was counted: a crash must not forget it.
        clock: monotonic seconds.
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
        self._success: bool | None = None
        self._latency: float | None = None
        self._problem: str | None = None
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
        """Send one and wait for it."""
        self._token = secrets.token_hex(8)
        self._arrived.clear()
        started = self._clock()
        try:
            await asyncio.to_thread(self._postfix.log, f"postward test line {self._token}")
        except PostfixError as error:
            self._note_unsent(str(error))
            return
        self._problem = None
        arrived = await self._wait()
        latency = self._clock() - started
        self._tally.add("postward_log_test_lines_total", ("arrived" if arrived else "lost",), 1)
        if arrived:
            self._latency = latency
        if arrived != self._success and not (arrived and self._success is None):
            _log.log(
                logging.INFO if arrived else logging.ERROR,
                "log: a line that was handed to postlog %s",
                "has come back again"
                if arrived
                else "did not come back: Postfix logs elsewhere, or its lines get lost",
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

    def _note_unsent(self, why: str) -> None:
        self._success = None
        self._tally.add("postward_log_test_lines_total", ("unsent",), 1)
        if why != self._problem:
            self._problem = why
            _log.warning("log: no test line can be sent: %s", why)

    def observe(self, _record: Record, event: Event) -> None:
        """See an event of the log."""
        if isinstance(event, OwnTestLine) and event.token == self._token:
            self._arrived.set()

    def gauges(self) -> Gauges:
        """What the last line showed; nothing where none could be sent."""
        gauges: dict[str, dict[tuple[str, ...], float]] = {}
        if self._success is not None:
            gauges["postward_log_test_line_success"] = {(): float(self._success)}
        if self._latency is not None:
            gauges["postward_log_test_line_latency_seconds"] = {(): self._latency}
        return gauges

"""The test line: the agent logs a line through postlog(1) and waits for it in the log.

It checks the path from Postfix's logging to the counter, also on a host that sends no mail for days, and measures the
latency of that path. A test line is an event of its own and does not count as mail. It is sent at intervals, soon after
a busy log falls silent, soon after a lost one, and when a command asks (`look`).

How it fails: a line that does not arrive counts as `lost`, and the gauge is 0. If postlog fails (Postfix does not run,
or this user may not use its postlogd), the line counts as `unsent`, and the gauge is absent. Each reason is logged
once.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from postward.agent.fsutil import free_bytes
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part, Problem
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.postfix.process import is_running
from postward.parsers import Event, Record
from postward.parsers.events import OwnTestLine
from postward.parsers.scan import Block

_FIRST = 30.0  # seconds from the start to the first line, or the interval if that is less
_TIMEOUT = 6.0  # seconds, or the interval if that is less; syslog daemons need milliseconds
_SILENCE = 30.0  # seconds without a line after which a busy log is tested, or a lost line repeated
_TICK = 5.0  # seconds between two looks at the number of lines
_LOOK = 7.0  # seconds that a command waits for a test line
_SYSLOG_DAEMONS = frozenset({"rsyslogd", "syslog-ng", "syslogd", "busybox"})

_log = logging.getLogger("postward")


class LogCanary(Part):
    """Sends test lines and waits for them.

    Args:
        postfix: the Postfix instance that logs the lines.
        tally: counts the results.
        interval: max seconds between two lines; 0 sends none.
        has_backlog: returns True while a backlog is read; a line in it is late, not lost.
        flush: awaited after each result, so that a crash does not lose the count.
        files: the log files that are read.
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
        files: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._postfix = postfix
        self._tally = tally
        self._interval = interval
        self._has_backlog = has_backlog
        self._flush = flush
        self._files = [Path(name) for name in files if name.startswith("/")]
        self._clock = clock
        self._asked = asyncio.Event()
        self._answered = asyncio.Event()
        self._lines = 0.0
        self._last_line = clock()
        self._sent_at = -interval
        self._is_tested = True  # no line came since the last test line
        self._token = ""
        self._arrived = asyncio.Event()
        self.is_waiting = False
        self._success: bool | None = None
        self._latency: float | None = None
        self._loss = ""
        self._problem = Problem(_log, "log: cannot send a test line", level=logging.WARNING)
        for result in ("arrived", "lost", "unsent") if interval else ():
            tally.add("postward_log_test_lines_total", (result,), 0)

    async def run(self) -> None:
        """Send lines until cancelled."""
        if not self._interval:
            return
        await asyncio.sleep(min(_FIRST, self._interval))
        while True:
            if self.is_due() or self._asked.is_set():
                before = self._count_lines()
                arrived = await self.send()
                self._is_tested, self._lines = (
                    True,
                    before + arrived,
                )  # any further line is not Postward's own
                self._asked.clear()
                self._answered.set()
                await self._flush()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), min(_TICK, self._interval))

    async def look(self) -> None:
        """Test the log now if its last line is old, and wait for the result."""
        if not self._interval or self._clock() - max(self._last_line, self._sent_at) < _SILENCE:
            return
        self._answered.clear()
        self._asked.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), _LOOK)

    def is_due(self) -> bool:
        """Return True if the interval is over, a busy log has fallen silent, or the last line was lost."""
        now = self._clock()
        if (lines := self._count_lines()) != self._lines:
            self._lines, self._last_line, self._is_tested = lines, now, False
        soon = min(_SILENCE, self._interval)
        has_stopped = not self._is_tested and now - self._last_line >= soon
        is_lost = self._success is False and now - self._sent_at >= soon
        return has_stopped or is_lost or now - self._sent_at >= self._interval

    def _count_lines(self) -> float:
        counts = self._tally.counters["postward_log_lines_total"]
        return sum(number for (outcome,), number in counts.items() if outcome != "foreign")

    async def send(self) -> bool:
        """Send one line and wait for it. Return True if it arrived."""
        self._token = secrets.token_hex(8)
        self._arrived.clear()
        started = self._sent_at = self._clock()
        try:
            await asyncio.to_thread(self._postfix.log, f"postward test line {self._token}")
        except PostfixError as error:
            self._count_unsent(str(error))
            return False
        self._problem.note(None)
        self.is_waiting = True
        arrived = await self._wait()
        self.is_waiting = False
        latency = self._clock() - started
        self._tally.add("postward_log_test_lines_total", ("arrived" if arrived else "lost",), 1)
        if arrived:
            self._latency = latency
        else:
            self._loss = await asyncio.to_thread(self._explain)
        if arrived != self._success and not (arrived and self._success is None):
            _log.log(
                logging.INFO if arrived else logging.ERROR,
                "log: the test line %s",
                "arrives again"
                if arrived
                else "did not arrive: Postfix logs to another place, or its lines are lost",
            )
        self._success = arrived
        return arrived

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

    def observe_block(self, block: Block) -> None:
        """Take a block of lines; its test line is of no frequent kind."""
        for line in block.others:
            if line.record is not None and line.event is not None:
                self.observe(line.record, line.event)

    def conditions(self) -> Mapping[str, str | None]:
        """Return why the log seems to have stopped; nothing while no line could be sent."""
        if self._success is None:
            return {}
        return {"log-silent": None if self._success else self._loss}

    def _explain(self) -> str:
        """Return why the line is lost, as far as this host shows it."""
        if any(free_bytes(file.parent) == 0 for file in self._files):
            return "Postward's test line is lost; the log's file system has no free space"
        if self._files and not self._postfix.expanded("maillog_file") and not is_running(_SYSLOG_DAEMONS):
            return "Postward's test line is lost; no syslog daemon runs on this host"
        return "Postward's test line is lost"

    def gauges(self) -> Gauges:
        """Return the result and the latency of the last line; no result if it could not be sent."""
        gauges: dict[str, dict[tuple[str, ...], float]] = {}
        if self._success is not None:
            gauges["postward_log_test_line_success"] = {(): float(self._success)}
        if self._latency is not None:
            gauges["postward_log_test_line_latency_seconds"] = {(): self._latency}
        return gauges

"""The interface of the agent's parts.

A part is anything that sees log events, has gauges, notices conditions, keeps state across restarts, or runs as a task.
The agent lists its parts once (`daemon.py`) and asks each for all five; a part overrides what it has.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from postward.parsers import Event, Record
from postward.parsers.scan import Block, Wanted

_FIRST_PAUSE: Final = 1.0  # seconds until the task of a part that failed is started again; doubled each time
_RECENT: Final = 120.0  # seconds without a failure after which a part works again
_LONGEST_PAUSE: Final = 60.0  # seconds; a task that ran longer has recovered

_log = logging.getLogger("postward")

Labels = tuple[str, ...]
# Values true at one moment: metric name → labels → value.
Gauges = Mapping[str, Mapping[Labels, float]]


class Problem:
    """A problem that lasts. It is logged when it begins, when it changes and when it ends.

    Args:
        log: the logger.
        subject: stands before the problem in messages.
        end: the message at its end; "" logs none.
        level: of the problem.

    Attributes:
        text: the problem; None if there is none.
    """

    def __init__(
        self, log: logging.Logger, subject: str, end: str = "", *, level: int = logging.ERROR
    ) -> None:
        self.text: str | None = None
        self._log = log
        self._subject = subject
        self._end = end
        self._level = level

    def note(self, text: str | None) -> bool:
        """Note the problem as it is now; None if there is none. Return True if it has changed."""
        if text == self.text:
            return False
        self.text = text
        if text is not None:
            self._log.log(self._level, "%s: %s", self._subject, text)
        elif self._end:
            self._log.info("%s", self._end)
        return True


class Part:
    """A part of the agent, with empty answers for what it does not have.

    Attributes:
        name: the key of its state in the checkpoint; "" if it keeps none.
    """

    name: str = ""

    @property
    def wanted(self) -> Wanted:
        """The columns that `observe_block` reads, by event type."""
        return {}

    def observe(self, record: Record, event: Event) -> None:
        """Take a recognised log line."""

    def observe_block(self, block: Block) -> None:
        """Take a block of lines. On the hot path: parts that override neither this nor `observe` are not called."""
        for line in block.all_lines:
            if line.record is not None and line.event is not None:
                self.observe(line.record, line.event)

    @property
    def observes(self) -> bool:
        """Whether the part takes log lines."""
        kind = type(self)
        return kind.observe is not Part.observe or kind.observe_block is not Part.observe_block

    def gauges(self) -> Gauges:
        """Return values true at this moment: metric name → labels → value."""
        return {}

    def conditions(self) -> Mapping[str, str | None]:
        """Return what is wrong and no log line shows: symptom of the catalogue → the problem; None if it is over."""
        return {}

    def state(self) -> Mapping[str, Any]:
        """Return what must survive a restart, as JSON values. It is saved together with the log position."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned in an earlier run; an empty mapping on the first run."""

    async def run(self) -> None:
        """Run until cancelled. A part without a task returns at once."""


class Failures(Part):
    """Keeps a failure in one part from ending the others: it is logged once, counted, and tried again.

    Too many open files, an answer that no test foresaw: the log is still read and the endpoint still answers.
    """

    def __init__(self) -> None:
        self._counts: dict[Labels, float] = {}
        self._problems: dict[str, Problem] = {}
        self._failed_at: dict[str, float] = {}  # monotonic

    def restore_part(self, part: Part, state: Any) -> None:
        """Give a part its saved state. State of another form is left out."""
        try:
            part.restore(state if isinstance(state, dict) else {})
        except Exception as error:
            self._note(part, f"its saved state is not used: {_text(error)}")

    def gauges_of(self, part: Part) -> Gauges:
        """Return the gauges of a part; none if it cannot look now."""
        try:
            return part.gauges()
        except Exception as error:
            self._note(part, _text(error))
            return {}

    def conditions_of(self, part: Part) -> Mapping[str, str | None]:
        """Return the conditions of a part; none if it cannot look now."""
        try:
            return part.conditions()
        except Exception as error:
            self._note(part, _text(error))
            return {}

    async def keep_running(self, part: Part) -> None:
        """Run the task of a part, again after each failure."""
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await part.run()
            except Exception as error:
                self._note(part, _text(error))
            else:
                return
            pause = _FIRST_PAUSE if time.monotonic() - began > _LONGEST_PAUSE else pause
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def gauges(self) -> Gauges:
        """Return the number of failures of each part."""
        return {"postward_part_failures_total": self._counts}

    def conditions(self) -> Mapping[str, str | None]:
        """Return the parts that failed in the last minutes."""
        since = time.monotonic() - _RECENT
        failing = [
            f"{name}: {self._problems[name].text}" for name, at in self._failed_at.items() if at > since
        ]
        return {"part-failing": "; ".join(failing) or None}

    def _note(self, part: Part, text: str) -> None:
        name = type(part).__name__
        self._failed_at[name] = time.monotonic()
        self._counts[(name,)] = self._counts.get((name,), 0.0) + 1.0
        self._problems.setdefault(name, Problem(_log, f"{name} failed and is tried again")).note(text)


def _text(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"

"""The interface of the agent's parts.

A part is anything that sees log events, has gauges, keeps state across restarts, or runs as a task. The agent lists its
parts once (`daemon.py`) and asks each for all four; a part overrides what it has.
"""

import logging
from collections.abc import Mapping
from typing import Any

from postward.parsers import Event, Record

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

    def observe(self, record: Record, event: Event) -> None:
        """Take a recognised log line. On the hot path: parts that do not override this are not called."""

    def gauges(self) -> Gauges:
        """Return values true at this moment: metric name → labels → value."""
        return {}

    def state(self) -> Mapping[str, Any]:
        """Return what must survive a restart, as JSON values. It is saved together with the log position."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned in an earlier run; an empty mapping on the first run."""

    async def run(self) -> None:
        """Run until cancelled. A part without a task returns at once."""

"""The interface of the agent's parts.

A part is anything that sees log events, has gauges, keeps state across restarts, or runs as a task. The agent lists its
parts once (`daemon.py`) and asks each for all four; a part overrides what it has.
"""

from collections.abc import Mapping
from typing import Any

from postward.parsers import Event, Record

Labels = tuple[str, ...]
# Values true at one moment: metric name → labels → value.
Gauges = Mapping[str, Mapping[Labels, float]]


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

"""Exemplars: the latest queue ID of each series, which leads from a graph to the log lines of a message.

The OpenMetrics format shows them. Each series or bucket has one exemplar, in memory only, so their number is bounded.
Postfix prints queue IDs of at most 20 characters; a text of more than 32 characters is not kept.
"""

from bisect import bisect_left
from typing import NamedTuple

from postward.agent.metrics.catalog import BY_NAME
from postward.agent.parts import Labels

_MAX_LENGTH = 32  # characters of a queue ID


class Example(NamedTuple):
    """A message that was counted in a series."""

    queue_id: str
    value: float


class Exemplars:
    """Maps metric, labels and (for a histogram) bucket to the latest message counted there."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, Labels, int], Example] = {}

    def note(self, metric: str, labels: Labels, queue_id: str) -> None:
        """Record a message that was counted."""
        if len(queue_id) <= _MAX_LENGTH:
            self._latest[metric, labels, 0] = Example(queue_id, 1.0)

    def note_observation(self, metric: str, labels: Labels, queue_id: str, value: float) -> None:
        """Record a message that was observed in a histogram."""
        if len(queue_id) <= _MAX_LENGTH:
            bucket = bisect_left(BY_NAME[metric].buckets, value)
            self._latest[metric, labels, bucket] = Example(queue_id, value)

    def of(self, metric: str, labels: Labels, bucket: int = 0) -> Example | None:
        """Return the latest message of a series or bucket, or None."""
        return self._latest.get((metric, labels, bucket))

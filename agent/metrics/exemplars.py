"""The latest queue ID of each series: OpenMetrics shows it, so that a graph leads to the log line of a mail.

One exemplar a series or bucket, kept in memory only. Bounded as the series are; a queue ID is short (Postfix prints at
most 20 characters), and what is longer is no queue ID and is not kept.
"""

from bisect import bisect_left
from typing import NamedTuple

from postward.agent.metrics.catalog import BY_NAME
from postward.agent.parts import Labels

_LONGEST = 32


class Example(NamedTuple):
    """A mail that stands for a series."""

    queue_id: str
    value: float


class Exemplars:
    """Metric, labels and (for a histogram) bucket → the latest mail counted there."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, Labels, int], Example] = {}

    def note(self, metric: str, labels: Labels, queue_id: str) -> None:
        """A mail was counted."""
        if len(queue_id) <= _LONGEST:
            self._latest[metric, labels, 0] = Example(queue_id, 1.0)

    def note_observation(self, metric: str, labels: Labels, queue_id: str, value: float) -> None:
        """A mail was observed in a histogram."""
        if len(queue_id) <= _LONGEST:
            bucket = bisect_left(BY_NAME[metric].buckets, value)
            self._latest[metric, labels, bucket] = Example(queue_id, value)

    def of(self, metric: str, labels: Labels, bucket: int = 0) -> Example | None:
        """The latest mail there."""
        return self._latest.get((metric, labels, bucket))

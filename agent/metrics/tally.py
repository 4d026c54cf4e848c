"""The tally: all counts as plain data, saved together with the log position and rendered by the collector.

Promise: `merge` is associative and commutative, and `from_json(as_json())` returns an equal tally. The table of metrics
defines the names; the caller defines the label values. No function here reads a clock.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, Final

from postward.agent.metrics.catalog import STORED, STORED_BY_NAME, Metric
from postward.agent.parts import Labels
from postward.agent.stored import Form

Counts = dict[Labels, float]
# One row for each series: a count for each bucket, the count above the last bound, and the sum.
Histogram = dict[Labels, list[float]]

_Saved = dict[str, dict[str, list[tuple[Labels, int | float | list[int | float]]]]]
_FORM: Form[_Saved] = Form(_Saved)
_KINDS: Final = {"counter": "counters", "gauge": "times", "histogram": "histograms"}


class Tally:
    """Counters, times (gauges that keep the latest moment) and histograms, by metric name and labels."""

    def __init__(self) -> None:
        self.counters: dict[str, Counts] = {metric.name: {} for metric in STORED if metric.kind == "counter"}
        self.times: dict[str, Counts] = {}
        self.histograms: dict[str, Histogram] = {
            metric.name: {} for metric in STORED if metric.kind == "histogram"
        }

    def add(self, metric: str, labels: Labels, amount: float = 1) -> None:
        """Increase a counter. Raises KeyError if the table does not have the metric."""
        counts = self.counters[metric]
        counts[labels] = counts.get(labels, 0) + amount

    def latest(self, metric: str, labels: Labels, moment: float) -> None:
        """Keep the moment, in seconds since the epoch, if it is later than the present one."""
        series = self.times.setdefault(metric, {})
        series[labels] = max(series.get(labels, 0.0), moment)

    def observe(self, metric: str, labels: Labels, value: float, times: int = 1) -> None:
        """Add `times` observations of a value, in the metric's unit, to a histogram."""
        self.observe_all(metric, labels, ((value, times),))

    def observe_all(self, metric: str, labels: Labels, values: Iterable[tuple[float, int]]) -> None:
        """Add values, in the metric's unit, each with the number of its observations, to a histogram."""
        rows, buckets = self.histograms[metric], STORED_BY_NAME[metric].buckets
        row = rows.get(labels)
        if row is None:
            row = rows[labels] = [0.0] * (len(buckets) + 2)
        for value, times in values:
            row[bisect_left(buckets, value)] += times
            row[-1] += value * times

    def merge(self, other: "Tally") -> None:
        """Add another tally: counts and observations are summed, and the later of two times stays."""
        for metric, counts in other.counters.items():
            for labels, amount in counts.items():
                self.add(metric, labels, amount)
        for metric, moments in other.times.items():
            for labels, moment in moments.items():
                self.latest(metric, labels, moment)
        for metric, rows in other.histograms.items():
            mine = self.histograms[metric]
            for labels, row in rows.items():
                mine[labels] = [a + b for a, b in zip(mine.get(labels) or [0.0] * len(row), row, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """Return the tally as data for JSON: for each metric, pairs of labels and value."""
        return {
            kind: {metric: _pairs(series) for metric, series in group.items()}
            for kind, group in self._groups().items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Tally":
        """Return a tally from the data of `as_json`. Metrics that the table no longer has are dropped.

        Raises:
            KeyError, ValueError: the data has another form.
        """
        saved, tally = _FORM.check(data), cls()
        for kind, group in tally._groups().items():
            for name, pairs in saved[kind].items():
                if (metric := STORED_BY_NAME.get(name)) is not None and _KINDS[metric.kind] == kind:
                    width = len(metric.buckets) + 2 if metric.buckets else None
                    group[name] = {_checked(labels, metric): _row(value, width) for labels, value in pairs}
        return tally

    def _groups(self) -> dict[str, dict[str, Any]]:
        return {"counters": self.counters, "times": self.times, "histograms": self.histograms}


def _checked(labels: Labels, metric: Metric) -> Labels:
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name}: must have {len(metric.labels)} labels")
    return labels


def _row(value: float | list[int | float], width: int | None) -> Any:
    if (len(value) if isinstance(value, list) else None) != width:
        raise ValueError("a histogram must have one count for each bucket, and a counter one number")
    return value


def _pairs(series: Mapping[Labels, Any]) -> list[list[Any]]:
    return [[list(labels), value] for labels, value in series.items()]

"""The table of metrics and the current values → Prometheus families. One custom collector renders everything.

Built anew at each scrape: nothing is kept between two, so that concurrent scrapes get the same answer.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.registry import Collector

from agent.metrics import METRICS, Metric
from agent.tally import Histogram, Labels, Tally

# Gauges that are read when they are asked for: metric name → values by labels.
Gauges = Mapping[str, Mapping[Labels, float]]


class PostwardCollector(Collector):
    """Renders the tally and the gauges of the moment.

    Args:
        tally: what was counted.
        gauges: called at each scrape.
    """

    def __init__(self, tally: Tally, gauges: Callable[[], Gauges]) -> None:
        self._tally = tally
        self._gauges = gauges

    def collect(self) -> Iterable[Family]:
        """All families of the table, in its order."""
        gauges = self._gauges()
        for metric in METRICS:
            yield self._family(metric, gauges)

    def _family(self, metric: Metric, gauges: Gauges) -> Family:
        if metric.kind == "histogram":
            return _histogram(metric, self._tally.histograms[metric.name])
        if metric.kind == "counter":
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in _merged(self._tally.counters[metric.name], gauges.get(metric.name)):
                counter.add_metric(labels, value)
            return counter
        gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in _merged(self._tally.times.get(metric.name), gauges.get(metric.name)):
            gauge.add_metric(labels, value)
        return gauge


def _merged(*groups: Mapping[Labels, float] | None) -> list[tuple[Labels, float]]:
    return [item for group in groups if group for item in group.items()]


def _histogram(metric: Metric, rows: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*map(str, metric.buckets), "+Inf"]
    for labels, (*counts, total) in rows.items():
        family.add_metric(labels, buckets=list(zip(bounds, accumulate(counts), strict=True)), sum_value=total)
    return family

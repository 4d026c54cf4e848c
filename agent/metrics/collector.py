"""The Prometheus collector: renders all metrics of the table with their current values.

Each scrape builds all families. Nothing is kept between scrapes, so concurrent scrapes get the same answer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from prometheus_client.samples import Exemplar

from postward.agent.metrics.catalog import METRICS, Metric
from postward.agent.metrics.exemplars import Example, Exemplars
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Labels

# postfix_instance names what the log names, which can be a service of an instance, as in "postfix/submission".
MULTI_INSTANCE = "multi_instance"


class PostwardCollector(Collector):
    """Renders the tally and the current gauges.

    Args:
        tally: the counts.
        gauges: returns the gauges; called at each scrape.
        exemplars: example messages of series, shown in the OpenMetrics format.
        label: a further label of all metrics, and its value; None adds none.
    """

    def __init__(
        self,
        tally: Tally,
        gauges: Callable[[], Gauges],
        exemplars: Exemplars | None = None,
        label: tuple[str, str] | None = None,
    ) -> None:
        self._tally = tally
        self._gauges = gauges
        self._exemplars = exemplars or Exemplars()
        self._label: Labels = label[:1] if label else ()
        self._value: Labels = label[1:] if label else ()

    def collect(self) -> Iterable[Family]:
        """Yield all families of the table, in its order."""
        gauges = self._gauges()
        for metric in METRICS:
            yield self._family(metric, gauges)

    def _family(self, metric: Metric, gauges: Gauges) -> Family:
        if metric.kind == "histogram":
            return self._histogram(metric)
        if metric.kind == "counter":
            counter = CounterMetricFamily(metric.name, metric.help, labels=self._label + metric.labels)
            for labels, value in _merged(self._tally.counters[metric.name], gauges.get(metric.name)):
                exemplar = _exemplar(self._exemplars.of(metric.name, labels))
                counter.add_metric(self._value + labels, value, exemplar=exemplar)
            return counter
        gauge = GaugeMetricFamily(metric.name, metric.help, labels=self._label + metric.labels)
        for labels, value in _merged(self._tally.times.get(metric.name), gauges.get(metric.name)):
            gauge.add_metric(self._value + labels, value)
        return gauge

    def _histogram(self, metric: Metric) -> HistogramMetricFamily:
        family = HistogramMetricFamily(metric.name, metric.help, labels=self._label + metric.labels)
        bounds = [*map(str, metric.buckets), "+Inf"]
        for labels, (*counts, total) in self._tally.histograms[metric.name].items():
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            for index, (bound, count) in enumerate(zip(bounds, accumulate(counts), strict=True)):
                exemplar = _exemplar(self._exemplars.of(metric.name, labels, index))
                buckets.append((bound, count, exemplar) if exemplar else (bound, count))
            family.add_metric(self._value + labels, buckets=buckets, sum_value=total)
        return family


class JoinedCollector(Collector):
    """Renders the metrics of several instances and hosts, each family once.

    Args:
        collectors: returns the collector of each of them, at least one; called at each scrape.
    """

    def __init__(self, collectors: Callable[[], Sequence[PostwardCollector]]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterable[Family]:
        """Yield all families of the table, in its order."""
        for family, *others in zip(*(one.collect() for one in self._collectors()), strict=True):
            for other in others:
                family.samples.extend(other.samples)
            yield family


def _exemplar(example: Example | None) -> Exemplar | None:
    return None if example is None else Exemplar({"queue_id": example.queue_id}, example.value)


def _merged(*groups: Mapping[Labels, float] | None) -> list[tuple[Labels, float]]:
    return [item for group in groups if group for item in group.items()]

"""The metric names of prometheus-postfix-exporter, computed from our counts, so that its dashboards keep working.

Off by default (`web.legacy_metrics`). Each name has the meaning of its help text in that exporter, without two known
bugs: the `stage` label of the delay is filled, and a message's size counts once, not at each retry. Deliveries of all
delivery agents are counted under `smtp`. Names that our metrics cannot give have counts of their own
(`legacy_counts.py`).

Omitted are labels that would create series without limit (cipher), what OpenDKIM writes into the log, and a metric that
the exporter declared but never counted. `postfix_up` has our meaning: 1 if master(8) is running.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from postward.agent.metrics.catalog import BY_NAME, LEGACY, Metric
from postward.agent.metrics.queue import AGE_BUCKETS, SIZE_BUCKETS, QueueCounts, histograms
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Labels


class LegacyMetric(NamedTuple):
    """A counter or histogram of the exporter.

    Attributes:
        name: its name.
        help_text: its help text.
        source: our metric with the same counts.
        labels: our label → the exporter's label. Counts are summed over all other labels.
        only: our label → its only value that counts.
    """

    name: str
    help_text: str
    source: str
    labels: Mapping[str, str] = MappingProxyType({})
    only: Mapping[str, str] = MappingProxyType({})


COUNTERS: Final = (
    LegacyMetric(
        name="postfix_cleanup_messages_processed_total",
        help_text="Messages processed by cleanup.",
        source="postfix_messages_received_total",
    ),
    LegacyMetric(
        name="postfix_cleanup_messages_rejected_total",
        help_text="Messages rejected by cleanup.",
        source="postfix_messages_refused_total",
    ),
    LegacyMetric(
        name="postfix_qmgr_messages_removed_total",
        help_text="Messages removed from the queue.",
        source="postfix_messages_removed_total",
    ),
    LegacyMetric(
        name="postfix_qmgr_messages_expired_total",
        help_text="Messages expired.",
        source="postfix_messages_expired_total",
    ),
    LegacyMetric(
        name="postfix_smtp_messages_processed_total",
        help_text="Deliveries by status.",
        source="postfix_deliveries_total",
        labels={"status": "status"},
    ),
    LegacyMetric(
        # The exporter declares it, and never counts.
        name="postfix_smtp_deferred_messages_total",
        help_text="Deliveries that were deferred.",
        source="postfix_deliveries_total",
        only={"status": "deferred"},
    ),
    LegacyMetric(
        name="postfix_smtp_tls_connections_total",
        help_text="Outgoing TLS connections.",
        source="postfix_tls_connections_total",
        labels={"protocol": "protocol", "trust": "trust"},
    ),
    LegacyMetric(
        name="postfix_smtp_connection_timed_out_total",
        help_text="Connections that timed out.",
        source="postfix_connection_failures_total",
        only={"cause": "timeout"},
    ),
    LegacyMetric(
        name="postfix_smtpd_connects_total",
        help_text="Connections of clients.",
        source="postfix_smtpd_connections_total",
    ),
    LegacyMetric(
        name="postfix_smtpd_connections_lost_total",
        help_text="Connections of clients that were lost.",
        source="postfix_smtpd_lost_connections_total",
        labels={"after": "after_stage"},
    ),
    LegacyMetric(
        name="postfix_smtpd_messages_rejected_total",
        help_text="Commands of clients that were refused.",
        source="postfix_smtpd_verdicts_total",
        labels={"reply": "code"},
    ),
    LegacyMetric(
        name="postfix_smtpd_sasl_authentication_failures_total",
        help_text="Logins of clients that failed.",
        source="postfix_smtpd_sasl_failures_total",
    ),
    LegacyMetric(
        name="postfix_smtpd_tls_connections_total",
        help_text="Incoming TLS connections.",
        source="postfix_smtpd_tls_connections_total",
        labels={"protocol": "protocol", "trust": "trust"},
    ),
    LegacyMetric(
        name="postfix_bounce_non_delivery_notification_total",
        help_text="Non-delivery notifications.",
        source="postfix_notifications_total",
    ),
    LegacyMetric(
        name="postfix_unsupported_log_entries_total",
        help_text="Lines of Postfix that no rule knows.",
        source="postward_log_lines_total",
        only={"outcome": "unrecognised"},
    ),
)
HISTOGRAMS: Final = (
    LegacyMetric(
        name="postfix_smtp_delivery_delay_seconds",
        help_text="Delay by stage.",
        source="postfix_delivery_stage_delay_seconds",
        labels={"delay_stage": "stage"},
    ),
    LegacyMetric(
        name="postfix_qmgr_messages_inserted_size_bytes",
        help_text="Size of messages.",
        source="postfix_message_size_bytes",
    ),
    LegacyMetric(
        name="postfix_qmgr_messages_inserted_recipients",
        help_text="Recipients of messages.",
        source="postfix_message_recipients",
    ),
    LegacyMetric(
        # The exporter's former spelling, which dashboards use.
        name="postfix_qmgr_messages_inserted_receipients",
        help_text="Recipients of messages.",
        source="postfix_message_recipients",
    ),
)


class LegacyCollector(Collector):
    """Renders the tally and the last listing of the queue under the exporter's names.

    Args:
        tally: the counts.
        queue: returns the counts of the last listing, or None.
    """

    def __init__(self, tally: Tally, queue: Callable[[], QueueCounts | None]) -> None:
        self._tally = tally
        self._queue = queue

    def collect(self) -> Iterable[Family]:
        """Yield all families."""
        for metric in COUNTERS:
            if metric.name not in BY_NAME:  # a name that both use has our meaning
                yield self._counter(metric)
        deferred = GaugeMetricFamily("postfix_smtp_status_deferred", "Deliveries that were deferred.")
        deferred.add_metric((), self._sum("postfix_deliveries_total", {}, {"status": "deferred"})[()])
        yield deferred
        for metric in HISTOGRAMS:
            yield self._histogram(metric)
        for own in LEGACY:
            yield self._counted(own)
        counts = self._queue()
        if counts is not None:
            yield from _showq(counts)

    def _counter(self, metric: LegacyMetric) -> Family:
        family = CounterMetricFamily(metric.name, metric.help_text, labels=tuple(metric.labels.values()))
        for values, total in self._sum(metric.source, metric.labels, metric.only).items():
            family.add_metric(values, total)
        return family

    def _counted(self, metric: Metric) -> Family:
        """Render a metric that has counts of its own."""
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, row in self._tally.histograms[metric.name].items():
                histogram.add_metric(labels, *_buckets(metric.buckets, row))
            return histogram
        counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, total in self._tally.counters[metric.name].items():
            counter.add_metric(labels, total)
        return counter

    def _sum(self, source: str, kept: Mapping[str, str], only: Mapping[str, str]) -> dict[Labels, float]:
        """Return our counts, summed over the labels that are not kept; `only` selects values of labels."""
        names = BY_NAME[source].labels
        sums: dict[Labels, float] = {} if kept else {(): 0.0}
        for labels, count in self._tally.counters[source].items():
            row = dict(zip(names, labels, strict=True))
            if all(row[label] == value for label, value in only.items()):
                key = tuple(row[label] for label in kept)
                sums[key] = sums.get(key, 0.0) + count
        return sums

    def _histogram(self, metric: LegacyMetric) -> Family:
        ours = BY_NAME[metric.source]
        sums: dict[Labels, list[float]] = {}
        for labels, row in self._tally.histograms[metric.source].items():
            named = dict(zip(ours.labels, labels, strict=True))
            key = tuple(named[label] for label in metric.labels)
            sums[key] = [a + b for a, b in zip(sums.get(key) or [0.0] * len(row), row, strict=True)]
        family = HistogramMetricFamily(metric.name, metric.help_text, labels=tuple(metric.labels.values()))
        for key, row in sums.items():
            family.add_metric(key, *_buckets(ours.buckets, row))
        return family


def _buckets(bounds: tuple[float, ...], row: list[float]) -> tuple[list[tuple[str, float]], float]:
    *counts, total = row
    return list(zip([*map(str, bounds), "+Inf"], accumulate(counts), strict=True)), total


def _showq(counts: QueueCounts) -> Iterator[Family]:
    """Yield the state of the queue as the exporter does: gauges in the form of histograms, not usable in rate()."""
    tables = histograms(counts)
    for kind, unit, bounds in (("size", "bytes", SIZE_BUCKETS), ("age", "seconds", AGE_BUCKETS)):
        name = f"postfix_showq_message_{kind}_{unit}"
        family = HistogramMetricFamily(name, f"Messages in the queue by {kind}.", labels=("queue",))
        for queue, row in tables[kind].items():
            family.add_metric((queue,), *_buckets(bounds, row))
        yield family
    depth = GaugeMetricFamily("postfix_showq_queue_depth", "Messages in the queue.", labels=("queue",))
    for queue, row in tables["age"].items():
        depth.add_metric((queue,), sum(row[:-1]))
    yield depth

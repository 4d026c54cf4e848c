"""The metric names of prometheus-postfix-exporter, computed from our counts, so that its dashboards keep working.

Off by default (`web.legacy_metrics`). Each name has the meaning of its help text in that exporter, without two known
bugs: the `stage` label of the delay is filled, and a message's size counts once, not at each retry. Deliveries of all
delivery agents are counted under `smtp`.

Omitted are labels that would create series without limit (cipher, sasl_username), and metrics that the exporter
declared but never counted. `postfix_up` has our meaning: 1 if master(8) is running.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from postward.agent.metrics.catalog import BY_NAME
from postward.agent.metrics.queue import AGE_BUCKETS, SIZE_BUCKETS, QueueCounts, histograms
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Labels


class Renamed(NamedTuple):
    """A metric of the exporter that is computed from one of ours.

    Attributes:
        name, help: of the exporter.
        ours: our counter or histogram. It is summed over the labels that are not kept.
        keep: our label → the exporter's label.
        only: our label → the only value that counts.
    """

    name: str
    help: str
    ours: str
    keep: Mapping[str, str] = MappingProxyType({})
    only: Mapping[str, str] = MappingProxyType({})


COUNTERS: Final = (
    Renamed("postfix_cleanup_messages_processed_total", "Messages processed by cleanup.", "postfix_messages_received_total"),
    Renamed("postfix_cleanup_messages_rejected_total", "Messages rejected by cleanup.", "postfix_messages_refused_total"),
    Renamed("postfix_qmgr_messages_removed_total", "Messages removed from the queue.", "postfix_messages_removed_total"),
    Renamed("postfix_qmgr_messages_expired_total", "Messages expired.", "postfix_messages_expired_total"),
    Renamed("postfix_smtp_messages_processed_total", "Deliveries by status.", "postfix_deliveries_total", {"status": "status"}),
    Renamed("postfix_smtp_tls_connections_total", "Outgoing TLS connections.", "postfix_tls_connections_total",
        {"protocol": "protocol", "trust": "trust"}),
    Renamed("postfix_smtp_connection_timed_out_total", "Connections that timed out.", "postfix_connection_failures_total",
        only={"cause": "timeout"}),
    Renamed("postfix_smtpd_connects_total", "Connections of clients.", "postfix_smtpd_connections_total"),
    Renamed("postfix_smtpd_connections_lost_total", "Connections of clients that were lost.",
        "postfix_smtpd_lost_connections_total", {"after": "after_stage"}),
    Renamed("postfix_smtpd_messages_rejected_total", "Commands of clients that were refused.", "postfix_smtpd_verdicts_total",
        {"reply": "code"}),
    Renamed("postfix_smtpd_sasl_authentication_failures_total", "Logins of clients that failed.",
        "postfix_smtpd_sasl_failures_total"),
    Renamed("postfix_smtpd_tls_connections_total", "Incoming TLS connections.", "postfix_smtpd_tls_connections_total",
        {"protocol": "protocol", "trust": "trust"}),
    Renamed("postfix_bounce_non_delivery_notification_total", "Non-delivery notifications.", "postfix_notifications_total"),
)  # fmt: skip
HISTOGRAMS: Final = (
    Renamed("postfix_smtp_delivery_delay_seconds", "Delay by stage.", "postfix_delivery_stage_delay_seconds",
        {"delay_stage": "stage"}),
    Renamed("postfix_qmgr_messages_inserted_size_bytes", "Size of messages.", "postfix_message_size_bytes"),
    # The exporter's spelling, which dashboards use.
    Renamed("postfix_qmgr_messages_inserted_receipients", "Recipients of messages.", "postfix_message_recipients"),
)  # fmt: skip
_DEFERRED: Final = Renamed(
    "postfix_smtp_status_deferred",
    "Deliveries that were deferred.",
    "postfix_deliveries_total",
    only={"status": "deferred"},
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
        for row in COUNTERS:
            if row.name not in BY_NAME:  # a name that both use has our meaning
                yield self._counter(row)
        deferred = GaugeMetricFamily(_DEFERRED.name, _DEFERRED.help)
        deferred.add_metric((), self._sum(_DEFERRED)[()])
        yield deferred
        yield from map(self._histogram, HISTOGRAMS)
        counts = self._queue()
        if counts is not None:
            yield from _showq(counts)

    def _counter(self, row: Renamed) -> Family:
        family = CounterMetricFamily(row.name, row.help, labels=tuple(row.keep.values()))
        for values, total in self._sum(row).items():
            family.add_metric(values, total)
        return family

    def _sum(self, row: Renamed) -> dict[Labels, float]:
        sums: dict[Labels, float] = {} if row.keep else {(): 0.0}
        for labels, count in self._tally.counters[row.ours].items():
            named = dict(zip(BY_NAME[row.ours].labels, labels, strict=True))
            if row.only.items() <= named.items():
                key = tuple(named[label] for label in row.keep)
                sums[key] = sums.get(key, 0.0) + count
        return sums

    def _histogram(self, row: Renamed) -> Family:
        metric = BY_NAME[row.ours]
        sums: dict[Labels, list[float]] = {}
        for labels, counts in self._tally.histograms[row.ours].items():
            named = dict(zip(metric.labels, labels, strict=True))
            key = tuple(named[label] for label in row.keep)
            sums[key] = [a + b for a, b in zip(sums.get(key) or [0.0] * len(counts), counts, strict=True)]
        family = HistogramMetricFamily(row.name, row.help, labels=tuple(row.keep.values()))
        for key, counts in sums.items():
            family.add_metric(key, *_buckets(metric.buckets, counts))
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

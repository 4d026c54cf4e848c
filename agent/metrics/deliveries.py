"""Counts of log lines, deliveries, connections and TLS sessions, by type of event.

Promise: label values are bounded for any log. A line "message repeated N times" counts N times.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from postward.agent.metrics.destinations import OPERATORS, operator_of
from postward.agent.metrics.labels import (
    OWN_SERVICE,
    STAGES,
    STATUSES,
    RelayNames,
    delay_seconds,
    status_of,
    tls_labels,
)
from postward.agent.metrics.tally import Tally
from postward.parsers import OUTCOMES, Cause, Event, Record, cause_of, outcome_of, parse_stamp, relay_host_of
from postward.parsers import events as ev

_MAX_DELAYS = 1 << 14  # distinct values that wait for `settle`
_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))
_MAX_INSTANCES = 32  # a host has a few; a hostile log must not create more


class Counting:
    """Counts lines in a tally.

    Args:
        tally: receives the counts. Every series that the settings imply starts at zero.
        names: the relays of the settings.
        clock: returns the time near which time stamps without a year are read.
    """

    def __init__(self, tally: Tally, names: RelayNames, clock: Callable[[], datetime]) -> None:
        self.tally = tally
        self.names = names
        self._clock = clock
        self._lines = tally.counters["postward_log_lines_total"]
        self._instances = {"postfix": "postfix"}
        self._stamps: dict[tuple[str, tuple[str, ...]], dict[tuple[str, str, int], str]] = {}
        self._delays: defaultdict[tuple[str, str | None], Counter[str]] = defaultdict(Counter)
        self._zero()

    def _zero(self) -> None:
        """Create the known series at zero, so that Prometheus sees the first failure as an increase."""
        for outcome in OUTCOMES:
            self.tally.add("postward_log_lines_total", (outcome,), 0)
        for relay in self.names.known:
            for status in STATUSES:
                self.tally.add("postfix_deliveries_total", ("postfix", relay, status), 0)
            for cause in Cause:
                self.tally.add("postfix_delivery_failures_total", ("postfix", relay, cause.value), 0)
        for operator in OPERATORS if self.names.direct else ():
            for status in STATUSES:
                self.tally.add("postfix_direct_deliveries_total", (operator, status), 0)
        for metric in ("postfix_messages_removed_total", "postfix_messages_expired_total"):
            self.tally.add(metric, ("postfix",), 0)

    def count(self, record: Record | None, event: Event | None) -> None:
        """Count one line, as parsed by `parsers.parse`."""
        self._lines[outcome_of(record, event),] += record.repeat if record is not None else 1
        if record is None:
            return
        if record.severity != "info":
            self.tally.add("postfix_daemon_problems_total", (record.daemon, record.severity), record.repeat)
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, record, event)

    def note_last_line(self, record: Record) -> None:
        """Record the time of the newest line."""
        self.note_time("postward_log_last_line_timestamp_seconds", (), record.stamp)

    def note_time(self, metric: str, labels: tuple[str, ...], stamp: str) -> None:
        """Record the time of a line; `settle` adds it to the tally.

        Parsing a time stamp takes longer than parsing a line. So stamps are grouped by form (same month name, offset
        and length), and only the last stamp of each form is parsed. Within a form, text order is time order.
        """
        last = self._stamps.setdefault((metric, labels), {})
        offset = stamp[-6:] if stamp[-6:-5] in {"+", "-"} else ""
        alike = (stamp.translate(_NO_DIGITS), offset, len(stamp))
        if stamp > last.get(alike, ""):
            last[alike] = stamp

    def delays(self, relay: str, stage: str | None, printed: Iterable[str]) -> None:
        """Record delays, which the next `settle` observes.

        Postfix prints delays with two digits, so most values occur often and are observed together.
        """
        column = self._delays[relay, stage]
        column.update(printed)
        if len(column) > _MAX_DELAYS:
            self.settle()

    def settle(self) -> None:
        """Add the recorded delays and times to the tally, after a batch of lines."""
        for (relay, stage), column in self._delays.items():
            for seconds, times in column.items():
                self.delay(relay, stage, seconds, times)
        self._delays.clear()
        for (metric, labels), last in self._stamps.items():
            for stamp in last.values():
                moment = parse_stamp(stamp, self._clock())
                if moment is not None:
                    self.tally.latest(metric, labels, moment.timestamp())
        self._stamps.clear()

    def sent(self, instance: str, relay: str, stamps: Iterable[str], times: int) -> None:
        """Count successful deliveries with their time stamps."""
        self.tally.add("postfix_deliveries_total", (instance, relay, "sent"), times)
        for stamp in stamps:
            self.note_time("postfix_delivery_last_success_timestamp_seconds", (relay,), stamp)

    def failed(
        self, instance: str, relay: str, status: str, stamps: Iterable[str], causes: Mapping[str, int]
    ) -> None:
        """Count failed deliveries; `causes` maps each cause to its number."""
        self.tally.add("postfix_deliveries_total", (instance, relay, status), sum(causes.values()))
        for cause, times in causes.items():
            self.tally.add("postfix_delivery_failures_total", (instance, relay, cause), times)
        for stamp in stamps:
            self.note_time("postfix_delivery_last_failure_timestamp_seconds", (relay,), stamp)

    def direct(self, relay: str, host: str, status: str, causes: Mapping[str, int] | int) -> None:
        """Count deliveries without a relay by the operator of the recipient's server.

        Args:
            relay: the name in the settings; others than those of direct delivery are not counted.
            host: the server, or the recipient's domain.
            status: the label.
            causes: cause → failures, or the number of other deliveries.
        """
        if relay not in self.names.direct:
            return
        operator = operator_of(host)
        counted = causes if isinstance(causes, int) else sum(causes.values())
        self.tally.add("postfix_direct_deliveries_total", (operator, status), counted)
        for cause, times in ({} if isinstance(causes, int) else causes).items():
            self.tally.add("postfix_direct_delivery_failures_total", (operator, cause), times)

    def delay(self, relay: str, stage: str | None, seconds: str, times: int) -> None:
        """Observe a total delay (stage None) or the delay of a stage, as printed; ignore an invalid number."""
        value = delay_seconds(seconds)
        if value is None:
            return
        if stage is None:
            self.tally.observe("postfix_delivery_delay_seconds", (relay,), value, times)
        else:
            self.tally.observe("postfix_delivery_stage_delay_seconds", (relay, stage), value, times)

    def tls_session(self, relay: str, protocol: str, trust: str | None, times: int) -> None:
        """Count TLS sessions with a relay."""
        self.tally.add("postfix_tls_connections_total", (relay, *tls_labels(protocol, trust)), times)

    def instance(self, name: str) -> str:
        """Return the `postfix_instance` label; "other" after the first 32 instances."""
        known = self._instances.get(name)
        if known is None:
            if len(self._instances) >= _MAX_INSTANCES:
                return "other"
            service = self.names.of_service(name)
            bare = name.removesuffix(f"/{OWN_SERVICE}{service}") if service else name
            known = self._instances[name] = bare
        return known


def _delivery(counting: Counting, record: Record, event: ev.Delivery) -> None:
    status = status_of(event.status)
    relay = counting.names.of_delivery(event, record.instance)
    instance = counting.instance(record.instance)
    causes: Mapping[str, int] | int = record.repeat
    if status == "sent":
        counting.sent(instance, relay, (record.stamp,), record.repeat)
    elif status == "other":
        counting.tally.add("postfix_deliveries_total", (instance, relay, status), record.repeat)
    else:
        causes = {(cause_of(event) or Cause.OTHER).value: record.repeat}
        counting.failed(instance, relay, status, (record.stamp,), causes)
    if relay in counting.names.direct:
        server = relay_host_of(event)
        counting.direct(relay, server[0] if server else event.to.rpartition("@")[2], status, causes)
    if status in {"sent", "bounced"}:
        _delays(counting, relay, event, record.repeat)


def _delays(counting: Counting, relay: str, event: ev.Delivery, times: int) -> None:
    """Observe the delays of a final status. Each retry would count the same waiting time again."""
    counting.delay(relay, None, event.delay, times)
    for stage, seconds in zip(STAGES, (event.delays or "").split("/"), strict=False):
        counting.delay(relay, stage, seconds, times)


def _expired(counting: Counting, record: Record, event: ev.Expired) -> None:
    instance = counting.instance(record.instance)
    counting.tally.add("postfix_messages_expired_total", (instance,), record.repeat)
    counting.tally.add("postfix_deliveries_total", (instance, "none", "expired"), record.repeat)


def _connect_failed(counting: Counting, record: Record, event: ev.ConnectFailed) -> None:
    cause = cause_of(event) or Cause.OTHER
    labels = (counting.names.of_peer(event.peer, record.instance), cause.value)
    counting.tally.add("postfix_connection_failures_total", labels, record.repeat)


def _tls_established(counting: Counting, record: Record, event: ev.TlsEstablished) -> None:
    if event.direction == "to":
        relay = counting.names.of_peer(event.peer, record.instance)
        counting.tls_session(relay, event.protocol, event.trust, record.repeat)


def _received(via: str) -> Callable[[Counting, Record, Any], None]:
    def handle(counting: Counting, record: Record, _event: Any) -> None:
        counting.tally.add(
            "postfix_messages_received_total", (counting.instance(record.instance), via), record.repeat
        )

    return handle


def _removed(counting: Counting, record: Record, _event: ev.Removed) -> None:
    counting.tally.add("postfix_messages_removed_total", (counting.instance(record.instance),), record.repeat)


# Event type → the function that counts it, besides the line itself.
_HANDLERS: Mapping[Any, Callable[[Counting, Record, Any], None]] = {
    ev.Delivery: _delivery,
    ev.Expired: _expired,
    ev.ConnectFailed: _connect_failed,
    ev.TlsEstablished: _tls_established,
    ev.PickedUp: _received("sendmail"),
    ev.ClientAccepted: _received("smtp"),
    ev.Notification: _received("notification"),
    ev.Removed: _removed,
}

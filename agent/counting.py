"""Records and events → counts: what is counted for each kind of message.

Promise: labels are bounded whatever the log holds, and a line is counted as often as it says it was repeated.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from agent.relay_names import RelayNames
from agent.tally import Tally
from parsers import Cause, Event, Record, cause_of, parse_stamp
from parsers import events as ev

_STATUS = {"sent": "sent", "deferred": "deferred", "bounced": "bounced", "SOFTBOUNCE": "deferred"}
_STAGES = ("before_queue_manager", "queue_manager", "connection_setup", "transmission")
_PROTOCOLS = frozenset({"SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"})
_MOST_INSTANCES = 32  # a host has a handful; a hostile log must not make more


class Counting:
    """Counts lines into a tally.

    Args:
        tally: where to; every series that the settings make known is there from the start, at zero.
        names: the relays of the settings.
        clock: the time that year-less stamps are near to.
    """

    def __init__(self, tally: Tally, names: RelayNames, clock: Callable[[], datetime]) -> None:
        self.tally = tally
        self.names = names
        self._clock = clock
        self._lines = tally.counters["postward_log_lines_total"]
        self._instances = {"postfix": "postfix"}
        self._zero()

    def _zero(self) -> None:
        """A series that begins with its first failure shows no increase: Prometheus needs the zero before it."""
        for outcome in ("event", "unrecognised", "foreign"):
            self.tally.add("postward_log_lines_total", (outcome,), 0)
        for relay in self.names.known:
            for status in ("sent", "deferred", "bounced"):
                self.tally.add("postfix_deliveries_total", ("postfix", relay, status), 0)
            for cause in Cause:
                self.tally.add("postfix_delivery_failures_total", ("postfix", relay, cause.value), 0)
        for metric in ("postfix_messages_removed_total", "postfix_messages_expired_total"):
            self.tally.add(metric, ("postfix",), 0)

    def count(self, record: Record | None, event: Event | None) -> None:
        """Count one line, as `parsers.parse` gives it."""
        if record is None:
            self._lines[("foreign",)] += 1
            return
        self._lines[("unrecognised",) if event is None else ("event",)] += record.repeat
        if record.severity != "info":
            self.tally.add("postfix_daemon_problems_total", (record.daemon, record.severity), record.repeat)
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, record, event)

    def note_last_line(self, record: Record) -> None:
        """Remember when this, the newest line, was written."""
        self.note_time("postward_log_last_line_timestamp_seconds", (), record)

    def note_time(self, metric: str, labels: tuple[str, ...], record: Record) -> None:
        """Remember the moment of a line, by its own stamp."""
        moment = parse_stamp(record.stamp, self._clock())
        if moment is not None:
            self.tally.latest(metric, labels, moment.timestamp())

    def instance(self, record: Record) -> str:
        """The `postfix_instance` label, bounded."""
        known = self._instances.get(record.instance)
        if known is None:
            if len(self._instances) >= _MOST_INSTANCES:
                return "other"
            known = self._instances[record.instance] = record.instance
        return known


def _delivery(counting: Counting, record: Record, event: ev.Delivery) -> None:
    status = _STATUS.get(event.status, "other")
    relay = counting.names.of_delivery(event)
    instance = counting.instance(record)
    counting.tally.add("postfix_deliveries_total", (instance, relay, status), record.repeat)
    if status == "sent":
        counting.note_time("postfix_delivery_last_success_timestamp_seconds", (relay,), record)
    elif status != "other":
        cause = cause_of(event) or Cause.OTHER
        counting.tally.add("postfix_delivery_failures_total", (instance, relay, cause.value), record.repeat)
        counting.note_time("postfix_delivery_last_failure_timestamp_seconds", (relay,), record)
    if status in {"sent", "bounced"}:
        _delays(counting.tally, relay, event, record.repeat)


def _delays(tally: Tally, relay: str, event: ev.Delivery, times: int) -> None:
    """Only a final status tells how long a mail took: retries would count the same waiting again and again."""
    try:
        delay, stages = (
            float(event.delay),
            [float(seconds) for seconds in (event.delays or "").split("/") if seconds],
        )
    except ValueError:
        return  # a cut or hostile line: the delivery counts, its times are unknown
    tally.observe("postfix_delivery_delay_seconds", (relay,), delay, times)
    for stage, seconds in zip(_STAGES, stages, strict=False):
        tally.observe("postfix_delivery_stage_delay_seconds", (relay, stage), seconds, times)


def _expired(counting: Counting, record: Record, event: ev.Expired) -> None:
    instance = counting.instance(record)
    counting.tally.add("postfix_messages_expired_total", (instance,), record.repeat)
    counting.tally.add("postfix_deliveries_total", (instance, "none", "expired"), record.repeat)


def _connect_failed(counting: Counting, record: Record, event: ev.ConnectFailed) -> None:
    cause = cause_of(event) or Cause.OTHER
    labels = (counting.names.of_peer(event.peer), cause.value)
    counting.tally.add("postfix_connection_failures_total", labels, record.repeat)


def _tls_established(counting: Counting, record: Record, event: ev.TlsEstablished) -> None:
    if event.direction == "to":
        protocol = event.protocol if event.protocol in _PROTOCOLS else "other"
        labels = (counting.names.of_peer(event.peer), protocol, (event.trust or "unknown").lower())
        counting.tally.add("postfix_tls_connections_total", labels, record.repeat)


def _received(via: str) -> Callable[[Counting, Record, Any], None]:
    def handle(counting: Counting, record: Record, _event: Any) -> None:
        counting.tally.add("postfix_messages_received_total", (counting.instance(record), via), record.repeat)

    return handle


def _removed(counting: Counting, record: Record, _event: ev.Removed) -> None:
    counting.tally.add("postfix_messages_removed_total", (counting.instance(record),), record.repeat)


# What is counted for a kind of message, besides the line itself.
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

"""Counts of log lines, deliveries, connections and TLS sessions, by type of event.

Promise: label values are bounded for any log. A line "message repeated N times" counts N times.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from postward.agent.metrics.destinations import OPERATORS, operator_of
from postward.agent.metrics.labels import (
    STATUSES,
    Instances,
    RelayNames,
    by_stage,
    delay_seconds,
    status_of,
    tls_labels,
)
from postward.agent.metrics.tally import Tally
from postward.agent.rows import ByRows, Rows, Take
from postward.parsers import (
    OUTCOMES,
    Cause,
    Event,
    Record,
    cause_of_delivery,
    next_hop,
    outcome_of,
    parse_stamp,
)
from postward.parsers import events as ev
from postward.parsers.cause import system_error_cause
from postward.parsers.kept_back import KEPT_BACK, kept_back_of, may_be_kept_back
from postward.parsers.scan import Block

_MAX_DELAYS = 1 << 14  # distinct values that wait for `settle`
_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))
_WITH_YEAR: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")
_SECOND: Final = 19  # characters before the fraction of the second
_USUAL_STAMP: Final = re.compile(r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}")


class Counting(ByRows):
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
        self.instance = Instances(names)
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
            for kind in KEPT_BACK:
                self.tally.add("postfix_deliveries_kept_back_total", ("postfix", relay, kind), 0)
        for operator in OPERATORS if self.names.direct else ():
            for status in STATUSES:
                self.tally.add("postfix_direct_deliveries_total", (operator, status), 0)
        for metric in ("postfix_messages_removed_total", "postfix_messages_expired_total"):
            self.tally.add(metric, ("postfix",), 0)

    def take_rows(self, block: Block) -> None:
        """Count the lines of the frequent kinds."""
        self._lines["event",] += block.frequent
        super().take_rows(block)

    def take_line(self, record: Record | None, event: Event | None) -> None:
        """Count one line, as parsed by `parsers.parse`."""
        self._lines[outcome_of(record, event),] += record.repeat if record is not None else 1
        if record is None:
            return
        if record.severity != "info":
            self.tally.add("postfix_daemon_problems_total", (record.daemon, record.severity), record.repeat)
        if event is not None:
            self.observe(record, event)

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

    def note_times(self, metric: str, labels: tuple[str, ...], stamps: Collection[str]) -> None:
        """Record the times of lines."""
        last = max(stamps)
        # Text order is time order: stamps without a year, of one month, and those of RFC 3339 in one form and zone.
        is_one_month = _USUAL_STAMP.fullmatch(last) and last[:3] == min(stamps)[:3]
        if is_one_month or (_WITH_YEAR.match(last) and len(set(map(_form, stamps))) == 1):
            stamps = (last,)
        for stamp in set(stamps):
            self.note_time(metric, labels, stamp)

    def delays(self, relay: str, stage: str | None, printed: Iterable[str], times: int = 1) -> None:
        """Record delays, which the next `settle` observes.

        Postfix prints delays with two digits, so most values occur often and are observed together.
        """
        column = self._delays[relay, stage]
        column.update(printed if times == 1 else dict.fromkeys(printed, times))
        if len(column) > _MAX_DELAYS:
            self.settle()

    def settle(self) -> None:
        """Add the recorded delays and times to the tally, after a batch of lines."""
        for (relay, stage), column in self._delays.items():
            known = [
                (value, times) for text, times in column.items() if (value := delay_seconds(text)) is not None
            ]
            if stage is None:
                self.tally.observe_all("postfix_delivery_delay_seconds", (relay,), known)
            else:
                self.tally.observe_all("postfix_delivery_stage_delay_seconds", (relay, stage), known)
        self._delays.clear()
        for (metric, labels), last in self._stamps.items():
            for stamp in last.values():
                moment = parse_stamp(stamp, self._clock())
                if moment is not None:
                    self.tally.latest(metric, labels, moment.timestamp())
        self._stamps.clear()

    def received(self, instance: str, via: str, times: int) -> None:
        """Count arrivals of messages."""
        self.tally.add("postfix_messages_received_total", (self.instance(instance), via), times)


def _form(stamp: str) -> tuple[int, str]:
    """Return the length of a stamp of RFC 3339, and its zone."""
    return len(stamp), stamp[_SECOND:].lstrip(".0123456789")


_first: Final = itemgetter(0)
_REASON: Final = 7  # its place in a row of a delivery


def _deliveries(counting: Counting, rows: Rows, times: int) -> None:
    """Count deliveries by instance, relay and status."""
    for (instance, relay, status), group in _by_path(counting, rows).items():
        counting.tally.add("postfix_deliveries_total", (instance, relay, status), len(group) * times)
        if relay in counting.names.direct:
            _count_direct(counting, status, group, times)
        if status == "other":
            continue
        _, relays, statuses, stamps, codes, delays, stages, reasons, _, _ = zip(*group, strict=True)
        if status == "sent":
            counting.note_times("postfix_delivery_last_success_timestamp_seconds", (relay,), stamps)
            for kind in kept_back_of(reasons) if may_be_kept_back(reasons) else ():
                counting.tally.add("postfix_deliveries_kept_back_total", (instance, relay, kind), times)
        else:
            counting.note_times("postfix_delivery_last_failure_timestamp_seconds", (relay,), stamps)
            for cause, number in Counter(map(cause_of_delivery, statuses, relays, reasons, codes)).items():
                labels = (instance, relay, (cause or Cause.OTHER).value)
                counting.tally.add("postfix_delivery_failures_total", labels, number * times)
        if status != "deferred":  # each retry would count the same waiting time again
            counting.delays(relay, None, delays, times)
            for stage, column in by_stage(stages):
                counting.delays(relay, stage, column, times)


def _by_path(counting: Counting, rows: Rows) -> Mapping[tuple[str, str, str], Rows]:
    """Group deliveries by the labels of instance, relay and status."""
    ways: defaultdict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        ways[row[:3]].append(row)
    groups: defaultdict[tuple[str, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for (name, peer, printed), alike in ways.items():
        instance, status = counting.instance(name), status_of(printed)
        if "[" in peer:
            groups[instance, counting.names.of_peer(peer, name), status] += alike
            continue
        for row in alike:  # the reason names the relay
            groups[instance, counting.names.of(peer, row[_REASON], name), status].append(row)
    return groups


def _count_direct(counting: Counting, status: str, group: Rows, times: int) -> None:
    """Count deliveries without a relay by the operator of the recipient's server, or else of its domain."""
    for _, relay, printed, _, dsn, _, _, reason, to, _ in group:
        server = next_hop(relay, reason)
        operator = operator_of(server[0] if server else to.rpartition("@")[2])
        counting.tally.add("postfix_direct_deliveries_total", (operator, status), times)
        if status not in {"sent", "other"}:
            cause = cause_of_delivery(printed, relay, reason, dsn) or Cause.OTHER
            counting.tally.add("postfix_direct_delivery_failures_total", (operator, cause.value), times)


def _expired(counting: Counting, rows: Rows, times: int) -> None:
    for name, _ in rows:
        instance = counting.instance(name)
        counting.tally.add("postfix_messages_expired_total", (instance,), times)
        counting.tally.add("postfix_deliveries_total", (instance, "none", "expired"), times)


def _connect_failed(counting: Counting, rows: Rows, times: int) -> None:
    for instance, peer, error in rows:
        labels = (counting.names.of_peer(peer, instance), system_error_cause(error).value)
        counting.tally.add("postfix_connection_failures_total", labels, times)


def _tls_sessions(counting: Counting, rows: Rows, times: int) -> None:
    for (instance, direction, peer, protocol, trust), number in Counter(rows).items():
        if direction == "to":
            labels = (counting.names.of_peer(peer, instance), *tls_labels(protocol, trust))
            counting.tally.add("postfix_tls_connections_total", labels, number * times)


def _received(via: str) -> Callable[[Counting, Rows, int], None]:
    def count(counting: Counting, rows: Rows, times: int) -> None:
        for instance, number in Counter(map(_first, rows)).items():
            counting.received(instance, via, number * times)

    return count


def _removed(counting: Counting, rows: Rows, times: int) -> None:
    for instance, number in Counter(map(_first, rows)).items():
        counting.tally.add("postfix_messages_removed_total", (counting.instance(instance),), number * times)


Counting.takes = {
    ev.Delivery: Take(
        ("instance", "relay", "status", "stamp", "dsn", "delay", "delays", "reason", "to", "queue_id"),
        _deliveries,
    ),
    ev.Expired: Take(("instance", "queue_id"), _expired),
    ev.ConnectFailed: Take(("instance", "peer", "error"), _connect_failed),
    ev.TlsEstablished: Take(("instance", "direction", "peer", "protocol", "trust"), _tls_sessions),
    ev.PickedUp: Take(("instance", "queue_id"), _received("sendmail")),
    ev.ClientAccepted: Take(("instance", "queue_id"), _received("smtp")),
    ev.Notification: Take(("instance", "queue_id", "notification_id"), _received("notification")),
    ev.Removed: Take(("instance", "queue_id"), _removed),
}

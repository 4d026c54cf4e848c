"""Lines as rows → the tally of a report.

Every fact is counted from its own line, and facts of two lines of a mail are joined in the tally's sample of mails. So no
count depends on the lines before it, and a block counts exactly as its lines do one by one; a property test holds that.

Times are the log's own clock, as printed. A line whose stamp cannot be read is counted at second 0.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from postward.agent.metrics.labels import (
    STAGES,
    STATUSES,
    RelayNames,
    by_stage,
    delay_seconds,
    status_of,
    tls_labels,
)
from postward.agent.report.clock import LogClock, prefix_of_hour
from postward.agent.report.delays import microseconds
from postward.agent.report.sample import Mails, Recipient, key_of
from postward.agent.report.tally import Domain, ReportTally
from postward.agent.rows import ByRows, Rows, Take
from postward.agent.senders.share import LOCAL
from postward.agent.senders.window import source_of_client
from postward.agent.text import domain_of
from postward.parsers import Cause, Event, Record, cause_of_delivery, outcome_of
from postward.parsers import events as ev
from postward.parsers.scan import Block

DELAYS: Final = ("", *STAGES)  # the whole delay, then its parts
_FORWARDED: Final = "forwarded as "
_MAX_DELAYS: Final = 4096  # remembered
_MAX_ADDRESS: Final = 320  # characters
_MAX_PENDING: Final = 1 << 14  # distinct delays and domains that wait for `settle`


class HostNames(RelayNames):
    """Names of relays: from the settings, else the relay's host in lower case."""

    def of_host(self, host: str, port: int | None) -> str:
        """Return the name of a relay."""
        name = super().of_host(host, port)
        return host.lower() if name == "other" and host else name


class LineCounter(ByRows):
    """Counts lines into a report's tally. Call `settle` before the tally is read.

    Args:
        tally: the counts.
        names: names of the relays.
        reference: time near to stamps without a year: when the file was last written.
    """

    def __init__(self, tally: ReportTally, names: RelayNames, reference: datetime) -> None:
        self.tally = tally
        self.names = names
        self.clock = LogClock(reference)
        self.mails = Mails(tally.mails, addresses=tally.recipients is not None)
        # Added to the tally from time to time: these repeat from block to block.
        self.delays: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)  # (relay, stage)
        self.sent: dict[str, list[int]] = {}  # domain → deliveries, delays, the longest

    def observe_block(self, block: Block) -> None:
        """Count the lines of a block."""
        super().observe_block(block)
        self.mails.settle(self.tally.relay)
        if len(self.sent) > _MAX_PENDING or sum(map(len, self.delays.values())) > _MAX_PENDING:
            self.settle()

    def take_rows(self, block: Block) -> None:
        """Count the lines of the frequent kinds."""
        self.tally.lines["event"] += block.frequent
        super().take_rows(block)

    def take_line(self, record: Record | None, event: Event | None) -> None:
        """Count one line, as `parsers.parse` returns it."""
        self.tally.lines[outcome_of(record, event)] += record.repeat if record is not None else 1
        if record is None:
            return
        if record.severity != "info":
            self._problem(record, event)
        if event is not None:
            self.observe(record, event)

    def settle(self) -> None:
        """Add pending counts to the tally."""
        self.mails.settle(self.tally.relay)
        for (name, stage), column in self.delays.items():
            relay = self.tally.relay(name)
            for printed, times in column.items():
                if (seconds := delay_seconds(printed)) is not None:
                    self.tally.delay(relay, stage, seconds, times)
        for name, (times, total, longest) in self.sent.items():
            self.tally.domain(name, Domain(sent=times, delay=total, longest=longest))
        self.delays.clear()
        self.sent.clear()

    def moments(self, what: str, stamps: Sequence[str], times: int) -> None:
        """Count `what` at the stamps of lines."""
        for alike in _by_hour(stamps):
            first, last = self.clock.second(min(alike)), self.clock.second(max(alike))
            if first and last - first < 3600 - first % 3600:
                self.tally.at(first, what, len(alike) * times)
                self.tally.span(first, last)
                continue
            for second in map(self.clock.second, alike):  # an impossible date, or a leap second
                self.tally.at(second, what, times)
                if second:
                    self.tally.span(second, second)

    def _problem(self, record: Record, event: Event | None) -> None:
        second = self.clock.second(record.stamp)
        kind = type(event).__name__
        self.tally.problem(record.daemon, record.severity, kind, record.repeat, second, record.text)


def _by_hour(stamps: Sequence[str]) -> Iterable[Sequence[str]]:
    """Group stamps by hour: within an hour, the order of text is the order of time."""
    if prefix_of_hour(min(stamps)) == prefix_of_hour(max(stamps)):  # then all between begin with it
        return (stamps,)
    hours: defaultdict[str, list[str]] = defaultdict(list)
    for stamp in stamps:
        hours[prefix_of_hour(stamp)].append(stamp)
    return hours.values()


def _deliveries(counting: LineCounter, rows: Rows, times: int) -> None:
    groups: defaultdict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    name_of = counting.names.of
    for row in rows:
        relay, status, reason = row[:3]
        status = status_of(status)
        if status == "sent" and reason is not None and reason.startswith(_FORWARDED):
            status = "forwarded"
        groups[name_of(relay, reason), status].append(row)
    for (name, status), group in groups.items():
        _count_path(counting, name, status, group, times)


def _count_path(counting: LineCounter, name: str, status: str, rows: Rows, times: int) -> None:
    """Count deliveries to one relay with one status."""
    relays, printed, reasons, stamps, hosts, ids, recipients, codes, delays, stages = zip(*rows, strict=True)
    tally = counting.tally
    counting.moments(status, stamps, times)
    relay = tally.relay(name)
    tally.deliveries[relay, status] += len(rows) * times
    if status in {"sent", "bounced"}:  # each retry would count the same waiting time again
        for stage, column in (("", delays), *by_stage(stages)):
            counting.delays[name, stage].update(column if times == 1 else dict.fromkeys(column, times))
    if status not in STATUSES:
        return
    counting.mails.delivered(status, hosts, ids, times)
    _count_recipients(tally, status, hosts, ids, recipients, times)
    _count_hosts(tally, hosts, status, times)
    if status == "sent":
        _count_sent(counting.sent, recipients, delays, times)
        return
    for domain, number in Counter(map(domain_of, recipients)).items():
        tally.domain(domain, Domain(**{status: number * times}))
    causes = [
        (cause or Cause.OTHER).value for cause in map(cause_of_delivery, printed, relays, reasons, codes)
    ]
    counting.mails.failed(hosts, ids, [(name, cause) for cause in causes])
    hours: defaultdict[tuple[int, str], list[tuple[int, str]]] = defaultdict(list)
    for stamp, cause, reason in zip(stamps, causes, reasons, strict=True):
        second = counting.clock.second(stamp)
        hours[second // 3600, cause].append((second, reason or ""))
    for (_, cause), seen in hours.items():
        first, last = min(seen)[0], max(seen)[0]
        texts = (text for second, text in seen if second == first)
        tally.failed(relay, cause, status, len(seen) * times, first, last, texts)


def _count_recipients(
    tally: ReportTally,
    status: str,
    hosts: Sequence[str],
    ids: Sequence[str],
    recipients: Sequence[str],
    times: int,
) -> None:
    if tally.recipients is None:
        return
    for host, queue_id, address in zip(hosts, ids, recipients, strict=True):
        name = address.lower()[:_MAX_ADDRESS]
        tally.recipients.add(key_of(host, f"{queue_id} {name}"), Recipient(name, **{status: times}))


def _count_hosts(tally: ReportTally, hosts: Iterable[str], what: str, times: int) -> None:
    for host, number in Counter(hosts).items():
        tally.host(host, what, number * times)


def _count_sent(
    pending: dict[str, list[int]], recipients: Iterable[str], delays: Iterable[str], times: int
) -> None:
    for recipient, printed in zip(recipients, delays, strict=True):
        delay = _microseconds(printed)
        row = pending.setdefault(domain_of(recipient), [0, 0, 0])
        row[0] += times
        row[1] += delay * times
        if delay > row[2]:
            row[2] = delay


@lru_cache(_MAX_DELAYS)
def _microseconds(printed: str) -> int:
    return microseconds(delay_seconds(printed) or 0.0)


def _picked_up(counting: LineCounter, rows: Rows, times: int) -> None:
    stamps, hosts, ids, uids, origins = zip(*rows, strict=True)
    # A mail that was requeued, or that a content filter handed back, was submitted under another queue ID.
    sources = [
        "" if origin else f"{LOCAL}{uid} {host}"
        for host, uid, origin in zip(hosts, uids, origins, strict=True)
    ]
    _received(counting, "received_sendmail", stamps, hosts, ids, sources, times)


def _accepted(counting: LineCounter, rows: Rows, times: int) -> None:
    stamps, hosts, ids, clients, logins, origins = zip(*rows, strict=True)
    sources = [
        "" if origin else source_of_client(client, login)[:_MAX_ADDRESS]
        for client, login, origin in zip(clients, logins, origins, strict=True)
    ]
    counting.tally.totals["received_login"] += (len(rows) - logins.count(None)) * times
    _received(counting, "received_smtp", stamps, hosts, ids, sources, times)


def _received(
    counting: LineCounter,
    via: str,
    stamps: Sequence[str],
    hosts: Sequence[str],
    ids: Sequence[str],
    sources: Sequence[str],
    times: int,
) -> None:
    counting.moments("received", stamps, times)
    counting.tally.totals[via] += len(stamps) * times
    counting.mails.arrived(hosts, ids, sources)
    _count_hosts(counting.tally, hosts, "received", times)


def _queue_active(counting: LineCounter, rows: Rows, _times: int) -> None:
    counting.mails.active(rows)


def _counted(what: str) -> Take:
    def count(counting: LineCounter, rows: Rows, times: int) -> None:
        counting.tally.totals[what] += len(rows) * times

    return Take((), count)


# smtpd/smtpd_check.c, cleanup/cleanup_milter.c, cleanup/cleanup_message.c: verdicts on arriving mail.
_VERDICTS: Final[Mapping[str, str]] = {
    "reject": "rejected",
    "milter-reject": "rejected",
    "proxy-reject": "rejected",
    "reject_warning": "reject_warnings",
    "warning": "reject_warnings",
    "warn": "reject_warnings",
    "hold": "held",
    "milter-hold": "held",
    "discard": "discarded",
    "milter-discard": "discarded",
}


def _verdict(counting: LineCounter, rows: Rows, times: int) -> None:
    for action, stamp in rows:
        if (what := _VERDICTS.get(action)) is not None:
            counting.moments(what, (stamp,), times)


def _tls_sessions(counting: LineCounter, rows: Rows, times: int) -> None:
    tally = counting.tally
    for (direction, peer, protocol, trust), number in Counter(rows).items():
        if direction == "to":
            relay = tally.relay(counting.names.of_peer(peer))
            tally.tls[relay, *tls_labels(protocol, trust)] += number * times


LineCounter.takes = {
    ev.Delivery: Take(
        ("relay", "status", "reason", "stamp", "host", "queue_id", "to", "dsn", "delay", "delays"),
        _deliveries,
    ),
    ev.ClientAccepted: Take(
        ("stamp", "host", "queue_id", "client", "sasl_username", "orig_queue_id"), _accepted
    ),
    ev.PickedUp: Take(("stamp", "host", "queue_id", "uid", "orig_id"), _picked_up),
    ev.QueueActive: Take(("host", "queue_id", "size", "from_", "nrcpt"), _queue_active),
    ev.Notification: _counted("notifications"),
    ev.Removed: _counted("removed"),
    ev.Expired: _counted("expired"),
    ev.ClientVerdict: Take(("action", "stamp"), _verdict),
    ev.ContentAction: Take(("action", "stamp"), _verdict),
    ev.TlsEstablished: Take(("direction", "peer", "protocol", "trust"), _tls_sessions),
}

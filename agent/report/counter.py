"""Records and events → the tally of a report.

This is the definition of what each line counts for; `fast_path.py` counts frequent lines alike, a block at a time. Every fact
is counted from its own line, and facts of two lines of a mail are joined in the tally's sample of mails. So no count depends
on the lines before it.

Times are the log's own clock, as printed. A line whose stamp cannot be read is counted at second 0.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from postward.agent.metrics.labels import STAGES, STATUSES, RelayNames, delay_seconds, status_of, tls_labels
from postward.agent.report.delays import microseconds
from postward.agent.report.sample import Mail, key_of
from postward.agent.report.tally import Domain, ReportTally
from postward.parsers import Cause, Event, Record, cause_of, outcome_of, parse_stamp
from postward.parsers import events as ev

DELAYS: Final = ("", *STAGES)  # the whole delay, then its parts
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 -- the log's own clock
_FORWARDED: Final = "forwarded as "
_MAX_HOURS: Final = 4096  # remembered


class HostNames(RelayNames):
    """Names of relays: from the settings, else the relay's host in lower case."""

    def of_host(self, host: str, port: int | None) -> str:
        """Return the name of a relay."""
        name = super().of_host(host, port)
        return host.lower() if name == "other" and host else name


class LogClock:
    """Converts stamps to seconds since 1970 by the log's own clock.

    Args:
        reference: time near to stamps without a year.
    """

    def __init__(self, reference: datetime) -> None:
        self._reference = reference
        self._hours: dict[str, int] = {}

    def second(self, stamp: str) -> int:
        """Return the second of a stamp; 0 if it cannot be read."""
        if stamp[4:5] == "-":
            hour, minutes = stamp[:13], stamp[14:19]
        else:
            hour, minutes = stamp[:9], stamp[10:15]
        start = self.hour(hour)
        if start and minutes[2:3] == ":" and minutes[:2].isdecimal() and minutes[3:].isdecimal():
            return start + int(minutes[:2]) * 60 + int(minutes[3:])
        return self._whole(stamp)

    def hour(self, prefix: str) -> int:
        """Return the first second of an hour, given the stamp up to the hour; 0 if it cannot be read."""
        start = self._hours.get(prefix)
        if start is None:
            if len(self._hours) >= _MAX_HOURS:
                self._hours.clear()
            start = self._hours[prefix] = self._whole(f"{prefix}:00:00")
        return start

    def _whole(self, stamp: str) -> int:
        moment = parse_stamp(stamp, self._reference)
        if moment is None:
            return 0
        if stamp.isdecimal():  # the journal's microseconds: no clock was printed
            moment = moment.astimezone(self._reference.tzinfo)
        return max(0, int((moment.replace(tzinfo=None) - _EPOCH).total_seconds()))


class LineCounter:
    """Counts lines into a report's tally.

    Args:
        tally: the counts.
        names: names of the relays.
        reference: time near to stamps without a year: when the file was last written.
    """

    def __init__(self, tally: ReportTally, names: RelayNames, reference: datetime) -> None:
        self.tally = tally
        self.names = names
        self.clock = LogClock(reference)

    def count(self, record: Record | None, event: Event | None) -> None:
        """Count one line, as `parsers.parse` returns it."""
        self.tally.lines[outcome_of(record, event)] += record.repeat if record is not None else 1
        if record is None:
            return
        if record.severity != "info":
            self._problem(record, event)
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, record, event)

    def moment(self, stamp: str, what: str, times: int) -> int:
        """Count `what` at a stamp, and return its second."""
        second = self.clock.second(stamp)
        self.tally.at(second, what, times)
        if second:
            self.tally.span(second, second)
        return second

    def tls_session(self, relay: str, protocol: str, trust: str | None, times: int) -> None:
        """Count TLS sessions with a relay."""
        self.tally.tls[self.tally.relay(relay), *tls_labels(protocol, trust)] += times

    def _problem(self, record: Record, event: Event | None) -> None:
        second = self.clock.second(record.stamp)
        kind = type(event).__name__
        self.tally.problem(record.daemon, record.severity, kind, record.repeat, second, record.text)


def domain_of(address: str) -> str:
    """Return the domain of an address in lower case."""
    if not address:
        return "<>"
    _, at, domain = address.rpartition("@")
    return domain.lower() if at else "(no domain)"


def _delivery(counting: LineCounter, record: Record, event: ev.Delivery) -> None:
    tally = counting.tally
    status = status_of(event.status)
    if status == "sent" and (event.reason or "").startswith(_FORWARDED):
        status = "forwarded"
    second = counting.moment(record.stamp, status, record.repeat)
    relay = tally.relay(counting.names.of_delivery(event))
    tally.deliveries[relay, status] += record.repeat
    if status in {"sent", "bounced"}:
        _delays(tally, relay, event, record.repeat)
    if status in STATUSES:
        failures = frozenset[tuple[str, str]]()
        if status != "sent":
            cause = (cause_of(event) or Cause.OTHER).value
            tally.failed(relay, cause, status, record.repeat, second, second, (event.reason or "",))
            failures = frozenset({(relay, cause)})
        sent, deferred, bounced = (record.repeat * (status == name) for name in STATUSES)
        mail = Mail(sent=sent, deferred=deferred, bounced=bounced, failures=failures)
        tally.mail(key_of(record.host, event.queue_id), mail)
        delay = microseconds(delay_seconds(event.delay) or 0.0) if sent else 0
        tally.domain(domain_of(event.to), Domain(sent, deferred, bounced, delay * record.repeat, delay))


def _delays(tally: ReportTally, relay: str, event: ev.Delivery, times: int) -> None:
    """Observe the delays of a final status. Retries are left out: they would count the same waiting again."""
    printed = (event.delay, *(event.delays or "").split("/"))
    for stage, text in zip(DELAYS, printed, strict=False):
        seconds = delay_seconds(text)
        if seconds is not None:
            tally.delay(relay, stage, seconds, times)


def _received(via: str) -> Callable[[LineCounter, Record, Any], None]:
    def handle(counting: LineCounter, record: Record, event: Any) -> None:
        counting.moment(record.stamp, "received", record.repeat)
        counting.tally.totals[via] += record.repeat
        counting.tally.mail(key_of(record.host, event.queue_id), Mail(received=True))

    return handle


def _queue_active(counting: LineCounter, record: Record, event: ev.QueueActive) -> None:
    size = int(event.size) if event.size.isascii() and event.size.isdigit() and len(event.size) <= 18 else -1
    counting.tally.mail(key_of(record.host, event.queue_id), Mail(size=size, sender=domain_of(event.from_)))


def _counted(what: str) -> Callable[[LineCounter, Record, Any], None]:
    def handle(counting: LineCounter, record: Record, _event: Any) -> None:
        counting.tally.totals[what] += record.repeat

    return handle


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


def _verdict(counting: LineCounter, record: Record, event: ev.ClientVerdict | ev.ContentAction) -> None:
    what = _VERDICTS.get(event.action)
    if what is not None:
        counting.moment(record.stamp, what, record.repeat)


def _tls_established(counting: LineCounter, record: Record, event: ev.TlsEstablished) -> None:
    if event.direction == "to":
        relay = counting.names.of_peer(event.peer)
        counting.tls_session(relay, event.protocol, event.trust, record.repeat)


_HANDLERS: Final[Mapping[Any, Callable[[LineCounter, Record, Any], None]]] = {
    ev.Delivery: _delivery,
    ev.ClientAccepted: _received("received_smtp"),
    ev.PickedUp: _received("received_sendmail"),
    ev.QueueActive: _queue_active,
    ev.Notification: _counted("notifications"),
    ev.Removed: _counted("removed"),
    ev.Expired: _counted("expired"),
    ev.ClientVerdict: _verdict,
    ev.ContentAction: _verdict,
    ev.TlsEstablished: _tls_established,
}

"""A tally → the report as plain data: the output of `--json`, and the input of text and page.

Promise: the same tally gives the same report, in the same order; ties are ordered by name.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from postward.agent.metrics.labels import STATUSES
from postward.agent.report.counter import DELAYS
from postward.agent.report.incidents import incidents_of
from postward.agent.report.period import Period
from postward.agent.report.sample import Mail, Recipient, Sample
from postward.agent.report.tally import Domain, Occurrences, ReportTally, join_row
from postward.agent.senders.share import CLIENT, LOCAL, LOGIN, Users, masked_source
from postward.agent.text import hour_of_day, moment
from postward.parsers import OUTCOMES

PERCENTS: Final = (50, 90, 95, 99)
PER_HOST: Final = ("received", *STATUSES)
PER_SENDER: Final = ("messages", "recipients", *STATUSES)
PER_RECIPIENT: Final = ("messages", *STATUSES)
PER_TIME: Final = ("received", *STATUSES, "rejected")
_RELAYS_SHOWN_AS: Final = ("hosts", "last two labels", "other")

Report = dict[str, Any]


class Compared(NamedTuple):
    """The counts of the period before."""

    period: Period
    tally: ReportTally


def summarise(
    tally: ReportTally,
    *,
    top: int = 20,
    mask: bool = False,
    period: Period = Period(),  # noqa: B008 -- immutable
    before: Compared | None = None,
    users: Users = lambda _: None,
) -> Report:
    """Return the report.

    Args:
        tally: the counts of the lines.
        top: number of domains of each kind, and of hosts.
        mask: leave out names of hosts and domains, and replies of servers, which can contain them.
        period: the time that the lines were taken from.
        before: the period before, to compare with.
        users: returns the name of a uid, if the log is of this host.
    """
    mails = _Mails(tally)
    report: Report = {
        "period": None if period == Period() else _period(period, tally),
        "span": {"first": moment(tally.first), "last": moment(tally.last)},
        "lines": {outcome: tally.lines[outcome] for outcome in OUTCOMES},
        "totals": _totals(tally, mails),
        "before": None if before is None else _before(before),
        "accuracy": {
            "mails_exact": tally.mails.is_whole,
            "mails_relative_error": tally.mails.error,
            "step_seconds": tally.width,
            "relays": _RELAYS_SHOWN_AS[tally.relay_level],
            "recipient_domains_exact": tally.domains is not None,
            "recipient_addresses_exact": None if tally.recipients is None else tally.recipients.is_whole,
        },
        "incidents": incidents_of(tally),
        "hosts": _hosts(tally, top),
        "relays": _relays(tally),
        "failures": _failures(tally, mails),
        "steps": _steps(tally),
        "hours_of_day": _hours_of_day(tally),
        "recipient_domains": _recipients(tally, top),
        "senders": mails.sources(tally, top, users),
        "sender_domains": mails.senders(top),
        "sender_addresses": mails.addresses(top) if tally.recipients is not None else None,
        "recipient_addresses": _recipient_addresses(tally.recipients, top),
        "tls": [
            {"relay": relay, "protocol": protocol, "trust": trust, "sessions": sessions}
            for (relay, protocol, trust), sessions in sorted(tally.tls.items())
        ],
        "problems": _problems(tally),
    }
    return _masked(report) if mask else report


def _period(period: Period, tally: ReportTally) -> Report:
    return {
        "since": moment(period.since),
        "until": moment(period.until),
        "reaches_back": period.since is None or tally.reaches_back,
    }


def _before(before: Compared) -> Report:
    """Return the totals of the period before; None in their place if the log does not contain its beginning."""
    row = _period(*before)
    return {**row, "totals": _totals(before.tally, _Mails(before.tally)) if row["reaches_back"] else None}


def _hosts(tally: ReportTally, top: int) -> list[Report] | None:
    """Return None if there were too many hosts to count."""
    if tally.hosts is None:
        return None
    rows = sorted(tally.hosts.items(), key=lambda pair: (-pair[1].total(), pair[0]))[:top]
    return [{"host": host, **{what: row[what] for what in PER_HOST}} for host, row in rows]


class _Mails:
    """Numbers from the sample of mails, scaled up if it is not whole."""

    def __init__(self, tally: ReportTally) -> None:
        tally.mails.prune()
        self._sample = tally.mails
        self.deferred = self.bytes_received = self.bytes_delivered = 0
        self.failed: Counter[tuple[str, str]] = Counter()
        self._senders: dict[str, list[int]] = {}
        self._sources: dict[str, list[int]] = {}
        self._addresses: dict[str, list[int]] = {}
        for mail in tally.mails.values():
            self.deferred += bool(mail.deferred)
            self.failed.update(mail.failures)
            if mail.size >= 0:
                self.bytes_delivered += mail.size * mail.sent
                if mail.received:
                    self.bytes_received += mail.size
                    self._learn(mail)
            if mail.source and mail.size >= 0:
                _count_mail(self._sources, mail.source, mail)
                _count_mail(self._addresses, mail.address, mail)

    def _learn(self, mail: Mail) -> None:
        row = self._senders.setdefault(mail.sender, [0, 0, 0, 0])
        for place, number in enumerate((1, mail.size, bool(mail.deferred), bool(mail.bounced))):
            row[place] += number

    def scaled(self, number: int) -> int:
        """Scale a number of the sample up to all mails."""
        return self._sample.scaled(number)

    def senders(self, top: int) -> list[Report]:
        """Return the sender domains with most mails."""
        rows = sorted(self._senders.items(), key=lambda pair: (-pair[1][0], pair[0]))[:top]
        names = ("mails", "bytes", "deferred", "bounced")
        return [
            {"domain": domain, **dict(zip(names, map(self.scaled, row), strict=True))} for domain, row in rows
        ]

    def sources(self, tally: ReportTally, top: int, users: Users) -> list[Report]:
        """Return the sources with most mails. The host of a uid is named if the log is of several."""
        has_hosts = tally.hosts is None or len(tally.hosts) > 1
        rows = []
        for source, numbers in _most(self._sources, top):
            key, _, host = source.partition(" ") if source.startswith(LOCAL) else (source, "", "")
            is_local = key.startswith(LOCAL)
            user = users(key.removeprefix(LOCAL)) if is_local and not has_hosts else None
            rows.append(
                {
                    "source": key if tally.recipients is not None else masked_source(key),
                    "host": host if is_local and has_hosts else None,
                    "user": user,
                    **self._scaled_row(numbers),
                }
            )
        return rows

    def addresses(self, top: int) -> list[Report]:
        """Return the sender addresses with most mails."""
        rows = _most(self._addresses, top)
        return [{"address": address, **self._scaled_row(numbers)} for address, numbers in rows]

    def _scaled_row(self, numbers: list[int]) -> Report:
        return dict(zip(PER_SENDER, map(self.scaled, numbers), strict=True))

    @property
    def sender_domains(self) -> int:
        """The number of sender domains in the sample."""
        return len(self._senders)


def _count_mail(rows: dict[str, list[int]], name: str, mail: Mail) -> None:
    row = rows.setdefault(name, [0] * len(PER_SENDER))
    for place, number in enumerate((1, mail.recipients, mail.sent, mail.deferred, mail.bounced)):
        row[place] += number


def _most(rows: Mapping[str, list[int]], top: int) -> list[tuple[str, list[int]]]:
    return sorted(rows.items(), key=lambda pair: (-pair[1][0], pair[0]))[:top]


def _recipient_addresses(sample: Sample[Recipient] | None, top: int) -> list[Report] | None:
    """Return None if addresses were not counted."""
    if sample is None:
        return None
    sample.prune()
    rows: dict[str, list[int]] = {}
    for address, *numbers in sample.values():
        row = rows.setdefault(address, [0, 0, 0, 0])
        for place, number in enumerate((1, *numbers)):
            row[place] += number
    return [
        {"address": address, **dict(zip(PER_RECIPIENT, map(sample.scaled, row), strict=True))}
        for address, row in _most(rows, top)
    ]


def _totals(tally: ReportTally, mails: _Mails) -> Report:
    by_status: Counter[str] = Counter()
    for (_, status), number in tally.deliveries.items():
        by_status[status] += number
    verdicts: Counter[str] = Counter()
    for (_, what), number in tally.hours.items():
        verdicts[what] += number
    return {
        "received": tally.totals["received_smtp"] + tally.totals["received_sendmail"],
        "received_smtp": tally.totals["received_smtp"],
        "received_sendmail": tally.totals["received_sendmail"],
        "received_login": tally.totals["received_login"],
        "notifications": tally.totals["notifications"],
        "delivered": by_status["sent"],
        "forwarded": by_status["forwarded"],
        "deferrals": by_status["deferred"],
        "deferred_mails": mails.scaled(mails.deferred),
        "bounced": by_status["bounced"],
        "other_status": by_status["other"],
        "expired": tally.totals["expired"],
        "removed": tally.totals["removed"],
        **{what: verdicts[what] for what in ("rejected", "reject_warnings", "held", "discarded")},
        "bytes_received": mails.scaled(mails.bytes_received),
        "bytes_delivered": mails.scaled(mails.bytes_delivered),
        "sender_domains": mails.sender_domains,
        "recipient_domains": None if tally.domains is None else len(tally.domains),
    }


def _relays(tally: ReportTally) -> list[Report]:
    by_relay: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (relay, status), number in tally.deliveries.items():
        by_relay[relay][status] += number
    rows = sorted(by_relay.items(), key=lambda pair: (-pair[1].total(), pair[0]))
    return [
        {
            "relay": relay,
            **{status: counts[status] for status in (*STATUSES, "forwarded", "other")},
            "delays": {stage or "whole": _delays(tally, relay, stage) for stage in DELAYS},
        }
        for relay, counts in rows
    ]


def _delays(tally: ReportTally, relay: str, stage: str) -> Report | None:
    delays = tally.delays.get((relay, stage))
    if delays is None:
        return None
    percentiles = zip(PERCENTS, delays.percentiles(PERCENTS), strict=True)
    return {
        "number": delays.number,
        "mean": delays.mean,
        **{f"p{percent}": value for percent, value in percentiles},
        "max": delays.longest,
    }


def _failures(tally: ReportTally, mails: _Mails) -> list[Report]:
    merged: dict[tuple[str, str, str], Occurrences] = {}
    for (_, relay, cause, status), seen in tally.failures.items():
        join_row(merged, (relay, cause, status), seen)
    rows = sorted(merged.items(), key=lambda pair: (-pair[1].times, pair[0]))
    return [
        {
            "relay": relay,
            "cause": cause,
            "status": status,
            "attempts": seen.times,
            "mails": mails.scaled(mails.failed[relay, cause]),
            "first": moment(seen.first),
            "last": moment(seen.last),
            "example": seen.example[1],
        }
        for (relay, cause, status), seen in rows
    ]


def _steps(tally: ReportTally) -> list[Report]:
    starts = sorted({start for start, _ in tally.hours if start})
    return [
        {"start": moment(start), **{what: tally.hours.get((start, what), 0) for what in PER_TIME}}
        for start in starts
    ]


def _hours_of_day(tally: ReportTally) -> list[Report] | None:
    """Return None if the span is so long that only days were counted."""
    if tally.time_level:
        return None
    rows: list[Counter[str]] = [Counter() for _ in range(24)]
    for (start, what), number in tally.hours.items():
        if start:
            rows[hour_of_day(start)][what] += number
    return [{"hour": hour, **{what: row[what] for what in PER_TIME}} for hour, row in enumerate(rows)]


def _recipients(tally: ReportTally, top: int) -> list[Report] | None:
    """Return None if there were too many domains to count."""
    if tally.domains is None:
        return None

    def order(pair: tuple[str, Domain]) -> tuple[int, str]:
        name, row = pair
        return -(row.sent + row.deferred + row.bounced), name

    return [
        {
            "domain": name,
            "sent": row.sent,
            "deferred": row.deferred,
            "bounced": row.bounced,
            "mean_delay": round(row.delay / row.sent / 1e6, 3) if row.sent else None,
            "max_delay": row.longest / 1e6 if row.sent else None,
        }
        for name, row in sorted(tally.domains.items(), key=order)[:top]
    ]


def _problems(tally: ReportTally) -> list[Report]:
    rows = sorted(tally.problems.items(), key=lambda pair: (-pair[1].times, pair[0]))
    return [
        {
            "daemon": daemon,
            "severity": severity,
            "kind": kind,
            "lines": seen.times,
            "first": moment(seen.first),
            "last": moment(seen.last),
            "example": seen.example[1],
        }
        for (daemon, severity, kind), seen in rows
    ]


def _masked(report: Report) -> Report:
    for kind in ("recipient", "sender"):
        for number, row in enumerate(report[f"{kind}_domains"] or (), start=1):
            row["domain"] = f"{kind} domain {number}"
    names = {}
    for number, row in enumerate(report["hosts"] or (), start=1):
        names[row["host"]] = f"host {number}"
        row["host"] = names[row["host"]]
    for number, row in enumerate(report["senders"], start=1):
        row["host"] = names.get(row["host"], "another host") if row["host"] else None
        if row["source"].startswith(CLIENT):
            row["source"] = f"{CLIENT}{number}"
        elif not row["source"].startswith(LOCAL):
            row["source"] = f"{LOGIN}{number}"
    for part in ("incidents", "failures", "problems"):
        for row in report[part]:
            row["example"] = None
    return report

"""The counts of a report as plain data that merge.

Promises: `merge` is associative and commutative, and the same lines give the same tally however they were cut; a property
test holds both. Memory is bounded by rules that depend on the content alone, not on the cut:

- time: hours, until there are more than 2,048 of them; then days, then months of 32 days, and so on;
- relays: hosts, until there are more than 100; then their last two labels; if those are too many as well, "other".
  Names from the settings stay;
- recipients' domains: all of them, until there are more than 50,000; then none; hosts likewise, up to 5,000;
- mails, and the recipients of mails where addresses are counted: see `sample.py`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeVar

from postward.agent.metrics.labels import NO_RELAYS
from postward.agent.report.delays import Delays
from postward.agent.report.sample import KEPT, Mail, Recipient, Sample, rename_relays
from postward.parsers.scrub import printable, scrub

_WIDTHS: Final = (3600, 86400, 32 * 86400, 1024 * 86400, 1 << 62)  # seconds
_RELAY_LEVELS: Final = 2
_MAX_NAME: Final = 255  # characters
_MAX_EXAMPLE: Final = 300  # characters
# Wide enough to mask every address in a text, not to validate one. A report hides domains as well.
_ADDRESS: Final = re.compile(r"[^\s<>()\[\]\"',;:=]+@[^\s<>()\[\]\"',;:=]+")


class Occurrences(NamedTuple):
    """How often something occurred, when (seconds since 1970 by the log's clock), and an example (second, text).

    Of the texts of the first second, the smallest is the example, so it does not depend on order or cut.
    """

    times: int
    first: int
    last: int
    example: tuple[int, str]

    def joined(self, other: "Occurrences") -> "Occurrences":
        """Return the sum of both."""
        return Occurrences(
            self.times + other.times,
            min(self.first, other.first),
            max(self.last, other.last),
            min(self.example, other.example),
        )


def add_occurrences(
    known: Occurrences | None, times: int, first: int, last: int, texts: Iterable[str]
) -> Occurrences:
    """Return the known occurrences plus new ones.

    Args:
        known: the occurrences so far.
        times: number of new ones.
        first: second of the first new one.
        last: second of the last new one.
        texts: of the first second. Read only if one may become the example: cleaning a text takes longer than
            counting it.
    """
    if known is not None and known.first < first:
        return Occurrences(known.times + times, known.first, max(known.last, last), known.example)
    seen = Occurrences(times, first, last, (first, min(map(example, texts))))
    return seen if known is None else known.joined(seen)


def example(text: str) -> str:
    """Return the text on one printable line, without secrets and addresses."""
    text = printable(_ADDRESS.sub("…@…", scrub(text)))
    return text if len(text) <= _MAX_EXAMPLE else f"{text[:_MAX_EXAMPLE]}…"


class Limits(NamedTuple):
    """How much is counted exactly; the module's docstring says what happens beyond."""

    hours: int = 2048
    relays: int = 100
    domains: int = 50_000
    hosts: int = 5000
    mails: int = KEPT


class Domain(NamedTuple):
    """Deliveries to a domain by status, and delays of sent mail in microseconds."""

    sent: int = 0
    deferred: int = 0
    bounced: int = 0
    delay: int = 0
    longest: int = 0

    def joined(self, other: "Domain") -> "Domain":
        """Return the sum of both."""
        return Domain(
            self.sent + other.sent,
            self.deferred + other.deferred,
            self.bounced + other.bounced,
            self.delay + other.delay,
            max(self.longest, other.longest),
        )


_Key = TypeVar("_Key")
_Row = TypeVar("_Row", Occurrences, Domain)


def join_row(rows: dict[_Key, _Row], key: _Key, row: _Row) -> None:
    """Add a row to the one of its key, if there is one."""
    known = rows.get(key)
    rows[key] = row if known is None else known.joined(row)


class ReportTally:
    """All counts of a report.

    Args:
        known: names of the relays in the settings; they are never shortened.
        limits: how much is counted exactly.
        addresses: count the addresses of senders and recipients too.
    """

    def __init__(
        self, known: Iterable[str] = (), limits: Limits | None = None, *, addresses: bool = False
    ) -> None:
        self.known = frozenset(known)
        self.limits = limits or Limits()
        self.lines: Counter[str] = Counter()  # by outcome
        self.totals: Counter[str] = Counter()
        self.hours: dict[tuple[int, str], int] = {}  # (start, what) → how many
        self.deliveries: Counter[tuple[str, str]] = Counter()  # (relay, status)
        self.failures: dict[tuple[int, str, str, str], Occurrences] = {}  # (start, relay, cause, status)
        self.delays: dict[tuple[str, str], Delays] = {}  # (relay, stage; "" is the whole)
        self.tls: Counter[tuple[str, str, str]] = Counter()  # (relay, protocol, trust)
        self.problems: dict[tuple[str, str, str], Occurrences] = {}  # (daemon, severity, kind)
        self.domains: dict[str, Domain] | None = {}  # None: too many to keep
        self.hosts: dict[str, Counter[str]] | None = {}  # host of the log → what → how many; None: too many
        self.mails = Sample[Mail](self.limits.mails)
        self.recipients = Sample[Recipient](self.limits.mails) if addresses else None
        self.reaches_back = False  # a line before the period was read
        self.first: int | None = None  # seconds since 1970 by the log's clock
        self.last: int | None = None
        self.time_level = 0
        self.relay_level = 0
        self._starts: set[int] = set()
        self.relays: set[str] = set()

    @property
    def width(self) -> int:
        """Length of a time step, in seconds."""
        return _WIDTHS[self.time_level]

    # --- counting

    def relay(self, name: str) -> str:
        """Return the name under which a relay is counted. Use it at once: a later relay can shorten all names."""
        name = self._folded(name[:_MAX_NAME])
        if name not in self.relays:
            self.relays.add(name)
            while len(self.relays) > self.limits.relays and self.relay_level < _RELAY_LEVELS:
                self.fold_relays(self.relay_level + 1)
            name = self._folded(name)
        return name

    def at(self, second: int, what: str, times: int = 1) -> None:
        """Count `what` at a second of the log's clock."""
        key = (self._start(second), what)
        self.hours[key] = self.hours.get(key, 0) + times

    def span(self, first: int, last: int) -> None:
        """Widen the time span of the lines."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def failed(
        self, relay: str, cause: str, status: str, times: int, first: int, last: int, reasons: Iterable[str]
    ) -> None:
        """Count failures of one hour. Arguments as for `add_occurrences`."""
        key = (self._start(first), relay, cause, status)
        self.failures[key] = add_occurrences(self.failures.get(key), times, first, last, reasons)

    def problem(self, daemon: str, severity: str, kind: str, times: int, second: int, text: str) -> None:
        """Count lines of severity warning or worse."""
        key = (daemon, severity, kind)
        self.problems[key] = add_occurrences(self.problems.get(key), times, second, second, (text,))

    def delay(self, relay: str, stage: str, seconds: float, times: int = 1) -> None:
        """Observe a delay of a stage; "" is the whole delay."""
        row = self.delays.get((relay, stage))
        if row is None:
            row = self.delays[relay, stage] = Delays()
        row.observe(seconds, times)

    def domain(self, name: str, row: Domain) -> None:
        """Count deliveries to a domain."""
        if self.domains is None:
            return
        join_row(self.domains, name[:_MAX_NAME], row)
        if len(self.domains) > self.limits.domains:
            self.domains = None

    def host(self, name: str, what: str, times: int) -> None:
        """Count `what` on a host whose log this is."""
        if self.hosts is None:
            return
        name = name[:_MAX_NAME]
        row = self.hosts.get(name)
        if row is None:
            row = self.hosts[name] = Counter()
        row[what] += times
        if len(self.hosts) > self.limits.hosts:
            self.hosts = None

    def mail(self, key: bytes, mail: Mail) -> None:
        """Add facts about a mail to the sample."""
        self.mails.add(key, mail)

    # --- merging

    def merge(self, other: "ReportTally") -> None:
        """Add another tally of the same known names and limits. The other one must not be used afterwards."""
        level = max(self.relay_level, other.relay_level)
        for tally in (self, other):
            if tally.relay_level < level:
                tally.fold_relays(level)
        for name in sorted(other.relays):
            self.relay(name)
        if other.relay_level < self.relay_level:
            other.fold_relays(self.relay_level)
        self._coarsen(other.time_level)
        for (start, what), times in other.hours.items():
            key = (self._start(start), what)
            self.hours[key] = self.hours.get(key, 0) + times
        for (start, relay, cause, status), seen in other.failures.items():
            join_row(self.failures, (self._start(start), relay, cause, status), seen)
        self.lines.update(other.lines)
        self.totals.update(other.totals)
        self.deliveries.update(other.deliveries)
        self.tls.update(other.tls)
        for relay_stage, delays in other.delays.items():
            self.delays.setdefault(relay_stage, Delays()).merge(delays)
        for problem, seen in other.problems.items():
            join_row(self.problems, problem, seen)
        self._merge_domains(other)
        self._merge_hosts(other)
        self.reaches_back |= other.reaches_back
        self.mails.merge(other.mails)
        if self.recipients is not None and other.recipients is not None:
            self.recipients.merge(other.recipients)
        self.first = _of_both(min, self.first, other.first)
        self.last = _of_both(max, self.last, other.last)

    def _merge_domains(self, other: "ReportTally") -> None:
        if other.domains is None:
            self.domains = None
        for name, row in (other.domains or {}).items():
            self.domain(name, row)

    def _merge_hosts(self, other: "ReportTally") -> None:
        if other.hosts is None:
            self.hosts = None
        for name, row in (other.hosts or {}).items():
            for what, times in row.items():
                self.host(name, what, times)

    # --- bounds

    def _start(self, second: int) -> int:
        """Return the start of the time step of a second."""
        start = second - second % self.width
        if start not in self._starts:
            self._starts.add(start)
            while len(self._starts) > self.limits.hours and self.time_level < len(_WIDTHS) - 1:
                self._coarsen(self.time_level + 1)
            start = second - second % self.width
        return start

    def _coarsen(self, level: int) -> None:
        if level <= self.time_level:
            return
        self.time_level = level
        self._starts = {start - start % self.width for start in self._starts}
        hours, failures = self.hours, self.failures
        self.hours, self.failures = {}, {}
        for (start, what), times in hours.items():
            key = (start - start % self.width, what)
            self.hours[key] = self.hours.get(key, 0) + times
        for (start, relay, cause, status), seen in failures.items():
            join_row(self.failures, (start - start % self.width, relay, cause, status), seen)

    def _folded(self, relay: str) -> str:
        if not self.relay_level or relay in NO_RELAYS or relay in self.known:
            return relay
        return self._last_labels(relay) if self.relay_level == 1 else "other"

    def _last_labels(self, relay: str) -> str:
        labels = relay.split(".")
        name = ".".join(labels[-2:])
        return "other" if labels[-1].isdecimal() or name in self.known else name

    def fold_relays(self, level: int) -> None:
        """Shorten the names of relays: level 1 to the last two labels, level 2 to "other"."""
        self.relay_level = level
        rename = {relay: self._folded(relay) for relay in self.relays}
        self.relays = set(rename.values())
        self.deliveries = _recounted(self.deliveries, lambda key: (rename.get(key[0], key[0]), key[1]))
        self.tls = _recounted(self.tls, lambda key: (rename.get(key[0], key[0]), *key[1:]))
        failures, delays = self.failures, self.delays
        self.failures, self.delays = {}, {}
        for (start, relay, cause, status), seen in failures.items():
            join_row(self.failures, (start, rename.get(relay, relay), cause, status), seen)
        for (relay, stage), row in delays.items():
            self.delays.setdefault((rename.get(relay, relay), stage), Delays()).merge(row)
        rename_relays(self.mails, rename)

    # --- plain data

    def as_json(self) -> dict[str, Any]:
        """Return all counts in a fixed order, equal for equal lines."""
        self.mails.prune()
        if self.recipients is not None:
            self.recipients.prune()
        return {
            "lines": sorted((+self.lines).items()),
            "totals": sorted((+self.totals).items()),
            "hours": sorted(self.hours.items()),
            "deliveries": sorted((+self.deliveries).items()),
            "failures": sorted(self.failures.items()),
            "delays": [(key, row.as_json()) for key, row in sorted(self.delays.items())],
            "tls": sorted((+self.tls).items()),
            "problems": sorted(self.problems.items()),
            "domains": None if self.domains is None else sorted(self.domains.items()),
            "hosts": None
            if self.hosts is None
            else sorted((name, sorted(row.items())) for name, row in self.hosts.items()),
            "reaches_back": self.reaches_back,
            "mails": [
                (key.hex(), *mail[:-1], sorted(mail.failures))
                for key, mail in sorted(self.mails.rows.items())
            ],
            "recipients": None
            if self.recipients is None
            else [(key.hex(), *row) for key, row in sorted(self.recipients.rows.items())],
            "levels": (self.time_level, self.relay_level, self.mails.is_whole),
            "span": (self.first, self.last),
        }


def _recounted(counts: Counter[Any], rename: Callable[[Any], Any]) -> Counter[Any]:
    renamed: Counter[Any] = Counter()
    for key, times in counts.items():
        renamed[rename(key)] += times
    return renamed


def _of_both(choose: Callable[[int, int], int], mine: int | None, other: int | None) -> int | None:
    if mine is None or other is None:
        return other if mine is None else mine
    return choose(mine, other)

"""What a report rests on: counts as plain data that merge.

Promises: `merge` is associative and commutative, and the same lines give the same tally however they were cut and
whoever counted the pieces; a property test holds both. Memory is bounded whatever a log holds, by rules that look at the
content alone, so that they do not depend on the cut either:

- time: hours, until there are more than 2,048 of them; then days, then months of 32 days, and so on;
- relays: hosts, until there are more than 100; then their last two labels; if those are too many as well, "other".
  Names of the settings stay;
- recipients' domains: all of them, until there are more than 50,000; then only their number is known to be larger;
- mails: see `sample.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from postward.agent.report.delays import Delays
from postward.agent.report.occurrences import Seen, seen_again
from postward.agent.report.sample import KEPT, Mail, Sample

_WIDTHS: Final = (3600, 86400, 32 * 86400, 1024 * 86400, 1 << 62)  # seconds
_RELAY_LEVELS: Final = 2
_LONGEST_NAME: Final = 255


class Limits(NamedTuple):
    """How much is kept exactly; the module says what happens beyond."""

    hours: int = 2048
    relays: int = 100
    domains: int = 50_000
    mails: int = KEPT


class Domain(NamedTuple):
    """What became of deliveries to a domain; delays of those that were sent, in microseconds."""

    sent: int = 0
    deferred: int = 0
    bounced: int = 0
    delay: int = 0
    longest: int = 0

    def joined(self, other: "Domain") -> "Domain":
        """Both together."""
        return Domain(
            self.sent + other.sent,
            self.deferred + other.deferred,
            self.bounced + other.bounced,
            self.delay + other.delay,
            max(self.longest, other.longest),
        )


class ReportTally:
    """Counts of everything that a report shows.

    Args:
        known: relays of the settings, whose names are never given up.
        limits: how much is kept exactly.
    """

    def __init__(self, known: Iterable[str] = (), limits: Limits | None = None) -> None:
        self.known = frozenset(known)
        self.limits = limits or Limits()
        self.lines: Counter[str] = Counter()  # by outcome
        self.totals: Counter[str] = Counter()
        self.hours: dict[tuple[int, str], int] = {}  # (start, what) → how many
        self.deliveries: Counter[tuple[str, str]] = Counter()  # (relay, status)
        self.failures: dict[tuple[int, str, str, str], Seen] = {}  # (start, relay, cause, status)
        self.delays: dict[tuple[str, str], Delays] = {}  # (relay, stage; "" is the whole)
        self.tls: Counter[tuple[str, str, str]] = Counter()  # (relay, protocol, trust)
        self.problems: dict[tuple[str, str, str], Seen] = {}  # (daemon, severity, kind)
        self.domains: dict[str, Domain] | None = {}  # None: too many
        self.mails = Sample(self.limits.mails)
        self.first: int | None = None  # seconds since 1970 by the log's clock
        self.last: int | None = None
        self.time_level = 0
        self.relay_level = 0
        self._starts: set[int] = set()
        self.relays: set[str] = set()

    @property
    def width(self) -> int:
        """Seconds in a step of time."""
        return _WIDTHS[self.time_level]

    # --- counting

    def relay(self, name: str) -> str:
        """A relay as it is counted now. Call it before the counts that name it, and use the name at once."""
        name = self._folded(name[:_LONGEST_NAME])
        if name not in self.relays:
            self.relays.add(name)
            while len(self.relays) > self.limits.relays and self.relay_level < _RELAY_LEVELS:
                self.fold_relays(self.relay_level + 1)
            name = self._folded(name)
        return name

    def at(self, second: int, what: str, times: int = 1) -> None:
        """Count something at a moment of the log's clock."""
        key = (self._start(second), what)
        self.hours[key] = self.hours.get(key, 0) + times

    def span(self, first: int, last: int) -> None:
        """Widen the span of time that the lines are from."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def failed(
        self, relay: str, cause: str, status: str, times: int, first: int, last: int, reasons: Iterable[str]
    ) -> None:
        """Count failures of one hour; as `seen_again`."""
        key = (self._start(first), relay, cause, status)
        self.failures[key] = seen_again(self.failures.get(key), times, first, last, reasons)

    def problem(self, daemon: str, severity: str, kind: str, times: int, second: int, text: str) -> None:
        """Count lines that are labelled a warning or worse."""
        key = (daemon, severity, kind)
        self.problems[key] = seen_again(self.problems.get(key), times, second, second, (text,))

    def delay(self, relay: str, stage: str, seconds: float, times: int = 1) -> None:
        """Observe a delay of a stage, or the whole ("")."""
        row = self.delays.get((relay, stage))
        if row is None:
            row = self.delays[relay, stage] = Delays()
        row.observe(seconds, times)

    def domain(self, name: str, row: Domain) -> None:
        """Count deliveries to a domain."""
        if self.domains is None:
            return
        name = name[:_LONGEST_NAME]
        known = self.domains.get(name)
        self.domains[name] = row if known is None else known.joined(row)
        if len(self.domains) > self.limits.domains:
            self.domains = None

    def mail(self, key: bytes, mail: Mail) -> None:
        """Learn something of a mail."""
        self.mails.add(key, mail)

    # --- merging

    def merge(self, other: "ReportTally") -> None:
        """Add what another tally counted. It must have the same known names and limits, and is used up by this."""
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
            self._add_failure((self._start(start), relay, cause, status), seen)
        self.lines.update(other.lines)
        self.totals.update(other.totals)
        self.deliveries.update(other.deliveries)
        self.tls.update(other.tls)
        for relay_stage, delays in other.delays.items():
            self._add_delays(relay_stage, delays)
        for problem, seen in other.problems.items():
            known = self.problems.get(problem)
            self.problems[problem] = seen if known is None else known.joined(seen)
        self._merge_domains(other)
        self.mails.merge(other.mails)
        self.first = _of_both(min, self.first, other.first)
        self.last = _of_both(max, self.last, other.last)

    def _merge_domains(self, other: "ReportTally") -> None:
        if other.domains is None:
            self.domains = None
        for name, row in (other.domains or {}).items():
            self.domain(name, row)

    def _add_failure(self, key: tuple[int, str, str, str], seen: Seen) -> None:
        known = self.failures.get(key)
        self.failures[key] = seen if known is None else known.joined(seen)

    def _add_delays(self, key: tuple[str, str], delays: Delays) -> None:
        known = self.delays.get(key)
        if known is None:
            known = self.delays[key] = Delays()
        known.merge(delays)

    # --- bounds

    def _start(self, second: int) -> int:
        """The start of the step that a moment lies in."""
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
            self._add_failure((start - start % self.width, relay, cause, status), seen)

    def _folded(self, relay: str) -> str:
        if not self.relay_level or relay in _KEPT_NAMES or relay in self.known:
            return relay
        return self._last_labels(relay) if self.relay_level == 1 else "other"

    def _last_labels(self, relay: str) -> str:
        labels = relay.split(".")
        name = ".".join(labels[-2:])
        return "other" if labels[-1].isdecimal() or name in self.known else name

    def fold_relays(self, level: int) -> None:
        """Give relays shorter names: 1 for the last two labels, 2 for "other"."""
        self.relay_level = level
        rename = {relay: self._folded(relay) for relay in self.relays}
        self.relays = set(rename.values())
        self.deliveries = _recounted(self.deliveries, lambda key: (rename.get(key[0], key[0]), key[1]))
        self.tls = _recounted(self.tls, lambda key: (rename.get(key[0], key[0]), *key[1:]))
        failures, delays = self.failures, self.delays
        self.failures, self.delays = {}, {}
        for (start, relay, cause, status), seen in failures.items():
            self._add_failure((start, rename.get(relay, relay), cause, status), seen)
        for (relay, stage), row in delays.items():
            self._add_delays((rename.get(relay, relay), stage), row)
        self.mails.replace_failures(rename)

    # --- plain data

    def as_json(self) -> dict[str, Any]:
        """All of it in a fixed order: two tallies of the same lines give the same."""
        self.mails.prune()
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
            "mails": [
                (key.hex(), *mail[:-1], sorted(mail.failures))
                for key, mail in sorted(self.mails.rows.items())
            ],
            "levels": (self.time_level, self.relay_level, self.mails.is_whole),
            "span": (self.first, self.last),
        }


_KEPT_NAMES: Final = frozenset({"none", "local", "other"})


def _recounted(counts: Counter[Any], rename: Callable[[Any], Any]) -> Counter[Any]:
    renamed: Counter[Any] = Counter()
    for key, times in counts.items():
        renamed[rename(key)] += times
    return renamed


def _of_both(choose: Callable[[int, int], int], mine: int | None, other: int | None) -> int | None:
    if mine is None or other is None:
        return other if mine is None else mine
    return choose(mine, other)

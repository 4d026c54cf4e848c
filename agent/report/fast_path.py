"""Count most lines of a log a block at a time: the fast path of a report.

One pattern walks over a block. It skips lines that count as lines only, and returns a match for each line that counts for
more; its groups are collected in columns, which takes half as long as a value for each line. Lines that the pattern does
not match are returned to be parsed.

Promise: a block is counted exactly as if each line were parsed and counted on its own; a property test holds that. So each
part of the pattern is narrower than the rule of its line, never wider.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from postward.agent.metrics.labels import STATUSES, cause_of_failure, delay_seconds
from postward.agent.report.counter import DELAYS, LineCounter
from postward.agent.report.delays import microseconds
from postward.agent.report.sample import Mail, key_of, of_rank, rank
from postward.agent.report.tally import Domain
from postward.parsers.blocks import (
    PLAIN,
    RECEIVED,
    REMOVED,
    TLS_SESSION,
    block_pattern,
    delivery,
    queue_active,
)

_LOCAL: Final = r'[^<>"\[\\ \n@]*+'
_DOMAIN: Final = r'[^<>"\[\\ \n@]++'
_BLOCK: Final = block_pattern(
    PLAIN,
    queue_active(rf"(?:{_LOCAL}@(?P<sender>{_DOMAIN})|)"),
    delivery(rf"{_LOCAL}@(?P<domain>{_DOMAIN})"),
    RECEIVED,
    TLS_SESSION,
)


def _groups(*names: str) -> tuple[int, ...]:
    return tuple(_BLOCK.groupindex[name] for name in names)


_STAMP2, _ACTIVE_ID = _groups("stamp2", "active_id")
_TO: Final = _groups("relay_host", "relay_port", "status")
OUTCOME: Final = _groups(
    "stamp1", "stamp2", "host", "queue_id", "domain", "dsn", "reason", "delay", "a", "b", "c", "d"
)
ARRIVAL: Final = {
    "client": _groups("stamp1", "stamp2", "host", "client"),
    "uid": _groups("stamp1", "stamp2", "host", "uid"),
}
MAIL: Final = _groups("host", "active_id", "size", "sender")
_SESSION: Final = _groups("tls_host", "tls_port", "tls", "trust")


class BlockScan:
    """The matches of a block: for each kind of line, the groups of all its lines in one list."""

    def __init__(self, highest_rank: int) -> None:
        self._highest_rank = highest_rank
        self.notifications = 0
        self.arrivals: dict[str, list[str]] = {"client": [], "uid": []}
        self.active: list[str] = []
        self.deliveries: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        self.sessions: list[tuple[str, ...]] = []

    def walk(self, text: str) -> Iterator[str]:
        """Collect the matches, and yield the lines that the pattern does not match."""
        for match in _BLOCK.finditer(text):
            kind = match.lastgroup
            if kind == "active":
                if rank(match[_ACTIVE_ID]) <= self._highest_rank:
                    self.active.extend(match.group(*MAIL))
            elif kind == "reason":
                self.deliveries[match.group(*_TO)].extend(match.group(*OUTCOME))
            elif kind in ARRIVAL:
                self.arrivals[kind].extend(match.group(*ARRIVAL[kind]))
            elif kind == "tls":
                self.sessions.append(match.group(*_SESSION))
            elif kind == "bounce":
                self.notifications += 1
            elif kind in {"rest", "strange"}:
                start = match.start(_STAMP2)  # the line begins after the plain lines of this match
                yield text[match.start() if start < 0 else start : match.end()]


def columns(flat: list[str], width: int) -> list[list[str]]:
    """Return one list for each group of a kind."""
    return [flat[start::width] for start in range(width)]


_Id = tuple[str, str]  # host, queue ID


class Mails:
    """Facts of a block about each mail that the sample may take, joined so that the sample is updated once a mail."""

    def __init__(self, highest_rank: int, flat: list[str]) -> None:
        self.highest_rank = highest_rank
        self.received: set[_Id] = set()
        self.by_status: dict[str, Counter[_Id]] = {status: Counter() for status in STATUSES}
        self.failures: defaultdict[_Id, set[tuple[str, str]]] = defaultdict(set)
        self.active: dict[_Id, tuple[int, str]] = {}
        for host, queue_id, size, sender in zip(*columns(flat, len(MAIL)), strict=True):
            facts = (int(size), sender.lower() if sender else "<>")
            known = self.active.get((host, queue_id))
            if known is None or known < facts:
                self.active[host, queue_id] = facts

    def settle(self, counting: LineCounter) -> None:
        """Add the facts to the sample of the tally."""
        tally, sample = counting.tally, counting.tally.mails
        active, received, failures = self.active, self.received, self.failures
        sent, deferred, bounced = (counter.get for counter in self.by_status.values())
        for mail in received.union(active, *self.by_status.values()):
            size, sender = active.get(mail, _UNKNOWN)
            failed = failures.get(mail)
            row = (
                size,
                sender,
                mail in received,
                sent(mail, 0),
                deferred(mail, 0),
                bounced(mail, 0),
                frozenset((tally.relay(relay), cause) for relay, cause in failed) if failed else _NEVER,
            )
            sample.add(key_of(*mail), _new(Mail, row))


_UNKNOWN: Final = (-1, "")
_NEVER: Final[frozenset[tuple[str, str]]] = frozenset()
_new: Final = tuple.__new__


_RECEIVED_BY: Final = {"client": "received_smtp", "uid": "received_sendmail"}
_Peer = tuple[str, str]  # host, port
_MAX_PENDING: Final = 1 << 14


class BlockCounter:
    """Counts blocks of lines into a report's tally.

    Args:
        counting: the counter of lines, with its tally.
        count_line: counts a line that the pattern does not match.
    """

    def __init__(self, counting: LineCounter, count_line: Callable[[str], object]) -> None:
        self._counting = counting
        self._count_line = count_line
        # Added to the tally from time to time: these repeat from block to block.
        self._delays: defaultdict[tuple[_Peer, str], Counter[str]] = defaultdict(Counter)
        self._sent: dict[str, list[int]] = {}  # domain → deliveries, delays, the longest

    def feed(self, text: str) -> None:
        """Count the lines of a block."""
        if not text:
            return
        if not text.endswith("\n"):
            text += "\n"
        highest_rank = self._counting.tally.mails.highest_rank
        scan = BlockScan(highest_rank)
        unknown = removed = 0
        for line in scan.walk(text):
            unknown += 1
            removed += line.endswith(REMOVED)
            self._count_line(line[:-1])
        counting = self._counting
        counting.tally.lines["event"] += text.count("\n") - unknown
        counting.tally.totals["removed"] += text.count(REMOVED) - removed
        counting.tally.totals["notifications"] += scan.notifications
        for (host, port, protocol, trust), number in Counter(scan.sessions).items():
            counting.tls_session(counting.names.of_host(host, int(port)), protocol, trust, number)
        mails = Mails(highest_rank, scan.active)
        for kind, flat in scan.arrivals.items():
            _count_arrivals(counting, _RECEIVED_BY[kind], flat, mails)
        for (host, port, status), flat in scan.deliveries.items():
            self._count_deliveries((host, port), status, columns(flat, len(OUTCOME)), mails)
        mails.settle(counting)
        if len(self._sent) > _MAX_PENDING or sum(map(len, self._delays.values())) > _MAX_PENDING:
            self.settle()

    def settle(self) -> None:
        """Add pending counts to the tally."""
        tally = self._counting.tally
        for ((host, port), stage), column in self._delays.items():
            relay = tally.relay(self._counting.names.of_host(host, int(port)))
            for printed, times in column.items():
                seconds = delay_seconds(printed)
                if seconds is not None:
                    tally.delay(relay, stage, seconds, times)
        for name, (times, total, longest) in self._sent.items():
            tally.domain(name.lower(), Domain(sent=times, delay=total, longest=longest))
        self._delays.clear()
        self._sent.clear()

    def _count_deliveries(self, peer: _Peer, status: str, columns: list[list[str]], mails: Mails) -> None:
        stamps1, stamps2, hosts, ids, domains, codes, reasons, *delays = columns
        counting, tally = self._counting, self._counting.tally
        stamps = _of_pair(stamps1, stamps2)
        _count_times(counting, status, stamps)
        relay = tally.relay(counting.names.of_host(peer[0], int(peer[1])))
        tally.deliveries[relay, status] += len(ids)
        mails.by_status[status].update(of_rank(mails.highest_rank, hosts, ids))
        if status != "deferred":
            for stage, column in zip(DELAYS, delays, strict=True):
                self._delays[peer, stage].update(column)
        if status == "sent":
            self._count_sent(domains, delays[0])
            return
        for name, times in Counter(domains).items():
            tally.domain(name.lower(), Domain(**{status: times}))
        causes = list(map(cause_of_failure, reasons, codes))
        for host, queue_id, cause in zip(hosts, ids, causes, strict=True):
            mails.failures[host, queue_id].add((relay, cause))
        _count_failures(counting, relay, status, stamps, causes, reasons)

    def _count_sent(self, domains: Iterable[str], delays: Iterable[str]) -> None:
        rows = self._sent
        for name, printed in zip(domains, delays, strict=True):
            delay = _known_delays.get(printed)
            if delay is None:
                if len(_known_delays) >= _MAX_REMEMBERED:
                    _known_delays.clear()
                delay = _known_delays[printed] = microseconds(delay_seconds(printed) or 0.0)
            row = rows.get(name)
            if row is None:
                rows[name] = [1, delay, delay]
            else:
                row[0] += 1
                row[1] += delay
                if delay > row[2]:
                    row[2] = delay


def _of_pair(first: list[str], second: list[str]) -> list[str]:
    """Return the stamp behind the plain lines of each match, else the one before them."""
    return [after or before for before, after in zip(first, second, strict=True)]


def _hour(stamp: str) -> str:
    return stamp[:13] if stamp[4] == "-" else stamp[:9]


def _by_hour(stamps: list[str]) -> Iterable[list[str]]:
    """Group stamps by hour: within an hour, the order of text is the order of time."""
    if _hour(min(stamps)) == _hour(max(stamps)):  # then all between begin with it
        return (stamps,)
    hours: defaultdict[str, list[str]] = defaultdict(list)
    for stamp in stamps:
        hours[_hour(stamp)].append(stamp)
    return hours.values()


def _count_times(counting: LineCounter, what: str, stamps: list[str]) -> None:
    tally, clock = counting.tally, counting.clock
    for alike in _by_hour(stamps):
        first, last = clock.second(min(alike)), clock.second(max(alike))
        if first and last - first < 3600 - first % 3600:
            tally.at(first, what, len(alike))
            tally.span(first, last)
        else:  # an impossible date, or a leap second
            for stamp in alike:
                counting.moment(stamp, what, 1)


def _count_arrivals(counting: LineCounter, via: str, flat: list[str], mails: Mails) -> None:
    stamps1, stamps2, hosts, ids = columns(flat, len(ARRIVAL["client"]))
    if ids:
        counting.tally.totals[via] += len(ids)
        _count_times(counting, "received", _of_pair(stamps1, stamps2))
        mails.received.update(of_rank(mails.highest_rank, hosts, ids))


def _count_failures(
    counting: LineCounter,
    relay: str,
    status: str,
    stamps: list[str],
    causes: list[str],
    reasons: list[str],
) -> None:
    groups: defaultdict[tuple[int, str], list[tuple[int, str]]] = defaultdict(list)
    for stamp, cause, reason in zip(stamps, causes, reasons, strict=True):
        second = counting.clock.second(stamp)
        groups[second // 3600, cause].append((second, reason))
    for (_, cause), rows in groups.items():
        first, last = min(rows)[0], max(rows)[0]
        reasons_then = (reason.removesuffix(")") for second, reason in rows if second == first)
        counting.tally.failed(relay, cause, status, len(rows), first, last, reasons_then)


_MAX_REMEMBERED: Final = 4096
_known_delays: dict[str, int] = {}

"""The lines of which most of every log consists, counted into a report's tally a block at a time.

As `agent/metrics/fast_path.py` does for the metrics: one pattern walks over a block, passes over lines that count as lines only, and gives
a match for each that counts for more. What the pattern does not know is handed back, to be parsed.

Promise: a block is counted exactly as if each line had been parsed and counted on its own; a property test
holds that. So each part of the pattern is narrower than the rule that it stands for, never wider.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from postward.agent.report.block_scan import ARRIVAL, OUTCOME, Found, columns
from postward.agent.report.counter import STAGES, ReportCounting
from postward.agent.report.delays import microseconds, seconds_of
from postward.agent.report.mails import Mails
from postward.agent.report.sample import of_rank
from postward.agent.report.tally import Domain
from postward.parsers import classify
from postward.parsers.blocks import REMOVED

_RECEIVED_BY: Final = {"client": "received_smtp", "uid": "received_sendmail"}
_Peer = tuple[str, str]  # host, port
_MAX_PENDING: Final = 1 << 14


class Skimmer:
    """Counts blocks of lines into a report's tally.

    Args:
        counting: where to; it also tells what a line counts for.
        count_line: takes the lines that the pattern does not know.
    """

    def __init__(self, counting: ReportCounting, count_line: Callable[[str], object]) -> None:
        self._counting = counting
        self._count_line = count_line
        # What is much the same from block to block is put into the tally now and then.
        self._delays: defaultdict[tuple[_Peer, str], Counter[str]] = defaultdict(Counter)
        self._sent: dict[str, list[int]] = {}  # domain → deliveries, delays, the longest

    def feed(self, text: str) -> None:
        """Count the lines of a block."""
        if not text:
            return
        if not text.endswith("\n"):
            text += "\n"
        highest_rank = self._counting.tally.mails.highest_rank
        found = Found(highest_rank)
        unknown = removed = 0
        for line in found.walk(text):
            unknown += 1
            removed += line.endswith(REMOVED)
            self._count_line(line[:-1])
        counting = self._counting
        counting.tally.lines["event"] += text.count("\n") - unknown
        counting.tally.totals["removed"] += text.count(REMOVED) - removed
        counting.tally.totals["notifications"] += found.notifications
        for (host, port, protocol, trust), number in Counter(found.sessions).items():
            counting.tls_session(counting.names.of_host(host, int(port)), protocol, trust, number)
        mails = Mails(highest_rank, found.active)
        for kind, flat in found.arrivals.items():
            _count_arrivals(counting, _RECEIVED_BY[kind], flat, mails)
        for (host, port, status), flat in found.deliveries.items():
            self._count_deliveries((host, port), status, columns(flat, len(OUTCOME)), mails)
        mails.settle(counting)
        if len(self._sent) > _MAX_PENDING or sum(map(len, self._delays.values())) > _MAX_PENDING:
            self.settle()

    def settle(self) -> None:
        """Bring the tally up to date."""
        tally = self._counting.tally
        for ((host, port), stage), column in self._delays.items():
            relay = tally.relay(self._counting.names.of_host(host, int(port)))
            for printed, times in column.items():
                seconds = seconds_of(printed)
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
            for stage, column in zip(STAGES, delays, strict=True):
                self._delays[peer, stage].update(column)
        if status == "sent":
            self._count_sent(domains, delays[0])
            return
        for name, times in Counter(domains).items():
            tally.domain(name.lower(), Domain(**{status: times}))
        causes = [
            cause_of_failure(reason.removesuffix(")"), code)
            for reason, code in zip(reasons, codes, strict=True)
        ]
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
                delay = _known_delays[printed] = microseconds(seconds_of(printed) or 0.0)
            row = rows.get(name)
            if row is None:
                rows[name] = [1, delay, delay]
            else:
                row[0] += 1
                row[1] += delay
                if delay > row[2]:
                    row[2] = delay


def _of_pair(first: list[str], second: list[str]) -> list[str]:
    """Of a header before and one behind the plain lines, the one behind, if there is one."""
    return [after or before for before, after in zip(first, second, strict=True)]


def _hour(stamp: str) -> str:
    return stamp[:13] if stamp[4] == "-" else stamp[:9]


def _by_hour(stamps: list[str]) -> Iterable[list[str]]:
    """Stamps alike but for minutes, seconds and what follows: of these the text has the order of time."""
    if _hour(min(stamps)) == _hour(max(stamps)):  # what all texts in between begin with, too
        return (stamps,)
    hours: defaultdict[str, list[str]] = defaultdict(list)
    for stamp in stamps:
        hours[_hour(stamp)].append(stamp)
    return hours.values()


def _count_times(counting: ReportCounting, what: str, stamps: list[str]) -> None:
    tally, clock = counting.tally, counting.clock
    for alike in _by_hour(stamps):
        first, last = clock.second(min(alike)), clock.second(max(alike))
        if first and last - first < 3600 - first % 3600:
            tally.at(first, what, len(alike))
            tally.span(first, last)
        else:  # no such day, or a second past the hour's last
            for stamp in alike:
                counting.moment(stamp, what, 1)


def _count_arrivals(counting: ReportCounting, via: str, flat: list[str], mails: Mails) -> None:
    stamps1, stamps2, hosts, ids = columns(flat, len(ARRIVAL["client"]))
    if ids:
        counting.tally.totals[via] += len(ids)
        _count_times(counting, "received", _of_pair(stamps1, stamps2))
        mails.received.update(of_rank(mails.highest_rank, hosts, ids))


def _count_failures(
    counting: ReportCounting,
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
_ADDRESS_OF_PEER: Final = re.compile(r"\[[0-9A-Fa-f.:]++\]")
_causes: dict[tuple[str, str], str] = {}
_known_delays: dict[str, int] = {}


def cause_of_failure(reason: str, dsn: str) -> str:
    """The cause of a failure. Reasons are much the same but for the relay's address, which never decides."""
    alike = (_ADDRESS_OF_PEER.sub("", reason, count=1), dsn)
    cause = _causes.get(alike)
    if cause is None:
        if len(_causes) >= _MAX_REMEMBERED:
            _causes.clear()
        cause = _causes[alike] = classify(reason, dsn).value
    return cause

"""Fast counting of the most frequent log lines: a block at a time, without an event for each line.

One pattern searches a block and matches each line that has counts of its own: a received message, a delivery, a TLS
session. Lines that only count as lines (connections, Message-IDs, the active queue) are skipped within the next match.
A line that the pattern does not know goes back to the caller, which parses it.

Promise: the counts of a block are the same as if each line were parsed and counted; a property test verifies it. So
each part of the pattern is at most as wide as the parser rule that it replaces. It accepts only plain addresses and
instances with Postfix's prefix, and no text that a client or server could choose.

Two exceptions: with more than 32 instances, different ones may be labelled "other". Sums of seconds are added in
another order, so their last digits may differ.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.labels import STAGES, cause_of_failure
from postward.parsers.blocks import (
    PLAIN,
    RECEIVED,
    REMOVED,
    TLS_SESSION,
    block_pattern,
    delivery,
    queue_active,
)

_BLOCK: Final = block_pattern(rf"{PLAIN}|{queue_active()}", delivery(), RECEIVED, TLS_SESSION)


def _groups(*names: str) -> tuple[int, ...]:
    return tuple(_BLOCK.groupindex[name] for name in names)


_INSTANCE, _STAMP2 = _groups("instance", "stamp2")
_TO: Final = _groups("instance", "relay_host", "relay_port", "status")
_OUTCOME: Final = _groups("stamp1", "stamp2", "dsn", "reason", "delay", "a", "b", "c", "d")
_SESSION: Final = _groups("instance", "tls_host", "tls_port", "tls", "trust")

_RECEIVED_BY: Final[Mapping[str | None, str]] = {
    "client": "smtp",
    "uid": "sendmail",
    "bounce": "notification",
}

# (instance, host, port, status) → the values of _OUTCOME of each delivery, in one flat list.
_Deliveries = dict[tuple[str, ...], list[str]]


def skim(text: str, counting: Counting, count_line: Callable[[str], object]) -> None:
    """Count the lines of a block. Call `count_line` for each line that the pattern does not know."""
    if not text.endswith("\n"):
        text += "\n"
    received: Counter[tuple[str, str]] = Counter()
    sessions: Counter[tuple[str, ...]] = Counter()
    deliveries: _Deliveries = defaultdict(list)
    unknown = 0
    instance, start = "", 0  # of the run of known lines of one instance before this match
    for match in _BLOCK.finditer(text):
        kind = match.lastgroup
        if match[_INSTANCE] != instance:
            _count_removed(counting, instance, text, start, match.start())
            instance, start = match[_INSTANCE], match.start()
        if kind == "reason":
            deliveries[match.group(*_TO)].extend(match.group(*_OUTCOME))
        elif kind in _RECEIVED_BY:
            received[instance, _RECEIVED_BY[kind]] += 1
        elif kind == "tls":
            sessions[match.group(*_SESSION)] += 1
        elif kind in {"rest", "strange"}:
            unknown += 1
            behind = match.start(_STAMP2)  # after the skipped lines of this match; -1 if there are none
            line = match.start() if behind < 0 else behind
            _count_removed(counting, instance, text, start, line)
            start = match.end()
            count_line(text[line : start - 1])
    _count_removed(counting, instance, text, start, len(text))
    counting.tally.add("postward_log_lines_total", ("event",), text.count("\n") - unknown)
    for (instance, via), number in received.items():
        counting.tally.add("postfix_messages_received_total", (counting.instance(instance), via), number)
    for (instance, host, port, protocol, trust), number in sessions.items():
        relay = counting.names.of_service(instance) or counting.names.of_host(host, int(port))
        counting.tls_session(relay, protocol, trust, number)
    _count_by_relay(counting, deliveries)


def _count_removed(counting: Counting, instance: str, text: str, start: int, end: int) -> None:
    if number := text.count(REMOVED, start, end):
        counting.tally.add("postfix_messages_removed_total", (counting.instance(instance),), number)


def _count_by_relay(counting: Counting, deliveries: _Deliveries) -> None:
    by_relay: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (instance, host, port, status), flat in deliveries.items():
        relay = counting.names.of_service(instance) or counting.names.of_host(host, int(port))
        by_relay[counting.instance(instance), relay, status] += flat
        if relay in counting.names.direct:
            _, _, codes, reasons, *_ = _columns(flat)
            causes = len(reasons) if status == "sent" else Counter(map(cause_of_failure, reasons, codes))
            counting.direct(relay, host, status, causes)
    for (instance, relay, status), flat in by_relay.items():
        _count_deliveries(counting, instance, relay, status, flat)


def _count_deliveries(counting: Counting, instance: str, relay: str, status: str, flat: list[str]) -> None:
    stamps1, stamps2, codes, reasons, *delays = _columns(flat)
    stamps = _latest({second or first for first, second in zip(stamps1, stamps2, strict=True)})
    if status == "sent":
        counting.sent(instance, relay, stamps, len(reasons))
    else:
        causes = Counter(map(cause_of_failure, reasons, codes))
        counting.failed(instance, relay, status, stamps, causes)
    if status != "deferred":
        for stage, column in zip((None, *STAGES), delays, strict=True):
            counting.delays(relay, stage, column)


def _columns(flat: list[str]) -> Iterator[list[str]]:
    """Yield the columns of _OUTCOME."""
    return (flat[start :: len(_OUTCOME)] for start in range(len(_OUTCOME)))


_USUAL_STAMP: Final = re.compile(r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}")


def _latest(stamps: set[str]) -> set[str]:
    """Return the stamps that may be the last. For stamps without a year, of one month, text order is time order."""
    last = max(stamps)
    months = {stamp[:3] for stamp in stamps}
    return {last} if len(months) == 1 and _USUAL_STAMP.fullmatch(last) else stamps

"""The lines of which most of every log consists, counted a block at a time, without an event for each.

One pattern walks over a block and gives a match for each line that counts for more than a line: received, a delivery,
a TLS session. Lines that only count as lines (connections, Message-IDs, the active queue) are passed over inside the
match of the next. Whatever the pattern does not know is handed back, to be parsed.

Promise: a block is counted exactly as if each line had been parsed and counted on its own; a property test
holds that. So each part of the pattern is narrower than the rule that it stands for, never wider: plain addresses,
instances that begin as Postfix's do, nothing that a stranger could write. Two exceptions: of more than 32 instances
others may be labelled "other", and sums of seconds add up in another order, so their last digits may differ.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from postward.agent.metrics.deliveries import STAGES, Counting
from postward.parsers import classify
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
_SESSION: Final = _groups("tls_host", "tls_port", "tls", "trust")

_RECEIVED_BY: Final[Mapping[str | None, str]] = {
    "client": "smtp",
    "uid": "sendmail",
    "bounce": "notification",
}

# Deliveries to one relay with one status: the values of _OUTCOME of each, one after the other.
_Deliveries = dict[tuple[str, ...], list[str]]


def skim(text: str, counting: Counting, count_line: Callable[[str], object]) -> None:
    """Count the lines of a block. Those that the pattern does not know are handed to `count_line`."""
    if not text.endswith("\n"):
        text += "\n"
    received: Counter[tuple[str, str]] = Counter()
    sessions: Counter[tuple[str, ...]] = Counter()
    deliveries: _Deliveries = defaultdict(list)
    unknown = 0
    instance, start = "", 0  # of the known lines up to this match, as far as they are of one instance
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
            behind = match.start(_STAMP2)  # the plain lines of this match, if there are any
            line = match.start() if behind < 0 else behind
            _count_removed(counting, instance, text, start, line)
            start = match.end()
            count_line(text[line : start - 1])
    _count_removed(counting, instance, text, start, len(text))
    counting.tally.add("postward_log_lines_total", ("event",), text.count("\n") - unknown)
    for (instance, via), number in received.items():
        counting.tally.add("postfix_messages_received_total", (counting.instance(instance), via), number)
    for (host, port, protocol, trust), number in sessions.items():
        counting.tls_session(counting.names.of_host(host, int(port)), protocol, trust, number)
    _count_by_relay(counting, deliveries)


def _count_removed(counting: Counting, instance: str, text: str, start: int, end: int) -> None:
    if number := text.count(REMOVED, start, end):
        counting.tally.add("postfix_messages_removed_total", (counting.instance(instance),), number)


def _count_by_relay(counting: Counting, deliveries: _Deliveries) -> None:
    by_relay: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (instance, host, port, status), flat in deliveries.items():
        relay = counting.names.of_host(host, int(port))
        by_relay[counting.instance(instance), relay, status] += flat
    for (instance, relay, status), flat in by_relay.items():
        _count_deliveries(counting, instance, relay, status, flat)


def _count_deliveries(counting: Counting, instance: str, relay: str, status: str, flat: list[str]) -> None:
    stamps1, stamps2, codes, reasons, *delays = (
        flat[start :: len(_OUTCOME)] for start in range(len(_OUTCOME))
    )
    stamps = _latest({second or first for first, second in zip(stamps1, stamps2, strict=True)})
    if status == "sent":
        counting.sent(instance, relay, stamps, len(reasons))
    else:
        causes = Counter(map(_cause, reasons, codes))
        counting.failed(instance, relay, status, stamps, causes)
    if status != "deferred":
        for stage, column in zip((None, *STAGES), delays, strict=True):
            counting.delays(relay, stage, column)


_USUAL_STAMP: Final = re.compile(r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}")


def _latest(stamps: set[str]) -> set[str]:
    """Those that may be the last. Of year-less stamps of one month the text has the order of time."""
    last = max(stamps)
    months = {stamp[:3] for stamp in stamps}
    return {last} if len(months) == 1 and _USUAL_STAMP.fullmatch(last) else stamps


_ADDRESS_OF_PEER: Final = re.compile(r"\[[0-9A-Fa-f.:]++\]")
_MAX_REASONS: Final = 4096
_causes: dict[tuple[str, str], str] = {}


def _cause(reason: str, dsn: str) -> str:
    """The cause of a failure. Reasons are much the same but for the relay's address, which never decides."""
    reason = reason.removesuffix(")")
    alike = (_ADDRESS_OF_PEER.sub("", reason, count=1), dsn)
    cause = _causes.get(alike)
    if cause is None:
        if len(_causes) >= _MAX_REASONS:
            _causes.clear()
        cause = _causes[alike] = classify(reason, dsn).value
    return cause

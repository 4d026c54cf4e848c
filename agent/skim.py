"""The lines of which most of every log consists, counted a block at a time, without an event for each.

One pattern walks over a block and gives a match for each line that counts for more than a line: received, removed,
a delivery, a TLS session. Lines that only count as lines (connections, Message-IDs, the active queue) are passed over
inside the match of the next. Whatever the pattern does not know is handed back, to be parsed.

Promise: a block is counted exactly as if each line had been parsed and counted on its own; a property test
holds that. So each part of the pattern is narrower than the rule that it stands for, never wider: plain addresses,
instances that begin as Postfix's do, nothing that a stranger could write. Two exceptions: of more than 32 instances
others may be labelled "other", and sums of seconds add up in another order, so their last digits may differ.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from agent.counting import STAGES, Counting
from parsers import classify
from parsers.blocks import ADDRESS, CLIENT, DELAYS, INSTANCE, PID, QUEUE_ID, TLS_SESSION, peer

_STAMP: Final = r"[A-Z][a-z]{2} .{11}|[0-9]{4}-[0-9][^ \n]++"


def _header(number: int) -> str:
    return rf"(?P<stamp{number}>{_STAMP}) [^ \n]++ (?P<instance{number}>{INSTANCE})/"


# Lines that are known events and count for nothing else.
_PLAIN: Final = (
    rf"(?:smtpd{PID}(?:dis)?connect from {CLIENT}(?:(?: [a-z_]++=[0-9/]++)++)?"
    rf"|cleanup{PID}{QUEUE_ID}: message-id=.*"
    rf"|qmgr{PID}{QUEUE_ID}: from=<{ADDRESS}>, size=[0-9]++, nrcpt=[0-9]++ \(queue active\))\n"
)
# Lines that count for more. The last group of each is its name.
_REMOVED: Final = rf"qmgr{PID}{QUEUE_ID}: (?P<removed>removed)\n"
_DELIVERY: Final = (
    rf"smtp{PID}{QUEUE_ID}: to=<{ADDRESS}>(?:, orig_to=<{ADDRESS}>)?, relay={peer('relay')}{DELAYS}"
    r" \((?P<reason>[^\r\n]*+)\n"
)
_RECEIVED: Final = (
    rf"smtpd{PID}{QUEUE_ID}: (?P<client>client)={CLIENT}\n"
    rf"|pickup{PID}{QUEUE_ID}: (?P<uid>uid)=[0-9]++ from=<{ADDRESS}>\n"
    rf"|bounce{PID}{QUEUE_ID}: sender (?P<bounce>non-delivery) notification: [0-9A-Za-z]++\n"
)
_BLOCK: Final = re.compile(
    rf"{_header(1)}(?:{_PLAIN}{_header(2)})*+(?:{_REMOVED}|{_DELIVERY}|{_RECEIVED}|{TLS_SESSION}|{_PLAIN}|(?P<rest>.*)\n)|(?P<strange>.*)\n"
)


def _groups(*names: str) -> tuple[int, ...]:
    return tuple(_BLOCK.groupindex[name] for name in names)


_STAMP1, _STAMP2, _INSTANCE1, _INSTANCE2 = _groups("stamp1", "stamp2", "instance1", "instance2")
_TO: Final = _groups("instance1", "instance2", "relay_host", "relay_port", "status")
_OUTCOME: Final = _groups("stamp1", "stamp2", "dsn", "reason", "delay", "a", "b", "c", "d")
_SESSION: Final = _groups("tls_host", "tls_port", "tls", "trust")
_MESSAGES: Final[Mapping[str | None, tuple[str, tuple[str, ...]]]] = {
    "removed": ("postfix_messages_removed_total", ()),
    "client": ("postfix_messages_received_total", ("smtp",)),
    "uid": ("postfix_messages_received_total", ("sendmail",)),
    "bounce": ("postfix_messages_received_total", ("notification",)),
}

# Deliveries to one relay with one status: the values of _OUTCOME of each, one after the other.
_Deliveries = dict[tuple[str, ...], list[str]]


def skim(text: str, counting: Counting, count_line: Callable[[str], object]) -> None:
    """Count the lines of a block. Those that the pattern does not know are handed to `count_line`."""
    if not text.endswith("\n"):
        text += "\n"
    messages: Counter[tuple[str | None, tuple[str, ...]]] = Counter()
    sessions: Counter[tuple[str, ...]] = Counter()
    deliveries: _Deliveries = defaultdict(list)
    unknown = 0
    for match in _BLOCK.finditer(text):
        kind = match.lastgroup
        if kind in _MESSAGES:
            messages[kind, match.group(_INSTANCE2, _INSTANCE1)] += 1
        elif kind == "reason":
            deliveries[match.group(*_TO)].extend(match.group(*_OUTCOME))
        elif kind == "tls":
            sessions[match.group(*_SESSION)] += 1
        elif kind in {"rest", "strange"}:
            unknown += 1
            start = match.start(_STAMP2)  # behind the plain lines of this match, if there are any
            count_line(text[match.start() if start < 0 else start : match.end() - 1])
    counting.tally.add("postward_log_lines_total", ("event",), text.count("\n") - unknown)
    for (name, (instance2, instance1)), number in messages.items():
        metric, via = _MESSAGES[name]
        counting.tally.add(metric, (counting.instance(instance2 or instance1), *via), number)
    for (host, port, protocol, trust), number in sessions.items():
        counting.tls_session(counting.names.of_host(host, int(port)), protocol, trust, number)
    _count_by_relay(counting, deliveries)


def _count_by_relay(counting: Counting, deliveries: _Deliveries) -> None:
    by_relay: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (instance1, instance2, host, port, status), flat in deliveries.items():
        relay = counting.names.of_host(host, int(port))
        by_relay[counting.instance(instance2 or instance1), relay, status] += flat
    for (instance, relay, status), flat in by_relay.items():
        _count_deliveries(counting, instance, relay, status, flat)


def _count_deliveries(counting: Counting, instance: str, relay: str, status: str, flat: list[str]) -> None:
    stamps1, stamps2, codes, reasons, *delays = (
        flat[start :: len(_OUTCOME)] for start in range(len(_OUTCOME))
    )
    stamps = {second or first for first, second in zip(stamps1, stamps2, strict=True)}
    if status == "sent":
        counting.sent(instance, relay, stamps, len(reasons))
    else:
        causes = Counter(map(_cause, reasons, codes))
        counting.failed(instance, relay, status, stamps, causes)
    if status != "deferred":
        for stage, column in zip((None, *STAGES), delays, strict=True):
            counting.delays(relay, stage, column)


_ADDRESS_OF_PEER: Final = re.compile(r"\[[0-9A-Fa-f.:]++\]")
_MOST_REASONS: Final = 4096
_causes: dict[tuple[str, str], str] = {}


def _cause(reason: str, dsn: str) -> str:
    """The cause of a failure. Reasons are much the same but for the relay's address, which never decides."""
    reason = reason.removesuffix(")")
    alike = (_ADDRESS_OF_PEER.sub("", reason, count=1), dsn)
    cause = _causes.get(alike)
    if cause is None:
        if len(_causes) >= _MOST_REASONS:
            _causes.clear()
        cause = _causes[alike] = classify(reason, dsn).value
    return cause

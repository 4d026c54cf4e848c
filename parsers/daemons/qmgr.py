"""Rules for qmgr(8), oqmgr(8) and nqmgr(8): src/qmgr and src/oqmgr of the Postfix source."""

from typing import Final

from postward.parsers.daemons.delivery import DELIVERY
from postward.parsers.events import (
    Backlog,
    Expired,
    MessageRefused,
    NotificationFailed,
    QueueActive,
    QueueFileCorrupt,
    Removed,
    Skipped,
    Statistics,
    TransportFailed,
    TransportUnavailable,
)
from postward.parsers.grammar import ADDRESS, QUEUE_ID
from postward.parsers.rules import Rule, problem, rule

RULES: Final[tuple[Rule, ...]] = (
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): from=<(?P<from_>{ADDRESS})>, size=(?P<size>[0-9]++),"
        r" nrcpt=(?P<nrcpt>[0-9]++) \(queue active\)",
        QueueActive,
        "global/opened.c",
    ),
    rule(rf"(?P<queue_id>{QUEUE_ID}): removed", Removed, "qmgr/qmgr_active.c"),
    # Before 3.5 the sender is not quoted and may hold a lone quote.
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): from=<(?P<from_>.*)>, size=(?P<size>[0-9]++),"
        r" nrcpt=(?P<nrcpt>[0-9]++) \(queue active\)",
        QueueActive,
        "global/opened.c",
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): from=<(?P<from_>.*)>, status=(?P<status>[\w-]+), returned to sender",
        Expired,
        "qmgr/qmgr_active.c",
    ),
    *DELIVERY,
    rule(rf"(?P<queue_id>{QUEUE_ID}): skipped, still being delivered", Skipped, "qmgr/qmgr_message.c"),
    # Logged only with debugging parameters of qmgr, such as destination_concurrency_feedback_debug.
    rule(
        r"(?P<text>\w+: (?:queue \S+: limit .*|feedback .*|\S+ feedback type .*))",
        Statistics,
        "qmgr/qmgr_queue.c",
        "qmgr/qmgr_feedback.c",
    ),
    problem(
        r"transport (?P<transport>\S+) failure -- see a previous .*", TransportFailed, "qmgr/qmgr_deliver.c"
    ),
    problem(
        r"private/(?P<transport>\S+) socket: (?:malformed response|premature disconnect)",
        TransportFailed,
        "qmgr/qmgr_transport.c",
    ),
    problem(
        r"connect to transport (?:\w+/)?(?P<transport>\S+): (?P<error>.*)",
        TransportUnavailable,
        "qmgr/qmgr_transport.c",
    ),
    problem(r"timeout connecting to transport: (?P<transport>.*)", TransportFailed, "qmgr/qmgr_transport.c"),
    problem(
        rf"{QUEUE_ID}: timeout receiving delivery status from transport: (?P<transport>.*)",
        TransportFailed,
        "qmgr/qmgr_deliver.c",
    ),
    problem(
        r"mail for (?P<destination>\S+) is using up (?P<used>\d+) of (?P<limit>\d+) active queue entries",
        Backlog,
        "qmgr/qmgr_entry.c",
    ),
    problem(r'saving corrupt file "(?P<file>[^"]*+)" from queue .*', QueueFileCorrupt, "qmgr/qmgr_active.c"),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<text>undeliverable postmaster notification discarded)",
        NotificationFailed,
        "qmgr/qmgr_message.c",
    ),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<text>message rejected: .*)", MessageRefused, "qmgr/qmgr_message.c"
    ),
    # qmgr_entry.c continues its warning about a backlog with advice in several lines.
    problem(
        r"(?P<text>this may slow down other mail deliveries|you may need to .*|please avoid flushing .*|(?:you|the) .*"
        r" (?:transport|mail deliveries|process limit|queue).*)",
        Backlog,
        "qmgr/qmgr_entry.c",
    ),
)

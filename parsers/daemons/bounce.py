"""Rules for bounce(8), defer(8) and trace(8): src/bounce of the Postfix source."""

from typing import Final

from postward.parsers.events import Notification, NotificationFailed, QueueNote
from postward.parsers.grammar import QUEUE_ID
from postward.parsers.rules import Rule, problem, rule

RULES: Final[tuple[Rule, ...]] = (
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<kind>(?:sender|postmaster) (?:non-delivery|delay|delivery status))"
        rf" notification: (?P<notification_id>{QUEUE_ID})",
        Notification,
        "bounce/bounce_notify_service.c",
        "bounce/bounce_warn_service.c",
        "bounce/bounce_trace_service.c",
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<text>not sending trace/success notification for .*)",
        QueueNote,
        "bounce/bounce_trace_service.c",
    ),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<text>\S+ (?:notification|notice) failed.*|undeliverable postmaster notification"
        r" discarded|no recipients in .*)",
        NotificationFailed,
        "bounce/bounce_notify_service.c",
    ),
)

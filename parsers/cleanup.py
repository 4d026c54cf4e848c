"""What cleanup(8) logs: src/cleanup of the Postfix source."""

from typing import Final

from postward.parsers.delivery import DELIVERY
from postward.parsers.events import (
    ClientVerdict,
    ContentAction,
    LookupFailed,
    MessageId,
    MessageRefused,
    QueueNote,
    Removed,
)
from postward.parsers.grammar import AFTER_TEXT, ENVELOPE, QUEUE_ID, until
from postward.parsers.rules import Rule, problem, rule

RULES: Final[tuple[Rule, ...]] = (
    # A stranger chooses the value, so everything to the end of the line belongs to it.
    rule(rf"(?P<queue_id>{QUEUE_ID}): message-id=(?P<message_id>.*)", MessageId, "cleanup/cleanup_message.c"),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?=resent-message-id=(?P<message_id>.*))(?P<resent>resent-).*",
        MessageId,
        "cleanup/cleanup_message.c",
    ),
    rule(rf"(?P<queue_id>{QUEUE_ID}): removed(?: \((?P<why>.*)\))?", Removed, "cleanup/cleanup_api.c"),
    # A header or a line of the body is quoted before the fields that Postfix adds, so the last place where
    # these fit is theirs. A text of the table's own that holds a ">" is left to the rule after.
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<action>[\w-]+): (?P<part>header|body|content|mime-error) (?P<content>.*)"
        rf" from (?P<origin>[^\s;]++);{ENVELOPE}(?:: (?P<text>[^>]*+))?",
        ContentAction,
        "cleanup/cleanup_message.c",
        "cleanup/cleanup_milter.c",
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<action>[\w-]+): (?P<part>header|body|content|mime-error)"
        r" (?P<content>.*)",
        ContentAction,
        "cleanup/cleanup_message.c",
        "global/header_body_checks.c",
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<action>milter-[\w-]+): (?P<stage>\S+) from (?P<client>[^\s:]\S*?): "
        rf"(?P<text>{until(';', AFTER_TEXT)});?{ENVELOPE}",
        ClientVerdict,
        "cleanup/cleanup_milter.c",
    ),
    *DELIVERY,
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<text>\S.* map lookup problem -- message not accepted, try again later)",
        MessageRefused,
        "cleanup/cleanup_masquerade.c",
    ),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<table>\S+) map lookup problem(?: for (?P<key>.*))?"
        r" -- (?:message not accepted, try again later|deferring delivery)",
        LookupFailed,
        "cleanup/cleanup_map1n.c",
        "cleanup/cleanup_addr.c",
        "cleanup/cleanup_message.c",
    ),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<text>queue file size limit exceeded|message rejected: .*|write queue file: .*"
        r"|unreasonable .*|read timeout on .*|bounce message failure)",
        MessageRefused,
        "cleanup/cleanup_final.c",
        "cleanup/cleanup_message.c",
        "cleanup/cleanup_map1n.c",
        "cleanup/cleanup.c",
        "cleanup/cleanup_bounce.c",
    ),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<text>unexpected .*|ignoring .*|.* in input from .*)",
        QueueNote,
        "cleanup/cleanup.c",
    ),
)

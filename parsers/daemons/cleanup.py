"""Rules for the way into the queue: pickup(8), cleanup(8) and trivial-rewrite(8), each in its folder of the Postfix source."""

from typing import Final

from postward.parsers.daemons.delivery import DELIVERY
from postward.parsers.events import (
    ClientVerdict,
    ConfigurationProblem,
    ContentAction,
    LookupFailed,
    MessageId,
    MessageRefused,
    PickedUp,
    QueueNote,
    Removed,
)
from postward.parsers.grammar import ADDRESS, AFTER_TEXT, ENVELOPE, QUEUE_ID, until
from postward.parsers.rules import Rule, problem, rule

PICKUP: Final[tuple[Rule, ...]] = (
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): uid=(?P<uid>[0-9]++) from=<(?P<from_>{ADDRESS})>"
        rf"(?: orig_id=(?P<orig_id>{QUEUE_ID}))?",
        PickedUp,
        "pickup/pickup.c",
    ),
    # pickup prints the sender unchanged, so a lone quote is possible.
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): uid=(?P<uid>[0-9]++) from=<(?P<from_>.*)>(?: orig_id=(?P<orig_id>{QUEUE_ID}))?",
        PickedUp,
        "pickup/pickup.c",
    ),
)

CLEANUP: Final[tuple[Rule, ...]] = (
    # A remote sender chooses the value, so it extends to the end of the line.
    rule(rf"(?P<queue_id>{QUEUE_ID}): message-id=(?P<message_id>.*)", MessageId, "cleanup/cleanup_message.c"),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?=resent-message-id=(?P<message_id>.*))(?P<resent>resent-).*",
        MessageId,
        "cleanup/cleanup_message.c",
    ),
    rule(rf"(?P<queue_id>{QUEUE_ID}): removed(?: \((?P<why>.*)\))?", Removed, "cleanup/cleanup_api.c"),
    # A quoted header or body line comes before the fields that Postfix adds, so the last place that fits starts them.
    # The next rule takes a text of the table that holds a ">".
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

REWRITE: Final[tuple[Rule, ...]] = (
    problem(r"(?P<table>\w+) lookup failure", LookupFailed, "trivial-rewrite/resolve.c"),
    problem(
        r"(?P<text>do not list domain .* in BOTH .*)",
        ConfigurationProblem,
        "trivial-rewrite/resolve.c",
    ),
)

"""What cleanup(8) logs: src/cleanup of the Postfix source."""

from typing import Final

from parsers.delivery import DELIVERY, STATUS_NOT_WRITTEN
from parsers.events import MessageId, Removed
from parsers.grammar import QUEUE_ID
from parsers.rules import Rule, rule

RULES: Final[tuple[Rule, ...]] = (
    # A stranger chooses the value, so everything to the end of the line belongs to it.
    rule(rf"(?P<queue_id>{QUEUE_ID}): message-id=(?P<message_id>.*)", MessageId, "cleanup/cleanup_message.c"),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): (?=resent-message-id=(?P<message_id>.*))(?P<resent>resent-).*",
        MessageId,
        "cleanup/cleanup_message.c",
    ),
    rule(rf"(?P<queue_id>{QUEUE_ID}): removed(?: \((?P<why>.*)\))?", Removed, "cleanup/cleanup_api.c"),
    *DELIVERY,
    STATUS_NOT_WRITTEN,
)

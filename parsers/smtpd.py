"""What smtpd(8) logs: src/smtpd of the Postfix source."""

from typing import Final

from parsers.events import ClientAccepted, ClientConnected, ClientDisconnected
from parsers.grammar import CLIENT, QUEUE_ID
from parsers.rules import Rule, rule

RULES: Final[tuple[Rule, ...]] = (
    rule(rf"connect from (?P<client>{CLIENT})", ClientConnected, "smtpd/smtpd.c"),
    rule(
        rf"disconnect from (?P<client>{CLIENT})(?: (?P<statistics>.*))?", ClientDisconnected, "smtpd/smtpd.c"
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): client=(?P<client>{CLIENT})(?:, sasl_method=(?P<sasl_method>[^,]*+))?"
        r"(?:, sasl_username=(?P<sasl_username>.*?))?(?:, sasl_sender=(?P<sasl_sender>.*?))?"
        rf"(?:, orig_queue_id=(?P<orig_queue_id>{QUEUE_ID}))?(?:, orig_client=(?P<orig_client>.*))?",
        ClientAccepted,
        "smtpd/smtpd.c",
    ),
)

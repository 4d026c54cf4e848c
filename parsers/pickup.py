"""What pickup(8) logs: src/pickup of the Postfix source."""

from typing import Final

from postward.parsers.events import PickedUp
from postward.parsers.grammar import ADDRESS, QUEUE_ID
from postward.parsers.rules import Rule, rule

RULES: Final[tuple[Rule, ...]] = (
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): uid=(?P<uid>[0-9]++) from=<(?P<from_>{ADDRESS})>"
        rf"(?: orig_id=(?P<orig_id>{QUEUE_ID}))?",
        PickedUp,
        "pickup/pickup.c",
    ),
    # pickup prints the sender as given, so a lone quote is possible.
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): uid=(?P<uid>[0-9]++) from=<(?P<from_>.*)>(?: orig_id=(?P<orig_id>{QUEUE_ID}))?",
        PickedUp,
        "pickup/pickup.c",
    ),
)

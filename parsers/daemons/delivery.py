"""Rules for delivery records, which every delivery agent prints through one function: global/log_adhoc.c."""

from typing import Final

from postward.parsers.events import Delivery, Forwarded, StatusNotWritten
from postward.parsers.grammar import ADDRESS, QUEUE_ID, REASON, until
from postward.parsers.rules import Rule, problem, rule

_NEXT: Final = ", (?:orig_to=<|relay=)"


def _rest(new: str = "") -> str:
    """Match the fields from the relay on; `new` is what may stand between two of them."""
    return (
        rf"{new}, relay=(?P<relay>[^,]*+){new}(?:, conn_use=(?P<conn_use>[0-9]++))?{new}, delay=(?P<delay>[^,]++)"
        rf"{new}(?:, delays=(?P<delays>[^,]++))?{new}(?:, tls=(?P<tls>[^,\s]++))?{new}(?:, dsn=(?P<dsn>[^,]++))?"
        rf"{new}, status=(?P<status>[^\s(]++)(?: {REASON})?"
    )


_REST: Final = _rest()
# A key that a later release adds, as 3.11 added tls=.
_NEW_KEYS: Final = (
    r"(?:, (?!(?:orig_to|relay|conn_use|delay|delays|tls|dsn|status)=)[a-z][a-z0-9_]*+=[^,()]*+)*+"
)

DELIVERY: Final[tuple[Rule, ...]] = (
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): to=<(?P<to>{ADDRESS})>(?:, orig_to=<(?P<orig_to>{ADDRESS})>)?{_REST}",
        Delivery,
        "global/log_adhoc.c",
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): to=<(?P<to>{ADDRESS})>{_NEW_KEYS}(?:, orig_to=<(?P<orig_to>{ADDRESS})>)?"
        rf"{_rest(_NEW_KEYS)}",
        Delivery,
        "global/log_adhoc.c",
    ),
    # Before 3.5, or with info_log_address_format=internal, addresses are not quoted and may hold a lone quote or
    # bracket. The address ends at the first start of a next field, so it cannot swallow the server's reply.
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): to=<(?P<to>{until('>', _NEXT)})>"
        rf"(?:, orig_to=<(?P<orig_to>.*?)>)?{_REST}",
        Delivery,
        "global/log_adhoc.c",
    ),
    # An unquoted address that holds the start of a next field ends at the first place where the rest matches.
    rule(rf"(?P<queue_id>{QUEUE_ID}): to=<(?P<to>.*?)>{_REST}", Delivery, "global/log_adhoc.c"),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): passing <(?P<to>.*)> to transport=(?P<transport>\S+)",
        Forwarded,
        "global/deliver_pass.c",
    ),
    rule(
        rf"(?P<queue_id>{QUEUE_ID}): status=deferred \((?P<reason>.* failed)\)",
        StatusNotWritten,
        "global/bounce.c",
        "global/abounce.c",
    ),
    problem(
        rf"(?P<queue_id>{QUEUE_ID}): (?P<reason>\S+ service failure)",
        StatusNotWritten,
        "global/defer.c",
        "global/bounce.c",
    ),
)

"""Why an attempt to deliver failed: one of a closed list of causes for each failure.

The order of decision: Postfix's own phrase (`phrases`), the documented text of a server or provider, the enhanced
status code with the command it answers, the reply code (all three in `reply`). Everything is pure and total: a reason
that nothing matches is `Cause.OTHER`, and an event that reports no failure has no cause.
"""

from postward.parsers.cause.causes import ABOUT_ONE_MAIL, Cause
from postward.parsers.cause.decide import (
    DELIVERED,
    SUSPENDED,
    bare_reason,
    cause_of,
    cause_of_delivery,
    cause_of_diagnostic,
    classify,
    next_hop,
    relay_host_of,
    step_of,
    without_output,
)
from postward.parsers.cause.phrases import system_error_cause

__all__ = [
    "ABOUT_ONE_MAIL",
    "DELIVERED",
    "SUSPENDED",
    "Cause",
    "bare_reason",
    "cause_of",
    "cause_of_delivery",
    "cause_of_diagnostic",
    "classify",
    "next_hop",
    "relay_host_of",
    "step_of",
    "system_error_cause",
    "without_output",
]

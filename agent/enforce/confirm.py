"""Commit-confirm: new settings are kept after the relay accepted a probe, and rolled back after it refused one.

Pure: the results of probes in, a decision out.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Protocol


class Decision(Enum):
    """The decision about the settings in force."""

    KEEP = "keep"
    ROLL_BACK = "roll back"
    WAIT = "wait"


class Result(Protocol):
    """The result of a probe, as far as it matters here.

    Attributes:
        submitted: when the probe was submitted, in seconds since the epoch.
        conclusive: False if Postfix made no delivery attempt for it.
        relayed: the relay accepted it.
        reason: why it was not accepted.
    """

    @property
    def submitted(self) -> float: ...
    @property
    def conclusive(self) -> bool: ...
    @property
    def relayed(self) -> bool: ...
    @property
    def reason(self) -> str: ...


def decide(applied_at: float, results: Iterable[Result | None]) -> Decision:
    """Decide about settings by the newest result of each route that they concern.

    Args:
        applied_at: when the settings came into force. Probes that were submitted earlier do not count.
        results: one for each route; None if there is none yet.
    """
    fresh = [
        result if result and result.submitted >= applied_at and result.conclusive else None
        for result in results
    ]
    if any(result and not result.relayed for result in fresh):
        return Decision.ROLL_BACK
    return Decision.KEEP if fresh and all(fresh) else Decision.WAIT

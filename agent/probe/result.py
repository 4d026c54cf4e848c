"""The result of a probe: its timeline, outcome, step and cause, and its arrival."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from postward.parsers import Cause

# The milestones of a timeline, a closed set: they are values of the label `step`.
MILESTONES = (
    "submitted",
    "picked up",
    "queued",
    "active",
    "connecting",
    "encrypted",
    "authenticated",
    "greeted",
    "passed on",
    "accepted",
    "removed",
    "arrived",
    "returned",
)


@dataclass(frozen=True, slots=True)
class Milestone:
    """A point of a probe's timeline: what happened, when (seconds since submission), and a note."""

    step: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A verdict on a probe, or its final outcome.

    Attributes:
        relay: the relay's name in the settings.
        outcome: accepted, arrived, returned, failed, late, lost, duplicate or altered.
        step: where the probe stopped, or what it waits for; "" if it was accepted or has arrived.
        cause: why, if Postfix or the relay said so.
        detail: the reply of the relay or Postfix, or what is waited for.
        timeline: the milestones that were reached.
        queue_id: the queue ID, once there is one.
        sender: the envelope sender.
        submitted: when it was submitted, in seconds since the epoch.
        hop: the hop before the relay at which it stopped, such as a content filter; "" if the relay is to blame.
        recipient: the envelope recipient.
        folder: the kind of folder in which the mailbox has it, inbox or spam; "" if it was not seen in one.
        verdicts: the receiver's verdicts, method → result; see `mailbox.verdicts`.
        unseen: why it is not known whether it arrived; "" if it is known, or not watched.
        message_id: its Message-ID.
    """

    relay: str
    outcome: str
    step: str
    cause: Cause | None
    detail: str
    timeline: tuple[Milestone, ...]
    queue_id: str | None
    sender: str = ""
    submitted: float = 0.0
    hop: str = ""
    recipient: str = ""
    folder: str = ""
    verdicts: tuple[tuple[str, str], ...] = ()
    unseen: str = ""
    message_id: str = ""

    def as_returned(self, cause: Cause, detail: str) -> "ProbeResult":
        """Return the result of a probe that came back after the relay had accepted it."""
        return replace(self, outcome="returned", step="arrival", cause=cause, detail=detail)

    @property
    def blame(self) -> str:
        """The hop before the relay at which the probe stopped, for a message; "" if it is the relay."""
        return f" at {self.hop}, which is not relay {self.relay}" if self.hop else ""

    @property
    def reason(self) -> str:
        """Why the probe was not accepted, in a line."""
        return f"probe {self.outcome} at step {self.step}{self.blame}: {self.detail or self.cause or 'no answer'}"

    @property
    def accepted(self) -> bool:
        """True if the relay accepted it in time and, if arrivals are watched and can be seen, it arrived."""
        return self.outcome in {"accepted", "arrived"}

    @property
    def relayed(self) -> bool:
        """True if the relay accepted the mail, whether it arrived or not."""
        return any(milestone.step == "accepted" for milestone in self.timeline)

    @property
    def failed_to_arrive(self) -> bool:
        """True if the relay accepted it, and it did not arrive once, unchanged and in time."""
        return self.relayed and not self.accepted and self.step in {"arrival", "arrived"}

    @property
    def conclusive(self) -> bool:
        """False if the outcome says nothing of the relay: qmgr(8) answered from an earlier failure, or the log is silent."""
        return self.step != "log" and not self.detail.startswith("delivery temporarily suspended")

    @property
    def login_accepted(self) -> bool | None:
        """Whether the relay accepted the login; None if it was not asked, or its answer is unknown."""
        if self.hop:
            return None
        if self.cause is Cause.AUTH_REJECTED and self.conclusive:
            return False
        if self.relayed or (self.outcome == "failed" and self.step in {"mail_from", "rcpt_to", "data"}):
            return None if self.cause is Cause.AUTH_REQUIRED else True
        return None

    def durations(self) -> dict[str, float]:
        """Return the seconds from each milestone's predecessor to it."""
        return {
            milestone.step.replace(" ", "_"): milestone.seconds - before.seconds
            for before, milestone in pairwise(self.timeline)
            if milestone.step in MILESTONES
        }


@dataclass(frozen=True, slots=True)
class Arrival:
    """The arrival of a probe, as the receiving side knows it.

    Attributes:
        at: when each copy came, in seconds since the epoch.
        altered: the parts that were changed on the way.
        folder: the kind of folder that has the first copy, inbox or spam; "" for a sink.
        verdicts: the receiver's verdicts on the first copy, method → result.
    """

    at: Annotated[tuple[float, ...], Field(min_length=1)]
    altered: tuple[str, ...] = ()
    folder: str = ""
    verdicts: tuple[tuple[str, str], ...] = ()

    @property
    def note(self) -> str:
        """The arrival in a few words."""
        verdicts = " ".join(f"{method}={result}" for method, result in self.verdicts)
        changed = f"changed: {', '.join(self.altered)}" if self.altered else ""
        return "; ".join(filter(None, (self.folder, verdicts, changed)))

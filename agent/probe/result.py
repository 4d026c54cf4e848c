"""What became of a probe, as values: its route, its timeline, its outcome, its arrival."""

from dataclasses import dataclass
from itertools import pairwise

from postward.parsers import Cause


@dataclass(frozen=True, slots=True)
class FilePosition:
    """A point of a probe's timeline: what happened, when (seconds since submission), and the words about it."""

    step: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A way that is probed: a sender, and the relay that takes its mail.

    Attributes:
        relay: the relay's name in the settings.
        sender: the envelope sender.
        login: the relay wants a login.
    """

    relay: str
    sender: str = ""
    login: bool = True


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What became of a probe.

    Attributes:
        relay: the relay's name in the settings.
        outcome: accepted, failed, late, lost, duplicate or altered.
        step: where it stopped, or what it still waits for; "" if it came through.
        cause: why, as far as Postfix tells.
        words: the relay's or Postfix's reply, or what is waited for.
        timeline: how far it came.
        queue_id: Postfix's name of the mail, once it has one.
        sender: the envelope sender.
        submitted: when it was submitted, in seconds since the epoch.
    """

    relay: str
    outcome: str
    step: str
    cause: Cause | None
    words: str
    timeline: tuple[FilePosition, ...]
    queue_id: str | None
    sender: str = ""
    submitted: float = 0.0

    @property
    def reason(self) -> str:
        """Why it did not come through, in a line."""
        return f"probe {self.outcome} at step {self.step}: {self.words or self.cause or 'no answer'}"

    @property
    def accepted(self) -> bool:
        """True if it came through in time: accepted by the relay and, where that is watched, arrived."""
        return self.outcome == "accepted"

    @property
    def relayed(self) -> bool:
        """True if the relay took the mail, whatever became of it then."""
        return any(mark.step == "accepted" for mark in self.timeline)

    @property
    def conclusive(self) -> bool:
        """False if Postfix made no attempt of its own for this mail: qmgr(8) answered from an earlier failure."""
        return not self.words.startswith("delivery temporarily suspended")

    @property
    def reached_auth(self) -> bool:
        """True if the relay was asked to take the login, or may have been."""
        return self.step in {"auth", "mail_from", "rcpt_to", "data", "delivery", "removal", "arrival", ""}

    def durations(self) -> dict[str, float]:
        """How long each step took since the one before."""
        return {
            mark.step.replace(" ", "_"): mark.seconds - before.seconds
            for before, mark in pairwise(self.timeline)
            if mark.step in STEPS
        }


# The steps of a timeline, a closed set: they are labels.
STEPS = (
    "submitted",
    "picked up",
    "queued",
    "active",
    "connecting",
    "encrypted",
    "authenticated",
    "greeted",
    "accepted",
    "removed",
    "arrived",
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the receiving side knows of a probe: when each copy came (seconds since the epoch), and what was changed."""

    at: tuple[float, ...]
    altered: tuple[str, ...] = ()

"""A probe under way: the milestones that it has reached, and what it waits for."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from postward.agent.probe.result import MILESTONES, Arrival, Milestone, ProbeResult
from postward.agent.probe.route import Route
from postward.agent.stored import Form
from postward.parsers import Cause

# Last milestone → the step that a late probe waits for, and why it may hang there.
_NEXT_STEP: Mapping[str, tuple[str, Cause | None, str]] = {
    "": ("submit", Cause.LOCAL_RESOURCE, "sendmail or the listener did not accept it; is the disk full?"),
    "submitted": ("pickup", Cause.LOCAL_CONFIG, "Postfix did not take it from maildrop; does Postfix run?"),
    "picked up": ("queue", Cause.LOCAL_CONFIG, "cleanup did not queue it"),
    "queued": ("active", Cause.LOCAL_CONFIG, "qmgr did not take it from the queue; does qmgr run?"),
    "active": ("delivery", Cause.TIMEOUT, "the delivery has not ended; does the relay hang?"),
    "passed on": ("return", None, "this hop took it and has not given it back to Postfix"),
    "accepted": ("removal", Cause.LOCAL_RESOURCE, "qmgr has not removed it"),
    "removed": ("arrival", None, "the relay accepted it, and it has not arrived"),
}
_PLAIN_FIELDS = (
    "message_id",
    "submitted",
    "arrives",
    "queue_id",
    "handed",
    "reported",
    "relayed",
    "reply",
    "hop",
    "passed_id",
    "logs_tls",
)


_FormerArrival = tuple[Annotated[tuple[float, ...], Field(min_length=1)], tuple[str, ...]]  # up to 0.1


class _Saved(TypedDict, total=False):
    message_id: str
    submitted: float
    arrives: bool
    queue_id: str | None
    handed: bool
    reported: bool
    relayed: bool
    reply: str
    hop: str
    passed_id: str | None
    route: Route
    timeline: list[tuple[str, float, str]]
    arrival: Arrival | _FormerArrival | None


_FORM: Form[_Saved] = Form(_Saved)


@dataclass(slots=True)
class Pending:
    """A probe under way.

    Attributes:
        message_id, route: what identifies it.
        submitted: when, in seconds since the epoch.
        arrives: the receiving side reports its arrival.
        verdict: a caller waits for the verdict.
        timeline: its milestones.
        queue_id: once there is one.
        handed: Postfix has taken it.
        reported: the verdict was given.
        relayed: the relay has accepted it, with this `reply`.
        arrival: what the receiving side reported.
        hop: another hop that took it before the relay, such as a content filter, with the queue ID `passed_id`.
        logs_tls: Postfix logs TLS sessions.
    """

    message_id: str
    route: Route
    submitted: float
    arrives: bool
    verdict: asyncio.Future[ProbeResult] | None = None
    timeline: list[Milestone] = field(default_factory=lambda: [Milestone("submitted", 0.0)])
    queue_id: str | None = None
    handed: bool = False
    reported: bool = False
    relayed: bool = False
    reply: str = ""
    arrival: Arrival | None = None
    hop: str = ""
    passed_id: str | None = None
    logs_tls: bool = False

    @property
    def unconfirmed(self) -> bool:
        """True if it may never have been submitted: its process has ended, and the log does not know it."""
        return self.verdict is None and not self.handed and self.queue_id is None

    def reach(self, step: str, now: float, note: str = "") -> None:
        """Add a milestone, never before the last one: clocks are set back, and stamps lack fractions."""
        last = self.timeline[-1].seconds
        self.timeline.append(Milestone(step, max(last, now - self.submitted), note))

    def pass_on(self, queue_id: str, hop: str, now: float, reply: str) -> None:
        """Note that another hop took it. It comes back with the same Message-ID and another queue ID, maybe already."""
        self.hop, self.passed_id = hop, queue_id
        self.reach("passed on", now, f"{hop}: {reply}")

    def result(
        self, outcome: str, step: str = "", cause: Cause | None = None, detail: str = ""
    ) -> ProbeResult:
        """Return a result with the timeline so far."""
        return ProbeResult(
            self.route.relay,
            outcome,
            step,
            cause,
            detail,
            tuple(self.timeline),
            self.queue_id,
            self.route.sender,
            self.submitted,
            hop=self.hop if step == "return" else "",
            recipient=self.route.recipient,
            folder=self.arrival.folder if self.arrival else "",
            verdicts=self.arrival.verdicts if self.arrival else (),
            message_id=self.message_id,
        )

    def unfinished(self, outcome: str) -> ProbeResult:
        """Return the result of a probe that is still waiting for something."""
        last = self.timeline[-1].step
        if last == "submitted" and not self.handed:
            last = ""
        if last == "passed on" and self.queue_id != self.passed_id:
            last = "active"
        return self.result(outcome, *_NEXT_STEP.get(last, _NEXT_STEP["active"]))

    def finished(self, moment: float, timeout: float, outcome: str = "accepted") -> ProbeResult:
        """Return the result of a probe that came through: with this outcome, or late at the step that took longest."""
        age = moment - self.submitted
        accepted = self.result(outcome, detail=self.reply)
        if age < timeout:
            return accepted
        durations = accepted.durations()
        slowest = max(durations, key=lambda step: durations[step], default="")
        return replace(accepted, outcome="late", step=slowest, detail=f"after {age:.0f} s: {self.reply}")

    def arrived(self, timeout: float) -> ProbeResult:
        """Return the result by what the receiving side reported."""
        if self.arrival is None:
            return self.unfinished("late")
        if self.arrival.altered:
            return self.result("altered", "arrival", None, f"changed: {', '.join(self.arrival.altered)}")
        if len(self.arrival.at) > 1:
            return self.result("duplicate", "arrival", None, f"{len(self.arrival.at)} copies arrived")
        return self.finished(min(self.arrival.at), timeout, "arrived")

    def unseen(self, reason: str, timeout: float) -> ProbeResult:
        """Return the result of a probe that the relay accepted while the receiving side cannot be asked."""
        accepted = self.finished(self.submitted + self.timeline[-1].seconds, timeout)
        return replace(accepted, unseen=reason)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values for the checkpoint, without the caller that waits."""
        return {name: getattr(self, name) for name in _PLAIN_FIELDS} | {
            "route": asdict(self.route),
            "timeline": [[one.step, one.seconds, one.note] for one in self.timeline],
            "arrival": self.arrival and asdict(self.arrival),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Pending":
        """Read what `to_dict` returned. Raises TypeError, ValueError or KeyError for anything else."""
        saved: dict[str, Any] = {**_FORM.check(data)}
        timeline, arrival = saved.pop("timeline"), saved.pop("arrival")
        if any(step not in MILESTONES for step, _, _ in timeline):
            raise ValueError("timeline: has an unknown milestone")
        return cls(
            **saved,
            timeline=[Milestone(*one) for one in timeline] or [Milestone("submitted", 0.0)],
            arrival=Arrival(*arrival) if isinstance(arrival, tuple) else arrival,
        )

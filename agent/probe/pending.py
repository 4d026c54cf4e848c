"""A probe under way: what was seen of it, and what it still waits for."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from postward.agent.probe.result import Arrival, FilePosition, ProbeResult, Route
from postward.parsers import Cause

# What a probe still waits for when it is late: the step after the last one that was seen, and why it may hang there.
_NEXT_STEP: Mapping[str, tuple[str, Cause | None, str]] = {
    "": ("submit", Cause.LOCAL_RESOURCE, "sendmail or the listener did not take it; is the disk full?"),
    "submitted": ("pickup", Cause.LOCAL_CONFIG, "Postfix did not take it from maildrop; does Postfix run?"),
    "picked up": ("queue", Cause.LOCAL_CONFIG, "cleanup did not queue it"),
    "queued": ("active", Cause.LOCAL_CONFIG, "qmgr did not take it from the queue; does qmgr run?"),
    "active": ("delivery", Cause.TIMEOUT, "the delivery has not ended; does the relay hang?"),
    "accepted": ("removal", Cause.LOCAL_RESOURCE, "qmgr has not removed it"),
    "removed": ("arrival", None, "the relay took it, and it has not arrived"),
}


@dataclass(slots=True)
class Pending:
    """A probe under way.

    Attributes:
        arrives: somebody tells of its arrival.
        result: wanted by a caller that waits.
        handed: Postfix has it.
        told: the verdict was given.
        relayed: the relay took it.
    """

    message_id: str
    route: Route
    submitted: float
    arrives: bool
    result: asyncio.Future[ProbeResult] | None = None
    marks: list[FilePosition] = field(default_factory=list)
    queue_id: str | None = None
    handed: bool = False
    told: bool = False
    relayed: bool = False
    words: str = ""
    arrival: Arrival | None = None

    @property
    def doubtful(self) -> bool:
        """True if it may never have been submitted: the run that was about to has ended, and the log knows nothing of it."""
        return self.result is None and not self.handed and self.queue_id is None

    def mark(self, step: str, now: float, note: str = "") -> None:
        """Time does not run backwards in a timeline, whatever clocks and stamps say."""
        least = self.marks[-1].seconds if self.marks else 0.0
        self.marks.append(FilePosition(step, max(least, now - self.submitted), note))

    def as_result(
        self, outcome: str, step: str = "", cause: Cause | None = None, words: str = ""
    ) -> ProbeResult:
        """So far."""
        return ProbeResult(
            self.route.relay,
            outcome,
            step,
            cause,
            words,
            tuple(self.marks),
            self.queue_id,
            self.route.sender,
            self.submitted,
        )

    def waiting(self, outcome: str) -> ProbeResult:
        """The result of one that is not through: at the step after the last one seen."""
        last = self.marks[-1].step
        if last == "submitted" and not self.handed:
            last = ""
        return self.as_result(outcome, *_NEXT_STEP.get(last, _NEXT_STEP["active"]))

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint, but for the caller that waits."""
        data = {
            name: getattr(self, name)
            for name in (
                "message_id",
                "submitted",
                "arrives",
                "queue_id",
                "handed",
                "told",
                "relayed",
                "words",
            )
        }
        return data | {
            "route": asdict(self.route),
            "marks": [[mark.step, mark.seconds, mark.note] for mark in self.marks],
            "arrival": self.arrival and [self.arrival.at, self.arrival.altered],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Pending":
        """The way back. Raises TypeError, ValueError, KeyError or IndexError for what is none."""
        data = dict(data)
        route, marks, arrival = data.pop("route"), data.pop("marks"), data.pop("arrival")
        return cls(
            **data,
            route=Route(**route),
            marks=[FilePosition(*mark) for mark in marks] or [FilePosition("submitted", 0.0)],
            arrival=Arrival(tuple(arrival[0]), tuple(arrival[1])) if arrival else None,
        )

"""The log's lines → what became of each probe mail, step by step. No I/O, and the clock is an argument.

A probe's Message-ID is ours; cleanup joins it to a queue ID, and the queue ID to every step after. TLS sessions
carry no queue ID and are joined by the process that delivers. The log tells no instant of connecting, but how
long setting up and transmission took (`delays=a/b/c/d`): the marks between follow from that.

A probe gets a *verdict* once, at the latest after `Limits.timeout` seconds ("late" if nothing was heard until then),
and a *final outcome* once, which is what is counted: accepted, failed at a step, late (it came after its time), lost (it
never came), and where arrivals are told also duplicate and altered.

Promise: one verdict and one final outcome a probe, also across restarts (`as_json`, `restore`); all that is kept is
bounded.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from parsers import Cause, Event, Record, cause_of, parse_stamp, step_of
from parsers import events as ev

_MOST_RECENT = 512  # pickup lines and TLS sessions remembered until a probe turns out to be theirs
_MOST_PENDING = 16  # of one route; the oldest is lost then
_MOST_ROUTES = 1024  # remembered from a former run
_BEHIND = 2.5  # seconds; a line older than that is told by its own stamp, which may lack fractions

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


@dataclass(frozen=True, slots=True)
class Mark:
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
class Limits:
    """How long a probe may take, in seconds: until it is late, and until it is lost."""

    timeout: float = 60.0
    lost: float = 3600.0


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
    timeline: tuple[Mark, ...]
    queue_id: str | None
    sender: str = ""
    submitted: float = 0.0

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


@dataclass(slots=True)
class _Pending:
    message_id: str
    route: Route
    submitted: float
    arrives: bool
    result: asyncio.Future[ProbeResult] | None = None
    marks: list[Mark] = field(default_factory=list)
    queue_id: str | None = None
    handed: bool = False  # to Postfix
    told: bool = False  # the verdict
    relayed: bool = False
    words: str = ""
    arrival: Arrival | None = None

    def mark(self, step: str, now: float, note: str = "") -> None:
        """Time does not run backwards in a timeline, whatever clocks and stamps say."""
        least = self.marks[-1].seconds if self.marks else 0.0
        self.marks.append(Mark(step, max(least, now - self.submitted), note))

    def as_result(
        self, outcome: str, step: str = "", cause: Cause | None = None, words: str = ""
    ) -> ProbeResult:
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
    def from_json(cls, data: dict[str, Any]) -> "_Pending":
        data = dict(data)
        route, marks, arrival = data.pop("route"), data.pop("marks"), data.pop("arrival")
        return cls(
            **data,
            route=Route(**route),
            marks=[Mark(*mark) for mark in marks] or [Mark("submitted", 0.0)],
            arrival=Arrival(tuple(arrival[0]), tuple(arrival[1])) if arrival else None,
        )


def _ignore(_result: ProbeResult) -> None:
    return None


class ProbeTracker:
    """Joins the log to the probes under way. An observer of the pipeline.

    Args:
        clock: seconds since the epoch.
        limits: when a probe is late, and when it is lost.
        on_verdict: called with the verdict of a probe whose submitter is gone (it was submitted before a restart).
        on_final: called once for each probe with its final outcome.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        limits: Limits = Limits(),
        on_verdict: Callable[[ProbeResult], None] = _ignore,
        on_final: Callable[[ProbeResult], None] = _ignore,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._on_verdict = on_verdict
        self._on_final = on_final
        self._by_message_id: dict[str, _Pending] = {}
        self._by_queue_id: dict[str, _Pending] = {}
        self._picked_up: dict[str, float] = {}
        self._tls: dict[int | None, tuple[float, ev.TlsEstablished]] = {}
        self._handlers: dict[Any, Callable[[Record, Any], None]] = {
            ev.PickedUp: self._on_entry,
            ev.ClientAccepted: self._on_entry,
            ev.MessageId: self._on_message_id,
            ev.QueueActive: self._on_active,
            ev.TlsEstablished: self._on_tls,
            ev.Delivery: self._on_delivery,
            ev.Removed: self._on_removed,
        }

    # --- what the submitter says

    def expect(
        self, message_id: str, route: Route, *, arrives: bool = False
    ) -> "asyncio.Future[ProbeResult]":
        """Look out for a probe that is submitted now. The future is its verdict.

        Args:
            message_id: its Message-ID.
            route: the way it should take.
            arrives: its arrival is told (`arrived`), and it is not through before.
        """
        result: asyncio.Future[ProbeResult] = asyncio.get_running_loop().create_future()
        self._bound(route)
        pending = _Pending(message_id, route, self._clock(), arrives, result)
        pending.marks.append(Mark("submitted", 0.0))
        self._by_message_id[message_id] = pending
        return result

    def _bound(self, route: Route) -> None:
        same = [pending for pending in self._by_message_id.values() if pending.route == route]
        for pending in same[: len(same) - _MOST_PENDING + 1]:
            self._finish(pending, pending.waiting("lost"))

    def submitted(self, message_id: str) -> None:
        """Postfix has taken it; the log may already tell more."""
        pending = self._by_message_id.get(message_id)
        if pending is not None:
            pending.handed = True

    def fail(self, message_id: str, cause: Cause, words: str) -> None:
        """Postfix has not taken it."""
        pending = self._by_message_id.get(message_id)
        if pending is not None:
            self._finish(pending, pending.as_result("failed", "submit", cause, words))

    def overdue(self, message_id: str) -> None:
        """Its time is up: the verdict is "late", unless there is one."""
        pending = self._by_message_id.get(message_id)
        if pending is not None:
            self._tell(pending, pending.waiting("late"))

    def give_up(self, message_id: str) -> None:
        """Wait no longer."""
        pending = self._by_message_id.get(message_id)
        if pending is not None:
            self._close(pending, lost=True)

    def tick(self) -> None:
        """Let time pass: verdicts of probes that are late, outcomes of those that are lost or whose arrivals are complete."""
        now = self._clock()
        for pending in list(self._by_message_id.values()):
            age = now - pending.submitted
            if age >= self._limits.lost:
                self._close(pending, lost=True)
            elif age >= self._limits.timeout:
                if pending.arrival is not None and pending.relayed:
                    self._close(pending)  # long enough for a second copy to have shown
                else:
                    self._tell(pending, pending.waiting("late"))

    # --- what the receiving side says

    def awaiting_arrival(self) -> list[str]:
        """Message-IDs of probes whose arrivals are of interest: also of those that the log has not shown to leave."""
        return [pending.message_id for pending in self._by_message_id.values() if pending.arrives]

    def arrived(self, message_id: str, arrival: Arrival) -> None:
        """Take what the receiving side knows of a probe; it may know more each time."""
        pending = self._by_message_id.get(message_id)
        if pending is None or not arrival.at:
            return
        if pending.arrival is None and pending.relayed:
            pending.mark("arrived", min(arrival.at), ", ".join(arrival.altered))
        pending.arrival = arrival
        if pending.relayed:
            self._tell(pending, self._arrived_as(pending))

    def _arrived_as(self, pending: _Pending) -> ProbeResult:
        arrival = pending.arrival
        if arrival is None:
            return pending.waiting("late")
        if arrival.altered:
            return pending.as_result("altered", "arrival", None, f"changed: {', '.join(arrival.altered)}")
        if len(arrival.at) > 1:
            return pending.as_result("duplicate", "arrival", None, f"{len(arrival.at)} copies arrived")
        return self._through(pending, min(arrival.at))

    def _through(self, pending: _Pending, moment: float) -> ProbeResult:
        """It came through: in time, or late, and then the step that took longest is the one to look at."""
        age = moment - pending.submitted
        accepted = pending.as_result("accepted", words=pending.words)
        if age < self._limits.timeout:
            return accepted
        durations = accepted.durations()
        slowest = max(durations, key=lambda step: durations[step], default="")
        return replace(accepted, outcome="late", step=slowest, words=f"after {age:.0f} s: {pending.words}")

    # --- what the log says

    def observe(self, record: Record, event: Event) -> None:
        """Take one line of the log."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(record, event)

    def _moment(self, record: Record) -> float:
        """When a line was written: now, unless the log is being caught up with."""
        now = self._clock()
        stamp = parse_stamp(record.stamp, datetime.fromtimestamp(now).astimezone())
        written = stamp.timestamp() if stamp else now
        return written if now - written > _BEHIND else now

    def _on_entry(self, record: Record, event: ev.PickedUp | ev.ClientAccepted) -> None:
        if event.queue_id and self._by_message_id:
            _remember(self._picked_up, event.queue_id, self._moment(record))

    def _on_message_id(self, record: Record, event: ev.MessageId) -> None:
        pending = self._by_message_id.get(event.message_id)
        if pending is None or pending.queue_id is not None:
            return
        pending.queue_id = event.queue_id
        self._by_queue_id[event.queue_id] = pending
        now = self._moment(record)
        pending.mark("picked up", self._picked_up.get(event.queue_id, now))
        pending.mark("queued", now, f"queue ID {event.queue_id}")

    def _on_active(self, record: Record, event: ev.QueueActive) -> None:
        pending = self._by_queue_id.get(event.queue_id)
        if pending is not None and pending.marks[-1].step == "queued":  # not at each retry
            pending.mark("active", self._moment(record))

    def _on_tls(self, record: Record, event: ev.TlsEstablished) -> None:
        if event.direction == "to" and self._by_queue_id:
            _remember(self._tls, record.pid, (self._moment(record), event))

    def _on_delivery(self, record: Record, event: ev.Delivery) -> None:
        pending = self._by_queue_id.get(event.queue_id)
        if pending is None or pending.relayed:
            return
        now, words = self._moment(record), event.reason or ""
        setup, transmission = _delays(event)
        if event.relay != "none":
            pending.mark("connecting", now - transmission - setup, event.relay)
        session = self._tls.get(record.pid)
        if session is not None and session[0] >= pending.submitted - _BEHIND:
            pending.mark("encrypted", session[0], f"{session[1].protocol} {session[1].cipher}")
        if event.status == "sent":
            pending.mark("authenticated" if pending.route.login else "greeted", now - transmission)
            pending.mark("accepted", now, words)
            pending.relayed, pending.words = True, words
            return
        pending.mark(event.status, now, words)
        self._finish(pending, pending.as_result("failed", step_of(event), cause_of(event), words))

    def _on_removed(self, record: Record, event: ev.Removed) -> None:
        pending = self._by_queue_id.pop(event.queue_id, None)
        if pending is None:
            return
        if not pending.relayed:
            self._finish(pending, pending.as_result("lost", "queue", None, "it was taken out of the queue"))
            return
        now = self._moment(record)
        pending.mark("removed", now)
        if not pending.arrives:
            self._finish(pending, self._through(pending, now))
        elif pending.arrival is not None:  # the receiving side was quicker than the log
            pending.mark("arrived", min(pending.arrival.at), ", ".join(pending.arrival.altered))
            self._tell(pending, self._arrived_as(pending))

    # --- verdict and final outcome

    def _tell(self, pending: _Pending, result: ProbeResult) -> None:
        if pending.told:
            return
        pending.told = True
        if pending.result is not None and not pending.result.done():
            pending.result.set_result(result)
        else:
            self._on_verdict(result)

    def _close(self, pending: _Pending, *, lost: bool = False) -> None:
        if pending.arrival is not None and pending.relayed:
            self._finish(pending, self._arrived_as(pending))
        elif lost:
            self._finish(pending, pending.waiting("lost"))

    def _finish(self, pending: _Pending, result: ProbeResult) -> None:
        self._by_message_id.pop(pending.message_id, None)
        self._by_queue_id.pop(pending.queue_id or "", None)
        self._tell(pending, result)
        self._on_final(result)

    # --- across restarts

    def as_json(self) -> list[dict[str, Any]]:
        """The probes under way."""
        return [pending.as_json() for pending in self._by_message_id.values()]

    def restore(self, data: Iterable[Any]) -> None:
        """Take up the probes of a former run. What does not have their form is left out."""
        for entry in list(data)[-_MOST_PENDING * _MOST_ROUTES :]:
            try:
                pending = _Pending.from_json(entry)
            except (TypeError, ValueError, KeyError, AttributeError, IndexError):
                continue
            self._by_message_id[pending.message_id] = pending
            if pending.queue_id and "removed" not in {mark.step for mark in pending.marks}:
                self._by_queue_id[pending.queue_id] = pending


def _delays(event: ev.Delivery) -> tuple[float, float]:
    """Seconds of connection setup and of transmission (`delays=a/b/c/d`)."""
    try:
        _, _, setup, transmission = (float(part) for part in (event.delays or "").split("/"))
    except ValueError:
        return 0.0, 0.0
    return setup, transmission


def _remember(recent: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep the newest few."""
    recent.pop(key, None)
    recent[key] = value
    if len(recent) > _MOST_RECENT:
        del recent[next(iter(recent))]

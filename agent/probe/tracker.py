"""The log's lines → what became of each probe mail, step by step. No I/O, and the clock is an argument.

A probe's Message-ID is ours; cleanup joins it to a queue ID, and the queue ID to every step after. TLS sessions
carry no queue ID and are joined by the process that delivers. The log tells no instant of connecting, but how
long setting up and transmission took (`delays=a/b/c/d`): the marks between follow from that.

A probe gets a *verdict* once, at the latest after `Limits.timeout` seconds ("late" if nothing was heard until then),
and a *final outcome* once, which is what is counted: accepted, failed at a step, late (it came after its time), lost (it
never came), and where arrivals are told also duplicate and altered.

Promise: one verdict and one final outcome a probe, also across restarts (`as_json`, `restore`), and none for what a run
that crashed may never have submitted; all that is kept is bounded.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from postward.agent.probe.pending import Pending
from postward.agent.probe.result import Arrival, FilePosition, ProbeResult, Route
from postward.parsers import Cause, Event, Record, cause_of, parse_stamp, step_of
from postward.parsers import events as ev

_MAX_RECENT = 512  # pickup lines and TLS sessions remembered until a probe turns out to be theirs
_MAX_PENDING = 16  # of one route; the oldest is lost then
_MAX_ROUTES = 1024  # remembered from a former run
_BEHIND = 2.5  # seconds; a line older than that is told by its own stamp, which may lack fractions


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a probe may take, in seconds: until it is late, and until it is lost."""

    timeout: float = 60.0
    lost: float = 3600.0


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
        self._by_message_id: dict[str, Pending] = {}
        self._by_queue_id: dict[str, Pending] = {}
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
        pending = Pending(message_id, route, self._clock(), arrives, result)
        pending.marks.append(FilePosition("submitted", 0.0))
        self._by_message_id[message_id] = pending
        return result

    def _bound(self, route: Route) -> None:
        same = [pending for pending in self._by_message_id.values() if pending.route == route]
        for pending in same[: len(same) - _MAX_PENDING + 1]:
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
            if pending.doubtful:
                if age >= self._limits.lost:
                    del self._by_message_id[pending.message_id]
            elif age >= self._limits.lost:
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

    def _arrived_as(self, pending: Pending) -> ProbeResult:
        arrival = pending.arrival
        if arrival is None:
            return pending.waiting("late")
        if arrival.altered:
            return pending.as_result("altered", "arrival", None, f"changed: {', '.join(arrival.altered)}")
        if len(arrival.at) > 1:
            return pending.as_result("duplicate", "arrival", None, f"{len(arrival.at)} copies arrived")
        return self._through(pending, min(arrival.at))

    def _through(self, pending: Pending, moment: float) -> ProbeResult:
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

    def _tell(self, pending: Pending, result: ProbeResult) -> None:
        if pending.told:
            return
        pending.told = True
        if pending.result is not None and not pending.result.done():
            pending.result.set_result(result)
        else:
            self._on_verdict(result)

    def _close(self, pending: Pending, *, lost: bool = False) -> None:
        if pending.arrival is not None and pending.relayed:
            self._finish(pending, self._arrived_as(pending))
        elif lost:
            self._finish(pending, pending.waiting("lost"))

    def _finish(self, pending: Pending, result: ProbeResult) -> None:
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
        for entry in list(data)[-_MAX_PENDING * _MAX_ROUTES :]:
            try:
                pending = Pending.from_json(entry)
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
    if len(recent) > _MAX_RECENT:
        del recent[next(iter(recent))]

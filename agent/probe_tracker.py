"""The log's lines → what became of each probe mail, step by step. No I/O.

A probe's Message-ID is ours; cleanup joins it to a queue ID, and the queue ID to every step after. TLS sessions
carry no queue ID and are joined by the process that delivers.

Promise: one result a probe, and everything that is kept is bounded.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from parsers import Cause, Event, Record, cause_of, step_of
from parsers import events as ev

_MOST_RECENT = 512  # pickup lines and TLS sessions remembered until a probe turns out to be theirs
_MOST_PENDING = 16

# What a probe still waits for when it is lost: the step after the last one that the log shows.
_NEXT_STEP = {
    "submitted": "pickup",
    "picked up": "queue",
    "queued": "active",
    "active": "delivery",
    "accepted": "removal",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a probe's timeline: what happened, when (seconds since submission), and Postfix's words about it."""

    step: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What became of a probe.

    Attributes:
        relay: the relay's name in the settings.
        outcome: accepted, failed or lost.
        step: where it stopped; "" if it was accepted.
        cause: why, for a failed one.
        words: the relay's or Postfix's reply.
        timeline: how far it came.
        queue_id: Postfix's name of the mail, once it has one.
    """

    relay: str
    outcome: str
    step: str
    cause: Cause | None
    words: str
    timeline: tuple[Mark, ...]
    queue_id: str | None

    @property
    def accepted(self) -> bool:
        """True if the relay took the mail."""
        return self.outcome == "accepted"

    @property
    def conclusive(self) -> bool:
        """False if Postfix made no attempt of its own for this mail: qmgr(8) answered from an earlier failure."""
        return not self.words.startswith("delivery temporarily suspended")

    def gauges(self) -> dict[str, dict[tuple[str, ...], float]]:
        """What /metrics shows of it: success, and how long each step took since the one before."""
        durations: dict[tuple[str, ...], float] = {
            (self.relay, mark.step.replace(" ", "_")): mark.seconds - before.seconds
            for before, mark in pairwise(self.timeline)
        }
        return {
            "postward_probe_success": {(self.relay,): float(self.accepted)},
            "postward_probe_step_duration_seconds": durations,
        }


@dataclass(slots=True)
class _Pending:
    relay: str
    submitted: float
    result: asyncio.Future[ProbeResult]
    marks: list[Mark] = field(default_factory=list)
    queue_id: str | None = None

    def mark(self, step: str, now: float, note: str = "") -> None:
        self.marks.append(Mark(step, max(0.0, now - self.submitted), note))

    def finish(self, outcome: str, step: str = "", cause: Cause | None = None, words: str = "") -> None:
        if not self.result.done():
            self.result.set_result(
                ProbeResult(self.relay, outcome, step, cause, words, tuple(self.marks), self.queue_id)
            )


class ProbeTracker:
    """Joins the log to the probes under way. An observer of the pipeline.

    Args:
        clock: monotonic seconds; lines are taken as written when they are read.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
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

    def expect(self, message_id: str, relay: str) -> asyncio.Future[ProbeResult]:
        """Look out for a probe that is submitted now."""
        now = self._clock()
        pending = _Pending(relay, now, asyncio.get_running_loop().create_future())
        pending.mark("submitted", now)
        if len(self._by_message_id) >= _MOST_PENDING:
            self.give_up(next(iter(self._by_message_id)))
        self._by_message_id[message_id] = pending
        return pending.result

    def give_up(self, message_id: str) -> None:
        """End a probe that has shown no result."""
        pending = self._by_message_id.pop(message_id, None)
        if pending is not None:
            self._by_queue_id.pop(pending.queue_id or "", None)
            pending.finish("lost", _NEXT_STEP.get(pending.marks[-1].step, "delivery"))

    def observe(self, record: Record, event: Event) -> None:
        """Take one line of the log."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(record, event)

    def _on_entry(self, _record: Record, event: ev.PickedUp | ev.ClientAccepted) -> None:
        if event.queue_id:
            _remember(self._picked_up, event.queue_id, self._clock())

    def _on_message_id(self, _record: Record, event: ev.MessageId) -> None:
        pending = self._by_message_id.get(event.message_id)
        if pending is None or pending.queue_id is not None:
            return
        pending.queue_id = event.queue_id
        self._by_queue_id[event.queue_id] = pending
        now = self._clock()
        pending.mark("picked up", self._picked_up.get(event.queue_id, now))
        pending.mark("queued", now, f"queue ID {event.queue_id}")

    def _on_active(self, _record: Record, event: ev.QueueActive) -> None:
        pending = self._by_queue_id.get(event.queue_id)
        if pending is not None:
            pending.mark("active", self._clock())

    def _on_tls(self, record: Record, event: ev.TlsEstablished) -> None:
        if event.direction == "to":
            _remember(self._tls, record.pid, (self._clock(), event))

    def _on_delivery(self, record: Record, event: ev.Delivery) -> None:
        pending = self._by_queue_id.get(event.queue_id)
        if pending is None:
            return
        session = self._tls.get(record.pid)
        if session is not None and session[0] >= pending.submitted:
            pending.mark("encrypted", session[0], f"{session[1].protocol} {session[1].cipher}")
        words = event.reason or ""
        if event.status == "sent":
            pending.mark("accepted", self._clock(), words)
            return
        step, cause = step_of(event), cause_of(event)
        pending.mark(event.status, self._clock(), words)
        self._finish(pending, "failed", step, cause, words)

    def _on_removed(self, _record: Record, event: ev.Removed) -> None:
        pending = self._by_queue_id.get(event.queue_id)
        if pending is not None:
            words = pending.marks[-1].note
            pending.mark("removed", self._clock())
            self._finish(pending, "accepted", words=words)

    def _finish(
        self, pending: _Pending, outcome: str, step: str = "", cause: Cause | None = None, words: str = ""
    ) -> None:
        self._by_queue_id.pop(pending.queue_id or "", None)
        self._by_message_id = {
            key: value for key, value in self._by_message_id.items() if value is not pending
        }
        pending.finish(outcome, step, cause, words)


def _remember(recent: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep the newest few."""
    recent.pop(key, None)
    recent[key] = value
    if len(recent) > _MOST_RECENT:
        del recent[next(iter(recent))]

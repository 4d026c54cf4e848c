"""Follows probe mails through the log, milestone by milestone. No I/O; the clock is an argument.

cleanup(8) joins a probe's Message-ID to a queue ID, and the queue ID to every later line. TLS sessions have no queue ID
and are joined by the process that delivers. The log has no line for the start of a connection, but the durations of
connection setup and transmission (`delays=a/b/c/d`), from which those milestones are calculated.

A probe gets one *verdict*, at most `Limits.timeout` seconds after submission ("late" if its fate is unknown by then).
It gets one *final outcome*, which is counted: accepted, failed at a step, late (it came after its time), lost (it never
came), and, where the receiving side is watched, arrived, duplicate, altered or returned. While the receiving side cannot be asked, a probe
that the relay accepted is accepted, and not lost.

Only a relay of the route can accept a probe, with the TLS that the settings require, as far as the log shows it. Another
hop that takes it, such as a content filter, is a milestone; the mail is followed behind it by its Message-ID, which it
keeps under a new queue ID.

Promise: one verdict and one final outcome a probe, also across restarts (`state`, `restore`). A probe that a crash may
have kept from being submitted has neither. All that is kept is bounded.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from postward.agent.probe.pending import Pending
from postward.agent.probe.result import Arrival, ProbeResult
from postward.agent.probe.route import Route
from postward.config.settings import Settings
from postward.parsers import Cause, Event, Record, cause_of, cause_of_diagnostic, parse_stamp, step_of
from postward.parsers import events as ev
from postward.parsers.dsn import Recipient
from postward.parsers.scrub import mask_addresses, printable

_MAX_RECENT = 512  # pickup lines and TLS sessions, remembered until a probe turns out to be theirs
_MAX_PENDING = 16  # probes of one route; the oldest is lost then
_MAX_ROUTES = 1024  # of a former run
_UNLOGGED = "by the settings: Postfix logs no login"
_MAX_LAG = 2.5  # seconds; an older line is dated by its stamp, which may lack fractions


@dataclass(frozen=True, slots=True)
class Limits:
    """The seconds after which a probe is late, and after which it is lost."""

    timeout: float = 60.0
    lost: float = 3600.0

    @classmethod
    def of_settings(cls, settings: Settings) -> "Limits":
        """Return the limits of the settings; a probe is never lost before it is late."""
        probe = settings.probe
        return cls(probe.timeout_seconds, max(probe.lost_after_seconds, probe.timeout_seconds))


def _ignore(_result: ProbeResult) -> None:
    return None


class ProbeTracker:
    """Joins log lines to the probes under way. An observer of the pipeline.

    Args:
        clock: seconds since the epoch.
        limits: when a probe is late, and when it is lost.
        on_verdict: called with the verdict of a probe of a former run, for which no caller waits.
        on_final: called once for each probe with its final outcome.

    Attributes:
        blind: why the receiving side cannot be asked now; None if it can.
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
        self.blind: str | None = None
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

    # --- from the submitter

    def expect(
        self, message_id: str, route: Route, *, arrives: bool = False, logs_tls: bool = False
    ) -> "asyncio.Future[ProbeResult]":
        """Expect a probe that is submitted now. The future is its verdict.

        Args:
            message_id: its Message-ID.
            route: the route that it should take.
            arrives: its arrival is reported (`arrived`), and it is not finished before.
            logs_tls: Postfix logs TLS sessions, so that a missing line shows a missing session.
        """
        verdict: asyncio.Future[ProbeResult] = asyncio.get_running_loop().create_future()
        same = [pending for pending in self._by_message_id.values() if pending.route == route]
        for pending in same[: len(same) - _MAX_PENDING + 1]:
            self._finish(pending, pending.unfinished("lost"))
        pending = Pending(message_id, route, self._clock(), arrives, verdict, logs_tls=logs_tls)
        self._by_message_id[message_id] = pending
        return verdict

    def submitted(self, message_id: str) -> None:
        """Note that Postfix has taken the probe; the log may already show more."""
        if pending := self._by_message_id.get(message_id):
            pending.handed = True

    def fail(self, message_id: str, cause: Cause, detail: str) -> None:
        """Note that Postfix has not taken the probe."""
        if pending := self._by_message_id.get(message_id):
            self._finish(pending, pending.result("failed", "submit", cause, detail))

    def overdue(self, message_id: str) -> None:
        """Give the verdict "late", unless there is one."""
        if pending := self._by_message_id.get(message_id):
            self._report(pending, self._unfinished(pending, "late"))

    def _unfinished(self, pending: Pending, outcome: str) -> ProbeResult:
        """Return the result of a probe that waits for something, at the end of a time."""
        if self.blind and pending.arrives and pending.relayed and pending.arrival is None:
            return pending.unseen(self.blind, self._limits.timeout)
        return pending.unfinished(outcome)

    def tick(self) -> None:
        """Give verdicts of probes that are late, and outcomes of those that are lost or have arrived."""
        now = self._clock()
        for pending in list(self._by_message_id.values()):
            age = now - pending.submitted
            arrived = pending.arrival is not None and pending.relayed
            if age >= self._limits.lost:
                if arrived:
                    self._finish(pending, pending.arrived(self._limits.timeout))
                elif pending.unconfirmed:
                    del self._by_message_id[pending.message_id]
                else:
                    self._finish(pending, self._unfinished(pending, "lost"))
            elif age >= self._limits.timeout and not pending.unconfirmed:
                if arrived:  # a second copy had time to arrive too
                    self._finish(pending, pending.arrived(self._limits.timeout))
                else:
                    self._report(pending, self._unfinished(pending, "late"))

    # --- from the receiving side

    def awaiting_arrival(self) -> list[str]:
        """Return the Message-IDs of probes whose arrival is awaited, whether the log shows them relayed or not."""
        return [pending.message_id for pending in self._by_message_id.values() if pending.arrives]

    def arrived(self, message_id: str, arrival: Arrival) -> None:
        """Take what the receiving side knows of a probe, which can be more each time."""
        pending = self._by_message_id.get(message_id)
        if pending is None or not arrival.at:
            return
        if pending.arrival is None and pending.relayed:
            pending.reach("arrived", min(arrival.at), arrival.note)
        pending.arrival = arrival
        if pending.relayed:
            self._report(pending, pending.arrived(self._limits.timeout))

    def returned(self, message_id: str, recipient: Recipient) -> bool:
        """Take a notification by which a probe came back. Return False if the probe is not followed, or not relayed yet."""
        pending = self._by_message_id.get(message_id)
        if pending is None or not pending.relayed:
            return False
        cause, detail = return_of(recipient)
        pending.reach("returned", self._clock(), detail)
        self._finish(pending, pending.result("accepted").as_returned(cause, detail))
        return True

    # --- from the log

    @property
    def is_idle(self) -> bool:
        """Whether no probe is under way, so that no line of the log matters."""
        return not self._by_message_id and not self._by_queue_id

    def observe(self, record: Record, event: Event) -> None:
        """Take one line of the log."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(record, event)

    def _moment(self, record: Record) -> float:
        """Return when a line was written: now, unless the log is being caught up."""
        now = self._clock()
        stamp = parse_stamp(record.stamp, datetime.fromtimestamp(now).astimezone())
        written = stamp.timestamp() if stamp else now
        return written if now - written > _MAX_LAG else now

    def _on_entry(self, record: Record, event: ev.PickedUp | ev.ClientAccepted) -> None:
        if event.queue_id and self._by_message_id:
            _remember(self._picked_up, event.queue_id, self._moment(record))

    def _on_message_id(self, record: Record, event: ev.MessageId) -> None:
        pending = self._by_message_id.get(event.message_id)
        if pending is None or pending.relayed:
            return
        came_back = pending.queue_id is not None
        pending.queue_id = event.queue_id
        self._by_queue_id[event.queue_id] = pending
        if came_back:
            return
        now = self._moment(record)
        pending.reach("picked up", self._picked_up.get(event.queue_id, now))
        pending.reach("queued", now, f"queue ID {event.queue_id}")

    def _on_active(self, record: Record, event: ev.QueueActive) -> None:
        pending = self._by_queue_id.get(event.queue_id)
        if pending is not None and pending.timeline[-1].step == "queued":  # not at each retry
            pending.reach("active", self._moment(record))

    def _on_tls(self, record: Record, event: ev.TlsEstablished) -> None:
        if event.direction == "to" and self._by_queue_id:
            _remember(self._tls, record.pid, (self._moment(record), event))

    def _on_delivery(self, record: Record, event: ev.Delivery) -> None:
        pending = self._by_queue_id.get(event.queue_id)
        if pending is None or pending.relayed:
            return
        now, reply = self._moment(record), event.reason or ""
        hop = pending.route.other_hop(event)
        if hop and event.status == "sent":
            pending.pass_on(event.queue_id, hop, now, reply)
            return
        setup, transmission = _delays(event)
        if event.relay != "none":
            pending.reach("connecting", now - transmission - setup, event.relay)
        at, session = self._tls.get(record.pid, (0.0, None))
        if session is not None and (at < pending.submitted - _MAX_LAG or session.peer != event.relay):
            session = None  # of another delivery
        if session is not None:
            pending.reach("encrypted", at, f"{session.protocol} {session.cipher}")
        if event.status == "sent":
            if fault := pending.route.tls_fault(event, session, logged=pending.logs_tls):
                self._finish(pending, pending.result("failed", "tls", *fault))
                return
            # It sends without a login only if it has no login for the relay, or the relay offers no AUTH.
            ready = ("authenticated", _UNLOGGED) if pending.route.login else ("greeted", "")
            pending.reach(ready[0], now - transmission, ready[1])
            pending.reach("accepted", now, reply)
            pending.relayed, pending.reply = True, reply
            return
        pending.reach(event.status, now, reply)
        failed = pending.result("failed", step_of(event), cause_of(event), reply)
        self._finish(pending, replace(failed, hop=hop))

    def _on_removed(self, record: Record, event: ev.Removed) -> None:
        pending = self._by_queue_id.pop(event.queue_id, None)
        if pending is None or (event.queue_id == pending.passed_id and not pending.relayed):
            return
        if not pending.relayed:
            self._finish(pending, pending.result("lost", "queue", None, "it was taken out of the queue"))
            return
        now = self._moment(record)
        pending.reach("removed", now)
        if not pending.arrives:
            self._finish(pending, pending.finished(now, self._limits.timeout))
        elif pending.arrival is not None:  # the receiving side was quicker than the log
            pending.reach("arrived", min(pending.arrival.at), pending.arrival.note)
            self._report(pending, pending.arrived(self._limits.timeout))

    # --- verdict and final outcome

    def _report(self, pending: Pending, verdict: ProbeResult) -> None:
        if pending.reported:
            return
        pending.reported = True
        if pending.verdict is not None and not pending.verdict.done():
            pending.verdict.set_result(verdict)
        else:
            self._on_verdict(verdict)

    def _finish(self, pending: Pending, outcome: ProbeResult) -> None:
        self._by_message_id.pop(pending.message_id, None)
        for queue_id in [key for key, owner in self._by_queue_id.items() if owner is pending]:
            del self._by_queue_id[queue_id]
        self._report(pending, outcome)
        self._on_final(outcome)

    # --- across restarts

    def state(self) -> list[dict[str, Any]]:
        """Return the probes under way, as JSON values."""
        return [pending.to_dict() for pending in self._by_message_id.values()]

    def restore(self, state: Iterable[Any]) -> None:
        """Take up the probes of a former run. Entries of another form are left out."""
        for entry in list(state)[-_MAX_PENDING * _MAX_ROUTES :]:
            try:
                pending = Pending.from_dict(entry)
            except (TypeError, ValueError, KeyError, AttributeError, IndexError):
                continue
            self._by_message_id[pending.message_id] = pending
            if pending.queue_id and "removed" not in {milestone.step for milestone in pending.timeline}:
                self._by_queue_id[pending.queue_id] = pending


def return_of(recipient: Recipient) -> tuple[Cause, str]:
    """Return why a mail came back: its cause and the words of the notification, which are a stranger's."""
    words = printable(mask_addresses(recipient.words))
    return cause_of_diagnostic(recipient.diagnostic, recipient.status), words


def _delays(event: ev.Delivery) -> tuple[float, float]:
    """Return the seconds of connection setup and of transmission (`delays=a/b/c/d`)."""
    try:
        _, _, setup, transmission = (float(part) for part in (event.delays or "").split("/"))
    except ValueError:
        return 0.0, 0.0
    return setup, transmission


def _remember(recent: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep the newest entries."""
    recent.pop(key, None)
    recent[key] = value
    if len(recent) > _MAX_RECENT:
        del recent[next(iter(recent))]

"""Events, probes, queue, drift → incidents: a state machine. No I/O; what time it is stands in the lines, or is an argument.

A failed delivery or a line of complaint is looked up in the catalogue and opens an incident, or counts for the one of its
key (symptom, Postfix instance, place). Several at once stand side by side. An incident closes by proof: a success on
the same path, never because nothing was heard. One that comes back within an hour opens again as the same one; if that
happens twice, only mail of the same senders proves anything.

Promise: everything is bounded whatever the log holds; `as_json` and `restore` carry it over a restart.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from postward.agent.incidents.catalog.table import SYMPTOMS, of_delivery, of_line
from postward.agent.incidents.context import CLUES, Clues
from postward.agent.incidents.evidence import line_of
from postward.agent.incidents.model import Change, Incident
from postward.agent.incidents.register import MOST_CLOSED, Register
from postward.agent.incidents.resolution import OF_LINES, WORDS, Success, line_proves, proves
from postward.agent.incidents.symptom import Resolution, Symptom
from postward.agent.metrics.labels import RelayNames
from postward.parsers import Cause, Event, Record, cause_of, parse_stamp, relay_host_of
from postward.parsers import events as ev
from postward.parsers.cause import DELIVERED, bare_reason
from postward.parsers.fields import split_peer
from postward.parsers.scrub import printable

_HERE = "this host"
_SUSPENDED = "delivery temporarily suspended: "
_LONGEST_PLACE = 255  # characters, as a host name has at most
_MAX_SENDERS = 10_000  # mails in flight whose sender is known

# Complaints that have no label of severity.
_TOLD_PLAINLY = (ev.MailSystem, ev.ClientVerdict, ev.ContentAction, ev.CompatibilityNotice)
# Failures that say something of one mail, and nothing of the relay.
_OF_THE_MAIL = frozenset({Cause.RECIPIENT_REJECTED, Cause.CONTENT, Cause.SIZE})
# What follows from something else and says nothing of why → the daemon that said why ("": the one it is about).
_CONSEQUENCES: Mapping[str, str] = {
    "daemon-throttled": "",
    "transport-failed": "",
    "daemon-fatal": "",
    "resolver-failed": "trivial-rewrite",
    "lookup-failed": "proxymap",
    "startup-failed": "master",
    "client-lookup-failed": "smtpd",
}
_DEAD = re.compile(r"(?:/|private/|public/)([\w-]+)(?:: bad command startup| socket: )")
_AFTERMATH = 120.0  # seconds; master waits for one minute before it starts a daemon again


class Incidents:
    """The incidents of a host.

    Args:
        names: the relays of the settings.
        clock: the time that year-less stamps are near to.
        keep_closed: how many closed ones are remembered.
    """

    def __init__(
        self, names: RelayNames, clock: Callable[[], datetime], *, keep_closed: int = MOST_CLOSED
    ) -> None:
        self._names = names
        self._clock = clock
        self._register = Register(keep_closed)
        self._clues = Clues()
        self._senders: OrderedDict[str, str] = OrderedDict()
        self._stamp = ("", 0.0)

    # What is known

    @property
    def open(self) -> list[Incident]:
        """Those that go on, worst first."""
        return sorted(self._register.going_on, key=lambda incident: incident.rank)

    @property
    def closed(self) -> list[Incident]:
        """Those that are over, the last one first."""
        return self._register.closed

    @property
    def opened_total(self) -> int:
        """How many have opened since counting began."""
        return self._register.opened_total

    @property
    def dropped(self) -> int:
        """How many found no room."""
        return self._register.dropped

    def take_changes(self) -> list[Change]:
        """What opened or closed since the last call."""
        return self._register.take_changes()

    # What happens

    def observe(self, record: Record, event: Event) -> None:
        """Take one line of the log. An observer of the pipeline."""
        kind = type(event)
        if kind is ev.Delivery:
            self._delivery(record, event)  # type: ignore[arg-type]
        elif kind is ev.QueueActive:
            self._sender(event)  # type: ignore[arg-type]
        elif kind is ev.Removed:
            self._senders.pop(event.queue_id, None)  # type: ignore[union-attr,arg-type]
        elif kind in OF_LINES:
            self._prove(record, OF_LINES[kind])
        elif kind is ev.Expired:
            self._expired(record, event)  # type: ignore[arg-type]
        elif kind is ev.MessageId or kind is ev.TlsEstablished:
            return
        else:
            self._line(record, event)

    def note(
        self, symptom: str, place: str, words: str | None, now: float, instance: str = "postfix"
    ) -> None:
        """Tell of a condition that the log does not show: drift, an unreadable log, a lost probe.

        Args:
            symptom: of the catalogue.
            place: what it is about.
            words: what is wrong; None if it is right (again).
            now: seconds since the epoch.
            instance: Postfix's instance.
        """
        self._register.note(symptom, place, words, now, instance)

    def keep(self, relays: Collection[str], untold: Mapping[str, str], now: float) -> None:
        """Close what nothing will ever prove to be over, because the settings are others.

        Args:
            relays: those that there are; no mail takes another.
            untold: symptom → why nobody tells of it any more.
            now: seconds since the epoch.
        """
        for incident in self._register.going_on:
            relay = incident.place if incident.symptom == "probe-late" else incident.relay
            if relay not in relays:
                self._register.close(incident, now, "the settings no longer have this relay")
            elif incident.symptom in untold:
                self._register.close(incident, now, untold[incident.symptom])

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return self._register.as_json()

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take over what `as_json` gave."""
        self._register.restore(data)

    # Deliveries

    def _sender(self, event: ev.QueueActive) -> None:
        self._senders[event.queue_id] = event.from_
        if len(self._senders) > _MAX_SENDERS:
            self._senders.popitem(last=False)

    def _expired(self, record: Record, event: ev.Expired) -> None:
        """A mail was given up for its age: what delayed it has lost it."""
        for incident in self._register.going_on:
            if event.queue_id in incident.mails:
                incident.lost += 1
                incident.show(line_of(record))

    def _delivery(self, record: Record, event: ev.Delivery) -> None:
        clues, first = self._clues.before(record, event.relay)
        if event.status in DELIVERED:
            if first:
                self._passed_over(record, event)
            if self._register:
                self._sent(record, event)
            return
        cause, relay = cause_of(event) or Cause.OTHER, self._names.of_delivery(event)
        told = f"status={event.status} relay={relay} {bare_reason(event.reason or '')}"
        symptom = of_delivery(record.daemon, cause, told, [clue.text for clue in clues])
        place = self._place(event)
        incident = (
            self._consequence(symptom, record)
            or self._suspended_by(record, event, cause, place)
            or self._register.opened(symptom, record.instance, place, self._time(record))
        )
        if incident is None:
            return
        sender = self._senders.get(event.queue_id)
        self._seen(incident, record)
        incident.cause = cause.value
        incident.relay = incident.relay if relay == "none" else relay
        incident.concerns(event.queue_id, sender, _domain(event.to))
        # The notice about a lost mail, which has no sender, is no further mail.
        if event.status == "bounced" and cause not in _OF_THE_MAIL and sender != "":
            incident.lost += 1
        for clue in clues:
            if symptom.clue is not None and symptom.clue.search(clue.text):
                incident.show(clue.line)
        incident.show(line_of(record))

    def _suspended_by(self, record: Record, event: ev.Delivery, cause: Cause, place: str) -> Incident | None:
        """The one incident for which qmgr(8) does not even try: error(8) repeats the reason alone, not what was said before."""
        if not (event.reason or "").startswith(_SUSPENDED):
            return None
        of_cause = [
            i for i in self._register.going_on if (i.instance, i.cause) == (record.instance, cause.value)
        ]
        same = [
            i for i in of_cause if place in {i.place, _HERE}
        ]  # a reason without a host does not say where
        return same[0] if len(same) == 1 else None

    def _passed_over(self, record: Record, event: ev.Delivery) -> None:
        """Mail that left by another host than the one that was tried first: a fallback, which will not do for ever."""
        relay, _, _ = split_peer(event.relay)
        for clue in self._clues.all_before(record):
            host, _, port = split_peer(clue.peer or "")
            if host is None or host == relay or not clue.text.startswith("connect to "):
                continue
            label = self._names.of_peer(clue.peer or "")
            place = (
                label if label != "other" else printable(f"{host}:{port}" if port else host)[:_LONGEST_PLACE]
            )
            incident = self._register.opened(SYMPTOMS["fallback"], record.instance, place, self._time(record))
            if incident is not None:
                self._seen(incident, record)
                incident.relay = label
                incident.show(clue.line)

    def _place(self, event: ev.Delivery) -> str:
        label = self._names.of_delivery(event)
        if label not in {"other", "none"}:
            return label
        meant = relay_host_of(event)
        if meant is None:
            return _HERE if label == "none" else label
        host, port = meant
        return printable(f"{host}:{port}" if port else host)[:_LONGEST_PLACE]

    def _sent(self, record: Record, event: ev.Delivery) -> None:
        place, now = self._place(event), self._time(record)
        left = event.relay not in {"local", "none"} and record.daemon not in {"local", "virtual"}
        sender = self._senders.get(event.queue_id)
        success = Success(record.daemon, place, event.queue_id, sender, _domain(event.to), left)
        for incident in self._register.going_on:
            if incident.instance == record.instance and proves(success, incident):
                self._register.close(incident, now, f"mail {event.queue_id} was sent by {place}")

    # Everything else

    def _line(self, record: Record, event: Event) -> None:
        if isinstance(event, CLUES):
            self._clues.add(record, event)
        if record.severity == "info" and not isinstance(event, _TOLD_PLAINLY):
            return
        symptom = of_line(record.daemon or record.instance, record.severity, record.text)
        if symptom is None:
            return
        if (incident := self._consequence(symptom, record)) is None:
            incident = self._register.opened(
                symptom, record.instance, _subject(symptom, record), self._time(record)
            )
        if incident is not None:
            self._seen(incident, record)
            incident.show(line_of(record))

    def _consequence(self, symptom: Symptom, record: Record) -> Incident | None:
        """The incident of which this is a mere consequence: what a daemon said just before it died, for instance."""
        daemon = _CONSEQUENCES.get(symptom.id)
        if daemon is None:
            return None
        if not daemon:
            found = _DEAD.search(record.text)
            daemon = found[1] if found else record.daemon
        since = self._time(record) - _AFTERMATH
        reasons = [
            incident
            for incident in self._register.going_on
            if incident.instance == record.instance
            and incident.last >= since
            and incident.symptom not in _CONSEQUENCES
            and SYMPTOMS[incident.symptom].cause is None
            and any(f"/{daemon}[" in line for line in incident.evidence)
        ]
        return max(reasons, key=lambda incident: incident.last) if reasons else None

    def _prove(self, record: Record, proof: Resolution) -> None:
        if not self._register:
            return
        now = self._time(record)
        for incident in self._register.going_on:
            if incident.instance == record.instance and line_proves(proof, incident, now):
                self._register.close(incident, now, WORDS[proof])

    def _seen(self, incident: Incident, record: Record) -> None:
        incident.last = max(incident.last, self._time(record))
        incident.attempts += record.repeat
        incident.daemon = incident.daemon or record.daemon

    def _time(self, record: Record) -> float:
        if record.stamp != self._stamp[0]:
            now = self._clock()
            moment = parse_stamp(record.stamp, now)
            self._stamp = (record.stamp, (moment or now).timestamp())
        return self._stamp[1]


def _subject(symptom: Symptom, record: Record) -> str:
    """The place of a complaint: a daemon dies alone; the rest is about the host."""
    return record.daemon if symptom.proof is Resolution.SENT and record.daemon else _HERE


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()

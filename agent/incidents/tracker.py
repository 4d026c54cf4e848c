"""Log events and conditions → incidents: a state machine. No I/O; the time is in the lines, or an argument.

A failed delivery or a complaint is looked up in the catalogue. It opens an incident, or counts for the open one of
the same key: symptom, Postfix instance, place. Several incidents can be open at once. An incident closes only by
proof, a success on the same path (`resolution.py`), and never because the log is silent.

Promise: memory is bounded for any log; `state` and `restore` carry all incidents over a restart.
"""

import ipaddress
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from operator import itemgetter
from typing import Any, ClassVar, Final, NamedTuple

from postward.agent.incidents.catalog.symptom import Resolution, Symptom, proves_cause, says_why
from postward.agent.incidents.catalog.table import SYMPTOMS, UNEXPLAINED, of_context, of_delivery, of_line
from postward.agent.incidents.context import ContextLine, ProcessContext, is_context
from postward.agent.incidents.evidence import line_of
from postward.agent.incidents.model import MAX_EVIDENCE, Change, Effect, Incident, Server
from postward.agent.incidents.resolution import LINE_PROOFS, PROOF_TEXTS, Success, line_proves, proves
from postward.agent.incidents.store import MAX_CLOSED, SUSPICION, IncidentStore
from postward.agent.metrics.labels import RelayNames
from postward.agent.senders.window import Senders
from postward.parsers import Cause, Event, Record, cause_of, classify, next_hop, parse_stamp
from postward.parsers import events as ev
from postward.parsers.cause import ABOUT_ONE_MAIL, DELIVERED, SUSPENDED, bare_reason, without_output
from postward.parsers.fields import split_peer
from postward.parsers.scan import JOINED, Block, Line, Wanted
from postward.parsers.scrub import printable
from postward.parsers.strangers import own_words

_HERE: Final = "this host"
_MAX_PLACE: Final = 255  # characters, as in a host name
_MAX_SENDERS: Final = 10_000  # mails in flight whose sender is known

# Complaints that Postfix logs with severity info.
_INFO_COMPLAINTS: Final = (ev.MailSystem, ev.ClientVerdict, ev.ContentAction, ev.CompatibilityNotice)
# Symptoms that follow from another complaint → the daemons that can have logged it; "" for the daemon that the line is
# about, "*" for any daemon whose exit qmgr(8) or master(8) reported.
_CONSEQUENCES: Final[Mapping[str, str]] = {
    "daemon-throttled": "",
    "transport-failed": "",
    "daemon-fatal": "",
    "daemon-file": "",
    "resolver-failed": "trivial-rewrite",
    "lookup-failed": "proxymap",
    "startup-failed": "master",
    "client-lookup-failed": "smtpd",
    "smtpd-misconfigured": "smtpd",
    "pickup-write": "cleanup|postdrop",  # sendmail(1) gives up after its postdrop(1)
    "tls-policy": "smtp",
    "transport-unavailable": "*",
    "daemon-crashed": "",
}
# Symptoms of a relay's probes; their place is the relay.
OF_PROBES: Final = frozenset(
    {"probe-late", "probe-not-arrived", "probe-returned", "probe-in-spam", "probe-unauthenticated"}
)
# Conditions of the host → the symptoms, and the words of lines, that follow from them while they last.
_EXPLAINS: Final[Mapping[str, tuple[frozenset[str], str]]] = {
    "postfix-down": (
        frozenset({"postfix-not-running", "command-failed", "pickup-missing"}),
        "",
    ),
    "permissions": (frozenset({"submission-forbidden"}), "Permission denied"),
    "log-unreadable": (OF_PROBES, ""),
    "log-silent": (OF_PROBES, ""),
}
# Symptoms that follow only from these.
_ORIGINS: Final[Mapping[str, frozenset[str]]] = {
    "tls-policy": frozenset({"tls-policy-entry", "tls-policy-table"})
}
# Symptoms by which qmgr(8) and master(8) report that a daemon exited.
_OF_AN_EXIT: Final = frozenset({"transport-failed", "daemon-throttled", "transport-unavailable"})
_EXITED_DAEMON: Final = re.compile(
    r"(?:/|private/|public/)([\w-]+)(?:: bad command startup| socket: | pid (\d+) killed by signal)"
)
# Causes and conditions that come from too much mail → the windows in which one source can stand out, the first first.
_OF_VOLUME: Final[Mapping[str, tuple[str, ...]]] = {
    Cause.QUOTA: ("day", "hour"),
    Cause.RATE_LIMIT: ("hour", "day"),
    Cause.BLOCKED: ("day", "hour"),
    "mail-flood": ("hour", "day"),
    "relay-limit-near": ("day", "hour"),
}
# Networks of hosts that can be clients of this one: RFC 1918, 4193, 6598, loopback and link-local.
_OWN_NETWORKS: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip
_NO_ORIGINS: Final = frozenset(_CONSEQUENCES) - {"daemon-crashed", "daemon-fatal", "daemon-file"}
_SUPERVISORS: Final = frozenset({"qmgr", "master"})
_CONSEQUENCE_SECONDS: Final = 120.0  # master(8) throttles the restart of a daemon for one minute


SenderOf = Callable[[str], str | None]  # by queue ID
_ARRIVALS: Final = (ev.PickedUp, ev.ClientAccepted)
_end: Final = itemgetter(0)


class Delivered(NamedTuple):
    """A successful delivery."""

    daemon: str
    pid: str | int | None
    instance: str
    stamp: str
    queue_id: str
    to: str
    relay: str
    reason: str | None

    @property
    def process(self) -> tuple[str, str, str | int | None]:
        """Instance, daemon and number of its process."""
        return self.instance, self.daemon, self.pid

    @classmethod
    def of(cls, record: Record, event: ev.Delivery) -> "Delivered":
        """Return the delivery of a line."""
        header = record.daemon, record.pid, record.instance, record.stamp
        return cls(*header, event.queue_id, event.to, event.relay, event.reason)


class _Senders:
    """The senders of a block's messages by queue ID, which no message of the block reuses.

    Args:
        known: the senders before the block, oldest first.
    """

    def __init__(self, block: Block, known: dict[str, str]) -> None:
        self._known = known
        self._active = block.rows(ev.QueueActive, "queue_id", "from_")
        self._ends = block.ends(ev.QueueActive)
        self._removed = block.column(ev.Removed, "queue_id")

    @cached_property
    def _latest(self) -> Mapping[str, tuple[int, str]]:
        pairs = zip(self._ends, self._active, strict=True)
        return {queue_id: (end, sender) for end, (queue_id, sender) in pairs}

    def of(self, queue_id: str, before: int) -> str | None:
        """Return the sender of a message at a place of the block; None if it is not known."""
        end, sender = self._latest.get(queue_id, (0, None))
        if end > before:  # the message became active again later
            rows = zip(self._active, self._ends, strict=True)
            earlier = [row[1] for row, end in rows if row[0] == queue_id and end < before]
            sender = earlier[-1] if earlier else None
        return self._known.get(queue_id) if sender is None else sender

    def settle(self) -> None:
        """Keep what is known after the block."""
        self._known.update(self._active)
        for queue_id in self._removed:
            self._known.pop(queue_id, None)
        while len(self._known) > _MAX_SENDERS:
            del self._known[next(iter(self._known))]


class _Proofs:
    """The lines of a block that can prove that an incident is over, in order.

    Attributes:
        passed: the end of the last line that was taken otherwise; proofs before it are skipped.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self._place = 0
        self.passed = 0

    @cached_property
    def _lines(self) -> list[tuple[int, type[Any], int]]:
        """End, kind, and place among the lines of that kind."""
        block = self._block
        statuses = zip(block.ends(ev.Delivery), block.column(ev.Delivery, "status"), strict=True)
        sent = [
            (end, ev.Delivery, place) for place, (end, status) in enumerate(statuses) if status in DELIVERED
        ]
        arrived = [(end, kind, 0) for kind in _ARRIVALS for end in block.ends(kind)]
        return sorted((*sent, *arrived), key=_end)

    def next(self, before: int) -> tuple[int, type[Any], int] | None:
        """Return the next line that ends before a place: its end, its kind, and its place among them."""
        if self._place < len(self._lines) and self._lines[self._place][0] < self.passed:
            self._place = bisect_right(self._lines, self.passed, key=_end)
        if self._place == len(self._lines) or self._lines[self._place][0] >= before:
            return None
        self._place += 1
        return self._lines[self._place - 1]

    def delivered(self, place: int) -> Delivered:
        """Return a delivery by its place among those of the block."""
        return Delivered(*(self._block.column(ev.Delivery, name)[place] for name in Delivered._fields))


class IncidentTracker:
    """The incidents of a host.

    Args:
        names: the relays of the settings.
        clock: the time that stamps without a year are near to.
        keep_closed: number of closed incidents to remember.
        suspicion: seconds after which a single failed attempt is an incident, if it is neither repeated nor healed.
        senders: who sends; it takes the lines before the tracker does.
    """

    wanted: ClassVar[Wanted] = {
        **dict.fromkeys(JOINED, ("queue_id",)),
        ev.Delivery: ("status", *Delivered._fields),
        ev.QueueActive: ("queue_id", "from_"),
    }

    def __init__(
        self,
        names: RelayNames,
        clock: Callable[[], datetime],
        *,
        keep_closed: int = MAX_CLOSED,
        suspicion: float = SUSPICION,
        senders: Senders | None = None,
    ) -> None:
        self._sources = senders
        self._names = names
        self._clock = clock
        self._store = IncidentStore(keep_closed, suspicion)
        self._context = ProcessContext()
        self._senders: dict[str, str] = {}  # by queue ID, oldest first
        self._stamp: tuple[str | None, float] = (None, 0.0)

    @property
    def open(self) -> list[Incident]:
        """The open incidents, worst first; also suspicions, which are not announced yet."""
        return sorted(self._store.all_open, key=lambda incident: incident.rank)

    @property
    def closed(self) -> list[Incident]:
        """The closed incidents, latest first."""
        return self._store.all_closed

    @property
    def opened_total(self) -> int:
        """Number of incidents that were confirmed, for the first time or again."""
        return self._store.opened_total

    @property
    def dropped_total(self) -> int:
        """Number of incidents forgotten or not opened for lack of room."""
        return self._store.dropped_total

    def take_changes(self) -> list[Change]:
        """Return the incidents that were confirmed or closed since the last call."""
        return self._store.take_changes()

    def state(self) -> dict[str, Any]:
        """Return the incidents as JSON values, for the checkpoint."""
        return self._store.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the incidents that `state` returned."""
        self._store.restore(state)

    def observe_block(self, block: Block) -> None:
        """Take a block of lines: failures and complaints, in order, and successes only while they may be a proof."""
        if block.reuses_queue_ids:
            for line in block.all_lines:
                self._take(line, self._senders.get)
            return
        statuses = zip(block.ends(ev.Delivery), block.column(ev.Delivery, "status"), strict=True)
        failed = [end for end, status in statuses if status not in DELIVERED]
        others = {line.end: line for line in block.others}
        senders, proofs = _Senders(block, self._senders), _Proofs(block)
        for end in sorted((*others, *failed)):
            self._await_proof(block, proofs, senders, end)
            line = others.get(end) or block.line(end)
            self._take(line, partial(senders.of, before=end))
            if line.event is not None:
                proofs.passed = end
        self._await_proof(block, proofs, senders, len(block.text) + 1)
        senders.settle()

    def _await_proof(self, block: Block, proofs: _Proofs, senders: _Senders, before: int) -> None:
        """Take successes up to a place, until nothing waits for one."""
        while self._is_waiting and (line := proofs.next(before)) is not None:
            end, kind, place = line
            delivered = proofs.delivered(place) if kind is ev.Delivery else None
            if delivered is not None and not self._context.is_first(*delivered.process):
                if self._store.has_open:
                    self._succeeded(delivered, senders.of(delivered.queue_id, end))
            elif delivered is not None or any(map(self._store.awaiting, LINE_PROOFS[kind])):
                self._take(block.line(end), partial(senders.of, before=end))

    def _take(self, line: Line, sender_of: SenderOf) -> None:
        if line.record is None:
            self.observe_foreign(line.text)
        elif line.event is not None:
            self._observe(line.record, line.event, sender_of)

    @property
    def _is_waiting(self) -> bool:
        return self._store.has_open or self._context.is_waiting

    def observe(self, record: Record, event: Event) -> None:
        """Take a recognised log line."""
        self._observe(record, event, self._senders.get)

    def _observe(self, record: Record, event: Event, sender_of: SenderOf) -> None:
        match event:
            case ev.Delivery():
                self._delivery(record, event, sender_of)
            case ev.QueueActive():
                self._remember_sender(event.queue_id, event.from_)
            case ev.Removed():
                self._senders.pop(event.queue_id, None)
            case ev.PickedUp() | ev.ClientAccepted() | ev.MasterStarted() | ev.MasterReloaded():
                for proof in LINE_PROOFS[type(event)]:
                    self._prove(record, proof)
            case ev.Expired():
                self._expired(record, event)
            case ev.MessageId() | ev.TlsEstablished():
                pass
            case ev.PluginNote():
                self._of_plugin(line_of(record))
            case _:
                self._line(record, event)

    def observe_foreign(self, line: str) -> None:
        """Take a line of another program: a SASL plug-in says why a login fails."""
        self._of_plugin(line)

    def _of_plugin(self, line: str) -> None:
        """Remember a failure of a SASL plug-in. It may be logged after the delivery that failed."""
        context = self._context.add_plugin(line)
        if context is None:
            return
        for incident in self._store.all_open:
            if incident.cause == Cause.AUTH_MECHANISM and says_why(SYMPTOMS[incident.symptom], context.text):
                incident.add_evidence(context.line, context.daemon)

    def observe_excerpt(self, records: Iterable[tuple[Record, Event]]) -> None:
        """Take complaints that no delivery followed: an excerpt of a log may end before it, or leave it out."""
        for record, event in records:
            reason = event.reason if isinstance(event, ev.Attempt) else None
            if reason is not None:
                symptom = of_delivery(record.daemon, classify(reason, ""), f"status=deferred {reason}")
            else:
                symptom = of_context(own_words(record.text, event)) or SYMPTOMS[UNEXPLAINED]
            place = Server.in_text(record.text)
            name = _host_and_port(place.host, int(place.port or 0)) if place else record.daemon
            incident = self._store.open(symptom, record.instance, name, self._time(record))
            if incident is not None:
                self._count(incident, record)
                incident.add_evidence(line_of(record), record.daemon, place)

    def set_condition(
        self, symptom: str, place: str, problem: str | None, now: float, instance: str = "postfix"
    ) -> None:
        """Report a condition that no log line shows: drift, an unreadable log, a lost probe.

        Args:
            symptom: identifier in the catalogue.
            place: what the condition is about.
            problem: what is wrong, as text; None if nothing is.
            now: seconds since the epoch.
            instance: name of the Postfix instance.
        """
        if problem is None:
            if (incident := self._store.find(symptom, instance, place)) is not None:
                self._store.close(incident, now, "the condition is over")
            return
        incident = self._store.open(SYMPTOMS[symptom], instance, place, now)
        if incident is not None:
            incident.evidence[:1] = [problem]
            self._absorb_followers(incident)
            incident.last = now
            incident.attempts = max(incident.attempts, 1)
            self._note_share(incident, symptom)

    def _absorb_followers(self, condition: Incident) -> None:
        """Join the incidents of lines that were logged before the condition was noticed."""
        for other in self._store.all_open if condition.symptom in _EXPLAINS else ():
            is_complaint = other is not condition and other.cause is None
            same_host = is_complaint and other.instance == condition.instance
            if same_host and _follows(condition.symptom, other.symptom, other.evidence):
                self._store.merge(other, condition)

    def confirm_lasting(self, now: float) -> None:
        """Confirm single failures that have lasted a minute; `now` is in seconds since the epoch."""
        self._store.confirm_lasting(now)

    def close_unobservable(self, relays: Collection[str], unobserved: Mapping[str, str], now: float) -> None:
        """Close the incidents that no proof can end under the present settings.

        Args:
            relays: labels of the relays; mail goes through no other.
            unobserved: symptom → why it is not observed any more.
            now: seconds since the epoch.
        """
        for incident in self._store.all_open:
            relay = incident.place if incident.symptom in OF_PROBES else incident.relay
            if relay not in relays:
                self._store.close(incident, now, "the settings no longer have this relay")
            elif incident.symptom in unobserved:
                self._store.close(incident, now, unobserved[incident.symptom])

    # Deliveries

    def _remember_sender(self, queue_id: str, sender: str) -> None:
        self._senders[queue_id] = sender
        if len(self._senders) > _MAX_SENDERS:
            del self._senders[next(iter(self._senders))]

    def _expired(self, record: Record, event: ev.Expired) -> None:
        """Count a mail that was given up for its age as lost by the incidents that delayed it."""
        for incident in self._store.all_open:
            if event.queue_id in incident.mails:
                incident.lost += 1
                incident.add_evidence(line_of(record), record.daemon)

    def _delivery(self, record: Record, event: ev.Delivery, sender_of: SenderOf) -> None:
        context, is_first = self._context.before(record, event.relay)
        if event.status not in DELIVERED:
            self._failed(record, event, context, sender_of(event.queue_id))
            return
        if is_first:
            self._note_fallback(record, event.relay)
        if self._store.has_open:
            self._succeeded(Delivered.of(record, event), sender_of(event.queue_id))

    def _failed(
        self, record: Record, event: ev.Delivery, context: list[ContextLine], sender: str | None
    ) -> None:
        cause, relay = cause_of(event) or Cause.OTHER, self._names.of_delivery(event, record.instance)
        reason = without_output(bare_reason(event.reason or ""))
        if f" name={_domain(event.to)} type=" in reason:
            reason = f"recipient-domain {reason}"
        text = f"status={event.status} relay={relay} {reason}"
        symptom = of_delivery(record.daemon, cause, text, [line.text for line in context])
        place = self._place(event.relay, event.reason, record.instance)
        incident = (
            self._origin(symptom, record)
            or self._suspended_by(record, event, cause, place)
            or self._store.suspect(symptom, record.instance, place, self._time(record))
        )
        if incident is None:
            return
        self._count(incident, record)
        incident.cause = cause.value
        incident.relay = incident.relay if relay == "none" else relay
        incident.add_mail(event.queue_id, sender, _domain(event.to))
        # The empty sender is that of a bounce: the notice about a lost mail is not another lost mail.
        is_of_mail = cause in ABOUT_ONE_MAIL or symptom.effect is Effect.REJECTED
        if event.status == "bounced" and not is_of_mail and sender != "":
            incident.lost += 1
        if cause is Cause.AUTH_MECHANISM:
            context = [*self._context.of_plugins, *context]
        self._quote(symptom, incident, context)
        server = Server.of_peer(event.relay) or Server.in_text(event.reason or "")
        incident.add_evidence(line_of(record), record.daemon, server)
        self._note_share(incident, cause)
        if incident.attempts > 1 or event.status == "bounced":  # a bounce has no next attempt
            self._store.confirm(incident)

    def _note_share(self, incident: Incident, reason: str) -> None:
        """Note who sends most, if the cause or condition can come from too much mail."""
        windows = _OF_VOLUME.get(reason)
        if windows is not None and self._sources is not None:
            incident.share = self._sources.share(windows, incident.last) or incident.share

    def _quote(self, symptom: Symptom, incident: Incident, context: Sequence[ContextLine]) -> None:
        """Add the earlier lines that say why: those that the catalogue knows first, then complaints if there is room."""
        known = [line for line in context if says_why(symptom, line.text)]
        for line in known:
            incident.add_evidence(line.line, line.daemon, line.server)
        for line in context:
            if line not in known and line.is_complaint and len(incident.evidence) < MAX_EVIDENCE - 1:
                incident.add_evidence(line.line, line.daemon, line.server)

    def _suspended_by(self, record: Record, event: ev.Delivery, cause: Cause, place: str) -> Incident | None:
        """Return the only incident for which qmgr(8) defers this mail without an attempt.

        error(8) repeats the reason, but not the lines before it that would name the symptom.
        """
        if not (event.reason or "").startswith(SUSPENDED):
            return None
        # A reason without a host does not say where.
        incidents = [
            incident
            for incident in self._store.all_open
            if (incident.instance, incident.cause) == (record.instance, cause.value)
            and place in {incident.place, _HERE}
        ]
        return incidents[0] if len(incidents) == 1 else None

    def _note_fallback(self, record: Record, relay: str) -> None:
        """Note that mail left through another relay than the one that Postfix tried first."""
        host_used, _, _ = split_peer(relay)
        for line in self._context.all_before(record):
            host, _, port = split_peer(line.peer or "")
            if host is None or host == host_used or not line.text.startswith("connect to "):
                continue
            label = self._names.of_peer(line.peer or "")
            place = label if label != "other" else _host_and_port(host, port)
            incident = self._store.open(SYMPTOMS["fallback"], record.instance, place, self._time(record))
            if incident is not None:
                self._count(incident, record)
                incident.relay = label
                incident.add_evidence(line.line, line.daemon, line.server)

    def _succeeded(self, mail: Delivered, sender: str | None) -> None:
        place = self._place(mail.relay, mail.reason, mail.instance)
        left = mail.relay not in {"local", "none"} and mail.daemon not in {"local", "virtual"}
        success = Success(mail.daemon, place, mail.queue_id, sender, _domain(mail.to), left)
        for incident in self._store.all_open:
            if incident.instance == mail.instance and proves(success, incident):
                now = self._moment(mail.stamp)
                self._store.close(incident, now, f"mail {mail.queue_id} was sent by {place}")

    def _place(self, relay: str, reason: str | None, instance: str) -> str:
        label = self._names.of(relay, reason, instance)
        if label not in {"other", "none"}:
            return label
        if (hop := next_hop(relay, reason)) is not None:
            return _host_and_port(*hop)
        return _HERE if label == "none" else label

    # Other lines

    def _line(self, record: Record, event: Event) -> None:
        if is_context(record, event):
            self._context.add(record, event)
        if record.severity == "info" and not isinstance(event, _INFO_COMPLAINTS):
            return
        words = own_words(record.text, event)
        symptom = of_line(record.daemon or record.instance, record.severity, words)
        if symptom is None or _is_of_stranger(symptom, event):
            return
        incident = self._origin(symptom, record) or self._store.open(
            symptom, record.instance, _subject(symptom, record), self._time(record)
        )
        if incident is None:
            return
        self._count(incident, record)
        for line in self._context.all_before(record):
            if proves_cause(symptom, line.text):
                incident.add_evidence(line.line, line.daemon)
        incident.add_evidence(line_of(record), record.daemon, Server.in_text(words))
        if symptom.id == "daemon-crashed" or record.severity in {"fatal", "panic"}:
            exited = _EXITED_DAEMON.search(words)
            incident.daemons.add(exited[1] if exited else record.daemon)
            self._absorb_exits(incident, exited[1] if exited else record.daemon, record)

    def _absorb_exits(self, incident: Incident, daemon: str, record: Record) -> None:
        """Join the incidents in which qmgr(8) and master(8) reported the exit of a daemon before its reason was logged."""
        named = re.compile(rf"/{re.escape(daemon)}\b(?!\[)")
        for other in self._recent(record):
            if (
                other is not incident
                and other.symptom in _OF_AN_EXIT
                and any(named.search(line) for line in other.evidence)
            ):
                self._store.merge(other, incident)

    def _recent(self, record: Record) -> list[Incident]:
        """Return the open incidents that can have the same origin as a line."""
        since = self._time(record) - _CONSEQUENCE_SECONDS
        return [
            incident
            for incident in self._store.all_open
            if incident.instance == record.instance and incident.last >= since
        ]

    def _origin(self, symptom: Symptom, record: Record) -> Incident | None:
        """Return the incident that this symptom follows from, such as the complaint of a daemon that then exited."""
        for condition in _EXPLAINS if symptom.cause is None else ():
            incident = self._store.find(condition, record.instance, _HERE)
            if incident is not None and _follows(condition, symptom.id, [record.text]):
                return incident
        daemon = _CONSEQUENCES.get(symptom.id)
        if daemon is None:
            return None
        exited = _EXITED_DAEMON.search(record.text)
        if not daemon:
            daemon = exited[1] if exited else record.daemon
        # A crash follows from what the same process logged before it.
        process = f"/{daemon}[{exited[2]}]" if exited and exited[2] else ""
        allowed = _ORIGINS.get(symptom.id)
        origins = [
            incident
            for incident in self._recent(record)
            if (incident.symptom in allowed if allowed else incident.symptom not in _NO_ORIGINS)
            and SYMPTOMS[incident.symptom].cause is None
            and (incident.daemons & (_SUPERVISORS if daemon == "*" else set(daemon.split("|"))))
            and (not process or any(process in line for line in incident.evidence))
        ]
        return max(origins, key=lambda incident: incident.last, default=None)

    def _prove(self, record: Record, proof: Resolution) -> None:
        for incident in self._store.awaiting(proof):
            if incident.instance == record.instance and line_proves(proof, incident, self._time(record)):
                self._store.close(incident, self._time(record), PROOF_TEXTS[proof])

    def _count(self, incident: Incident, record: Record) -> None:
        incident.last = max(incident.last, self._time(record))
        incident.attempts += record.repeat
        incident.daemon = incident.daemon or record.daemon

    def _time(self, record: Record) -> float:
        return self._moment(record.stamp)

    def _moment(self, stamp: str) -> float:
        if stamp != self._stamp[0]:
            now = self._clock()
            self._stamp = (stamp, (parse_stamp(stamp, now) or now).timestamp())
        return self._stamp[1]


def _follows(condition: str, symptom: str, lines: Iterable[str]) -> bool:
    """Whether a complaint follows from a condition of the host."""
    symptoms, words = _EXPLAINS[condition]
    return symptom in symptoms or (bool(words) and any(words in line for line in lines))


def _is_of_stranger(symptom: Symptom, event: Event) -> bool:
    """Whether a client that is refused is not one of this host's networks: strangers try every open port."""
    if symptom.id != "client-not-allowed" or not isinstance(event, ev.ClientVerdict):
        return False
    address = split_peer(event.client)[1] or ""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(parsed in network for network in _OWN_NETWORKS)


def _subject(symptom: Symptom, record: Record) -> str:
    """Return the place of a complaint: the daemon if its next delivery is the proof, else this host."""
    return record.daemon if symptom.resolution is Resolution.SENT and record.daemon else _HERE


def _host_and_port(host: str, port: int | None) -> str:
    return printable(f"{host}:{port}" if port else host)[:_MAX_PLACE]


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()

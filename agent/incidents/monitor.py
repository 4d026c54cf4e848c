"""The incidents of a running agent: checks conditions that no log line shows, and reports what opens or closes.

Diagnoses need facts about the host. They are read in a thread when a new incident opens, at most every ten seconds when
known ones come and go, and once a minute while one is open. Nothing here delays the reading of the log.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from postward.agent.beat import next_beat
from postward.agent.enforce.state import enforcement_as_shown, is_in_sync, known_drift, restart_under_way
from postward.agent.incidents.catalog.symptom import Offer
from postward.agent.incidents.diagnosis import (
    diagnose,
    drift_first,
    for_settings_file,
    proofs_of,
    to_dict,
    visible_drift,
)
from postward.agent.incidents.history import DeliveryHistory
from postward.agent.incidents.mail import mail_notice
from postward.agent.incidents.model import Incident, IncidentRow
from postward.agent.incidents.notify import Notifier
from postward.agent.incidents.quiet import Quiet
from postward.agent.incidents.render import MAIL_STOPS, one_line, where
from postward.agent.incidents.services import Notice
from postward.agent.incidents.tracker import OF_PROBES, IncidentTracker
from postward.agent.metrics.labels import NO_RELAYS, RelayNames
from postward.agent.metrics.tally import Counts
from postward.agent.parts import Gauges, Part
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.rows import union
from postward.agent.senders.part import user_of
from postward.agent.senders.share import Share
from postward.agent.senders.window import Senders
from postward.agent.text import local_now
from postward.config.lint import Finding, HostFacts
from postward.config.settings import Settings
from postward.parsers.scan import Block, Wanted
from postward.parsers.scrub import mask_addresses

_FACTS_INTERVAL: Final = 60.0  # seconds
_FACTS_PAUSE: Final = 10.0  # seconds: reading them costs several child processes
_QUEUE_INTERVAL: Final = 30.0  # seconds between two listings of the queue
_MAX_PICKUP_SECONDS: Final = 120.0  # that a mail may wait in maildrop
_STEP: Final = 5.0  # seconds by which the wall clock moves at once
_HERE: Final = "this host"
BLINDNESS: Final = ("log-unreadable", "log-silent")  # symptoms of a log that shows no deliveries
_log = logging.getLogger("postward.incidents")


@dataclass
class _HostState:
    """The facts known about the host, and the monotonic time when they were read."""

    facts: HostFacts = field(default_factory=HostFacts)
    findings: list[Finding] = field(default_factory=list)
    read_at: float = -math.inf


class Condition(NamedTuple):
    """A condition at this moment.

    Attributes:
        symptom: identifier in the catalogue.
        place: what it is about.
        problem: what is wrong, as text; None if nothing is.
    """

    symptom: str
    place: str
    problem: str | None


class ClockSteps:
    """Notices that the wall clock was set. Ask it often: several steps between two questions are one."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self._last = -math.inf  # monotonic

    def is_recent(self, seconds: float) -> bool:
        """Return whether the clock was set within the last seconds."""
        now = time.monotonic()
        offset = time.time() - now
        if abs(offset - self._offset) > _STEP:
            self._last = now
        self._offset = offset
        return now - self._last < seconds


class IncidentMonitor(Part):
    """Incidents, the delivery history of a day, and notifications.

    Args:
        settings: the relays, and where notifications go.
        postfix: the instance whose facts are read.
        names: the relays.
        read_gauges: returns the present gauges.
        read_conditions: returns what the parts of the agent find wrong (`Part.conditions`).
        refresh_queue: lists the queue.
        save: awaited when incidents changed: after a crash, only the checkpoint has those that the log does not show.
        relays: returns the saved state of each relay, by name.
        probe_again: sends the probes now.
        caught_up: whether the log has been read to its end; nothing is reported before.
        throttle: of the logins at relays that get notifications by mail.
        returned_probes: returns why the probes of each relay come back; None if they do not.
        instance: the name of the instance in the log.
        instance_file: its settings file; None for the main one, which commands read by default.
        senders: who sends; it takes the lines before this part does.
    """

    name = "incidents"

    def __init__(
        self,
        settings: Settings,
        postfix: Postfix,
        names: RelayNames,
        read_gauges: Callable[[], Gauges],
        read_conditions: Callable[[], Mapping[str, str | None]],
        refresh_queue: Callable[[], Awaitable[None]],
        save: Callable[[], Awaitable[None]],
        relays: Callable[[], Mapping[str, Any]] = dict,
        probe_again: Callable[[], None] = lambda: None,
        caught_up: Callable[[], bool] = lambda: True,
        throttle: LoginThrottle | None = None,
        returned_probes: Callable[[], Mapping[str, str | None]] = dict,
        instance: str = "postfix",
        instance_file: Path | None = None,
        senders: Senders | None = None,
    ) -> None:
        self._settings = settings
        self._enforced = Path(settings.enforce.directory)
        self._postfix = postfix
        self._read_gauges = read_gauges
        self._read_conditions = read_conditions
        self._refresh_queue = refresh_queue
        self._save = save
        self._relays = relays
        self._probe_again = probe_again
        self._caught_up = caught_up
        self.tracker = IncidentTracker(names, local_now, senders=senders)
        self.history = DeliveryHistory(local_now)
        self._throttle = throttle
        self._returned_probes = returned_probes
        self._instance = instance
        self._instance_file = instance_file
        self._notifier = Notifier(settings.notify, settings.host.myhostname, mail=self._mail)
        self._quiet = Quiet()
        self._host = _HostState()
        self._queue_read_at = 0.0
        self._has_changed = False  # since the facts were read
        self._clock_steps = ClockSteps()
        self._unjudged_until = 0.0  # monotonic; until then, the newest probe does not count

    @property
    def wanted(self) -> Wanted:
        """The columns that the tracker and the history read."""
        return union((self.tracker.wanted, self.history.wanted))

    def observe_block(self, block: Block) -> None:
        """Take a block of lines."""
        self.tracker.observe_block(block)
        self.history.observe_block(block)

    def gauges(self) -> Gauges:
        """Return the open incidents by symptom, relay and effect, and the counters of incidents and notifications."""
        return incident_gauges(self.tracker, self._relay_labels()) | {
            "postward_notices_total": {
                (result,): float(number) for result, number in self._notifier.counts.items()
            },
        }

    def conditions(self) -> Mapping[str, str | None]:
        """Return why notifications cannot be delivered."""
        return self._notifier.conditions()

    def state(self) -> dict[str, Any]:
        """Return incidents and history, for the checkpoint."""
        return {**self.tracker.state(), "history": self.history.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned, without what these settings do not observe any more."""
        self.tracker.restore(state)
        self.tracker.close_unobservable(self._relay_labels(), self._unobserved(), time.time())
        self.history.restore(state.get("history", {}))

    async def run(self) -> None:
        """Check and report until cancelled, once the log has been read to its end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._notifier.run())
            while True:
                await next_beat()
                if self._caught_up():
                    await self._poll()

    def note_conditions(self) -> None:
        """Open and close the incidents of conditions as they are now, once the log has been read to its end."""
        if self._caught_up():
            now = time.time()
            self.tracker.confirm_lasting(now)
            for condition in self._conditions():
                self.tracker.set_condition(*condition, now, self._instance)

    def rows(self) -> list[IncidentRow]:
        """Return the open incidents, then the closed ones; mail addresses are masked."""
        return drift_first([self._row(incident) for incident in (*self.tracker.open, *self.tracker.closed)])

    def public_state(self) -> dict[str, Any]:
        """Return the incidents without their diagnoses, for `postward why`; mail addresses are masked."""
        offers = {
            name: {"mechanisms": snapshot.get("mechanisms")} for name, snapshot in self._relays().items()
        }
        return {**public_incidents(self.tracker), "relays": offers}

    async def _poll(self) -> None:
        if self._settings.queue.enabled and time.monotonic() - self._queue_read_at > _QUEUE_INTERVAL:
            self._queue_read_at = time.monotonic()
            await self._refresh_queue()
        self.note_conditions()
        changes = self._quiet.due(self.tracker.take_changes(), time.monotonic())
        if changes:
            self._has_changed = True
            await self._save()
        age = time.monotonic() - self._host.read_at
        if (
            any(change.kind == "opened" and change.incident.opened == 1 for change in changes)
            or (self._has_changed and age > _FACTS_PAUSE)
            or (self.tracker.open and age > _FACTS_INTERVAL)
        ):
            await self._read_facts()
        for change in changes:
            self.report(change.kind, self._row(change.incident))
            # A backlog can bring hundreds of changes: a scrape must not wait for all of them.
            await asyncio.sleep(0)

    def _conditions(self) -> Iterator[Condition]:
        gauges, of_parts = self._read_gauges(), self._read_conditions()
        restarting = restart_under_way(self._enforced, time.time())
        yield from (Condition(symptom, _HERE, problem) for symptom, problem in of_parts.items())
        yield from conditions(
            gauges, restarting=restarting, stepped=self._clock_steps.is_recent(_MAX_PICKUP_SECONDS)
        )
        # Without a log, a probe fails whether or not it came through; while this host keeps mail back, it fails too.
        # The next one is sent when that is over.
        if any(of_parts.get(symptom) for symptom in BLINDNESS) or keeps_mail_back(
            self.tracker.open, is_drift=bool(self._drift())
        ):
            self._unjudged_until = math.inf
        elif math.isinf(self._unjudged_until):
            self._unjudged_until = time.monotonic() + 2 * self._settings.probe.timeout_seconds
            self._probe_again()
        if time.monotonic() > self._unjudged_until:
            explained = {incident.relay for incident in self.tracker.open if incident.cause is not None}
            returned = self._returned_probes()
            yield from probes(gauges, explained, {relay for relay, reason in returned.items() if reason})
            yield from (Condition("probe-returned", relay, reason) for relay, reason in returned.items())
            yield from arrivals(gauges)

    async def _read_facts(self) -> None:
        self._has_changed = False
        try:
            facts = await asyncio.to_thread(read_host_facts, self._postfix, self._settings, None)
            facts = replace(facts, vouched=is_in_sync(self._enforced, time.monotonic()))
            self._host = _HostState(facts, proofs_of(self._settings, facts), time.monotonic())
        except Exception as error:
            _log.warning("incidents: cannot read facts about this host: %s: %s", type(error).__name__, error)
            self._host.read_at = time.monotonic()

    def report(self, kind: str, row: IncidentRow) -> None:
        """Report an incident that opened or closed, in the journal and by notifications."""
        level = logging.INFO if kind == "closed" or row["effect"] == "note" else logging.ERROR
        text = one_line(row)
        if kind == "closed":
            text = f"{row['title']} ({where(row)}): {row['closed_by']}"
        # The handler for the journal turns `fields` into fields of the entry.
        _log.log(level, "incident %s: %s", kind, text, extra={"fields": _journal_fields(kind, row)})
        self._notifier.notify(kind, row)

    async def _mail(self, notice: Notice) -> str:
        """Send a notification by mail; see `mail_notice`."""
        failing = {incident.relay for incident in self.tracker.open if incident.worst.value in MAIL_STOPS}
        return await mail_notice(self._settings, self._throttle, notice, failing)

    def _row(self, incident: Incident) -> IncidentRow:
        row = self._diagnosed(incident)
        return row if self._instance_file is None else for_settings_file(row, self._instance_file)

    def _diagnosed(self, incident: Incident) -> IncidentRow:
        if incident.closed is not None:
            return to_dict(incident, diagnose(incident), users=user_of)
        open_symptoms = {other.symptom for other in self.tracker.open}
        offer = Offer.of(self._relays().get(incident.relay))
        diagnosis = diagnose(
            incident, self._host.facts, self._host.findings, open_symptoms, offer, self._drift()
        )
        return to_dict(incident, diagnosis, users=user_of)

    def _drift(self) -> tuple[str, ...]:
        """Return the names that differ as the enforcer sees it; without it, as the agent can see it."""
        if not enforcement_as_shown(self._enforced):
            return ()
        return known_drift(self._enforced, time.monotonic()) or visible_drift(
            self._settings, self._host.facts
        )

    def _relay_labels(self) -> set[str]:
        return {relay.name for relay in self._settings.relay} | set(NO_RELAYS)

    def _unobserved(self) -> dict[str, str]:
        """Return the conditions that these settings do not observe, and why."""
        unobserved: dict[str, str] = {}
        if not self._settings.sends_probes:
            unobserved |= dict.fromkeys(OF_PROBES, "probes are switched off")
        if not self._settings.mailbox.is_set:
            unobserved |= dict.fromkeys(
                ("probe-in-spam", "probe-unauthenticated", "mailbox-unreadable"),
                "no mailbox is read any more",
            )
            if not self._settings.probe.sink_url:
                unobserved["probe-not-arrived"] = "arrivals are not watched any more"
        if not self._settings.bounces.is_set:
            unobserved |= dict.fromkeys(
                ("mail-returned", "bounces-unreadable"), "no mailbox of bounces is read any more"
            )
            if not self._settings.mailbox.is_set:
                unobserved["probe-returned"] = "no mailbox is read any more"
        if not self._settings.queue.enabled:
            unobserved |= dict.fromkeys(
                ("not-picked-up", "silent-delay"), "the listing of the queue is switched off"
            )
        return unobserved


def public_incidents(tracker: IncidentTracker) -> dict[str, Any]:
    """Return incidents without their diagnoses, as JSON values; mail addresses are masked."""
    state = tracker.state()
    for row in (*state["open"], *state["closed"]):
        row["evidence"] = [mask_addresses(line) for line in row["evidence"]]
        row["senders"] = row["domains"] = []
        if row["share"] is not None:
            row["share"] = asdict(Share(**row["share"]).masked())
    return state


def incident_gauges(tracker: IncidentTracker, relays: Collection[str]) -> dict[str, Counts]:
    """Return the open incidents by symptom, relay and effect, and the counters of incidents.

    Args:
        tracker: the incidents.
        relays: the values of the label `relay`; any other relay is "other".
    """
    open_incidents: Counts = {}
    for incident in filter(lambda incident: incident.confirmed, tracker.open):
        relay = incident.relay if incident.relay in relays else "other"
        labels = (incident.symptom, relay, incident.worst.value)
        open_incidents[labels] = open_incidents.get(labels, 0.0) + 1.0
    return {
        "postward_incident_open": open_incidents,
        "postward_incidents_opened_total": {(): float(tracker.opened_total)},
        "postward_incidents_dropped_total": {(): float(tracker.dropped_total)},
    }


def conditions(gauges: Gauges, *, restarting: bool = False, stepped: bool = False) -> Iterator[Condition]:
    """Return the conditions that gauges show; one without its gauge is left out. Pure.

    While Postward is `restarting` Postfix, a Postfix that is down is not reported. After the clock has `stepped`, the age
    of a mail in maildrop is not known.
    """
    up = gauges.get("postfix_up", {}).get(())
    if up or (up is not None and not restarting):
        yield Condition("postfix-down", _HERE, None if up else "master(8) is not running")
    age = gauges.get("postfix_queue_oldest_age_seconds", {}).get(("maildrop",))
    if age is not None:
        is_late = age > _MAX_PICKUP_SECONDS
        if not (is_late and stepped):
            yield Condition(
                "not-picked-up", _HERE, f"a mail has been in maildrop for {age:.0f} s" if is_late else None
            )
    silent = gauges.get("postfix_queue_messages", {}).get(("deferred", "none"))
    if silent is not None:
        yield Condition(
            "silent-delay", _HERE, f"{silent:.0f} deferred mails have no reason" if silent else None
        )


def keeps_mail_back(open_: Iterable[Incident], *, is_drift: bool = False) -> bool:
    """Return whether a fault of this host, such as its drift, and not of a relay, stops mail. Pure."""
    return any(
        incident.worst in MAIL_STOPS
        and (is_drift or incident.cause is None or incident.place == _HERE)
        and incident.symptom not in OF_PROBES
        for incident in open_
    )


def probes(gauges: Gauges, explained: Collection[str], returned: Collection[str] = ()) -> Iterator[Condition]:
    """Return the condition of each relay's last probe. Pure.

    Args:
        gauges: of the probes.
        explained: the relays with a failed delivery.
        returned: the relays that return probes, which is a condition of its own.
    """
    arrived = gauges.get("postward_probe_arrived", {})
    for (relay,), accepted in gauges.get("postward_probe_success", {}).items():
        if accepted or arrived.get((relay,)) == 0 or relay in returned:
            yield Condition("probe-late", relay, None)
        elif relay not in explained:
            yield Condition("probe-late", relay, "the last probe was not accepted, and no delivery failed")
    for (relay,), is_in_time in arrived.items():
        problem = "the relay accepted the last probe, and it did not arrive once, unchanged and in time"
        yield Condition("probe-not-arrived", relay, None if is_in_time or relay in returned else problem)


def arrivals(gauges: Gauges) -> Iterator[Condition]:
    """Return the conditions of each relay's last probe in the mailbox: its folder, and the receiver's verdicts. Pure."""
    for (relay,), in_spam in gauges.get("postward_probe_in_spam", {}).items():
        problem = "the last probe is in a folder for spam"
        yield Condition("probe-in-spam", relay, problem if in_spam else None)
    failed: dict[str, list[str]] = {}
    for (relay, method), passed in gauges.get("postward_probe_authenticated", {}).items():
        failed.setdefault(relay, []).extend([] if passed else [method.upper()])
    for relay, methods in failed.items():
        problem = f"the receiver of the last probe says: {', '.join(methods)} failed"
        yield Condition("probe-unauthenticated", relay, problem if methods else None)


def _journal_fields(kind: str, row: IncidentRow) -> dict[str, str]:
    causes = row["causes"]
    return {
        "POSTWARD_INCIDENT": kind,
        "POSTWARD_HOST": row["host"],
        "POSTWARD_SYMPTOM": row["symptom"],
        "POSTWARD_EFFECT": row["effect"],
        "POSTWARD_RELAY": row["relay"],
        "POSTWARD_CAUSE": row["cause"] or "",
        "POSTWARD_SETTING": causes[0]["setting"] if len(causes) == 1 else "",
        "POSTWARD_REMEDY": causes[0]["remedy"] if len(causes) == 1 else "",
    }

"""The incidents of a running agent: what the log does not show is looked at, and what opens or closes is told.

Diagnoses join incidents with the facts of the host, which are read in a thread, when something opens and then now and then.
Nothing here keeps the log waiting.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postward.agent.enforce.state import restart_under_way
from postward.agent.incidents.diagnosis import diagnose, proofs_of, to_dict
from postward.agent.incidents.history import DeliveryHistory
from postward.agent.incidents.notify import Notifier
from postward.agent.incidents.render import Shown, one_line
from postward.agent.incidents.symptom import Offer
from postward.agent.incidents.tracker import Incidents
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Gauges
from postward.agent.pipeline import Observer
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.facts import read_host_facts
from postward.agent.text import local_now
from postward.config.lint import Finding, HostFacts
from postward.config.settings import Settings
from postward.parsers.scrub import mask_addresses

_POLL_INTERVAL = 1.0  # seconds between two looks at what changed
_FACTS_LAST = 60.0  # seconds
_QUEUE_EVERY = 30.0  # seconds between two listings for incidents
_PICKED_UP_BY_THEN = 120.0  # seconds a mail may lie in maildrop
_log = logging.getLogger("postward.incidents")


@dataclass
class _Facts:
    """What is known of the host, and since when."""

    facts: HostFacts = field(default_factory=HostFacts)
    findings: list[Finding] = field(default_factory=list)
    read: float = 0.0  # monotonic


class IncidentMonitor:
    """Incidents, the last day, and who is told.

    Args:
        settings: whom to tell, and the relays.
        postfix: whose facts are read.
        names: the relays.
        gauges: what is true at the moment.
        refresh: lists the queue anew.
        written: awaited when incidents were counted: a crash must not forget those that the log does not show.
        relays: what is remembered of each relay's offers, by name.
    """

    def __init__(
        self,
        settings: Settings,
        postfix: Postfix,
        names: RelayNames,
        gauges: Callable[[], Gauges],
        refresh: Callable[[], Awaitable[None]],
        written: Callable[[], Awaitable[None]],
        relays: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._settings = settings
        self._postfix = postfix
        self._gauges = gauges
        self._refresh = refresh
        self._written = written
        self._relays = relays
        self.incidents = Incidents(names, local_now)
        self.day = DeliveryHistory(local_now)
        self._notices = Notifier(settings.notify)
        self._known = _Facts()
        self._queue_read = 0.0

    @property
    def observers(self) -> list[Observer]:
        """What wants to see recognised events."""
        return [self.incidents.observe, self.day.observe]

    async def run(self, caught_up: Callable[[], bool]) -> None:
        """Look and tell until cancelled. Nothing is told before the log has been caught up with."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._notices.run())
            while True:
                await asyncio.sleep(_POLL_INTERVAL)
                if caught_up():
                    await self._look(time.time())

    async def _look(self, now: float) -> None:
        if self._settings.queue.enabled and time.monotonic() - self._queue_read > _QUEUE_EVERY:
            self._queue_read = time.monotonic()
            await self._refresh()
        gauges = self._gauges()
        restarting = restart_under_way(Path(self._settings.enforce.directory), time.time())
        explained = {incident.relay for incident in self.incidents.open if incident.cause is not None}
        for symptom, place, words in (*conditions(gauges, restarting=restarting), *probes(gauges, explained)):
            self.incidents.note(symptom, place, words, now)
        if changes := self.incidents.take_changes():
            await self._written()
        if changes or (self.incidents.open and time.monotonic() - self._known.read > _FACTS_LAST):
            await self._read_facts()
        for change in changes:
            shown = self._shown(change.incident)
            _tell(change.kind, shown)
            self._notices.tell(change.kind, shown, again=change.incident.opened > 1)
            # A backlog can bring hundreds of changes, and a scrape is not to wait for them all.
            await asyncio.sleep(0)

    async def _read_facts(self) -> None:
        try:
            facts = await asyncio.to_thread(read_host_facts, self._postfix, self._settings, None)
            self._known = _Facts(facts, proofs_of(self._settings, facts), time.monotonic())
        except Exception as error:
            _log.warning(
                "incidents: the facts of this host cannot be had: %s: %s", type(error).__name__, error
            )
            self._known.read = time.monotonic()

    def _shown(self, incident: Any) -> Shown:
        signs = {other.symptom for other in self.incidents.open}
        if incident.closed is not None:
            return to_dict(incident, diagnose(incident))
        offer = Offer.of(self._relays().get(incident.relay))
        return to_dict(incident, diagnose(incident, self._known.facts, self._known.findings, signs, offer))

    # What is shown

    def shown(self) -> list[Shown]:
        """Those that go on, then those that are over; addresses masked."""
        return [self._shown(incident) for incident in (*self.incidents.open, *self.incidents.closed)]

    def public(self) -> dict[str, Any]:
        """The incidents as data, for `postward why`; addresses masked."""
        data = self.incidents.as_json()
        for row in (*data["open"], *data["closed"]):
            row["evidence"] = [mask_addresses(line) for line in row["evidence"]]
            row["senders"] = row["domains"] = []
        offers = {name: {"mechanisms": seen.get("mechanisms")} for name, seen in self._relays().items()}
        return {**data, "relays": offers}

    def gauges(self) -> dict[str, dict[tuple[str, ...], float]]:
        """What /metrics shows."""
        known = self._labels()
        going_on: dict[tuple[str, ...], float] = {}
        for incident in self.incidents.open:
            relay = incident.relay if incident.relay in known else "other"
            labels = (incident.symptom, relay, incident.worst.value)
            going_on[labels] = going_on.get(labels, 0.0) + 1.0
        return {
            "postward_incident_open": going_on,
            "postward_incidents_opened_total": {(): float(self.incidents.opened_total)},
            "postward_notices_total": {
                (result,): float(number) for result, number in self._notices.counts.items()
            },
        }

    def _labels(self) -> set[str]:
        return {relay.name for relay in self._settings.relay} | {"other", "none", "local"}

    def _untold(self) -> dict[str, str]:
        """Conditions that these settings leave nobody to tell of, and why."""
        untold: dict[str, str] = {}
        if not self._settings.probe.recipient:
            untold["probe-late"] = "no probes are sent any more"
        if not self._settings.queue.enabled:
            untold |= dict.fromkeys(("not-picked-up", "silent-delay"), "the queue is not listed any more")
        return untold

    # Across restarts

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {**self.incidents.as_json(), "day": self.day.as_json()}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take over what a former run knew."""
        self.incidents.restore(data)
        self.incidents.keep(self._labels(), self._untold(), time.time())
        self.day.restore(data.get("day", {}))


def conditions(gauges: Gauges, *, restarting: bool = False) -> list[tuple[str, str, str | None]]:
    """What the gauges of the moment say: symptom, place, and words if it is wrong, None if it is right. Pure.

    While Postward is `restarting` Postfix, a Postfix that is down is not reported.
    """
    here = "this host"
    found: list[tuple[str, str, str | None]] = []
    up = gauges.get("postfix_up", {}).get(())
    if up or (up is not None and not restarting):
        found.append(("postfix-down", here, None if up else "master(8) does not run"))
    if (readable := gauges.get("postward_log_readable", {}).get(())) is not None:
        found.append(("log-unreadable", here, None if readable else "the mail log cannot be read"))
    if (in_sync := gauges.get("postward_config_in_sync", {}).get(())) is not None:
        names = ", ".join(labels[0] for labels in gauges.get("postward_config_drift", {}))
        found.append(("config-drift", here, None if in_sync else f"differs: {names or 'the configuration'}"))
    ages = gauges.get("postfix_queue_oldest_age_seconds", {})
    if (age := ages.get(("maildrop",))) is not None:
        late = age > _PICKED_UP_BY_THEN
        found.append(
            ("not-picked-up", here, f"a mail has lain in maildrop for {age:.0f} s" if late else None)
        )
    messages = gauges.get("postfix_queue_messages", {})
    if (silent := messages.get(("deferred", "none"))) is not None:
        found.append(
            ("silent-delay", here, f"{silent:.0f} deferred mails have no reason" if silent else None)
        )
    return found


def probes(gauges: Gauges, explained: Collection[str]) -> list[tuple[str, str, str | None]]:
    """Probes that do not come through, where no failed delivery says why. Pure."""
    found: list[tuple[str, str, str | None]] = []
    for (relay,), accepted in gauges.get("postward_probe_success", {}).items():
        if accepted:
            found.append(("probe-late", relay, None))
        elif relay not in explained:
            found.append(("probe-late", relay, "the last probe was not accepted, and no delivery failed"))
    return found


def _tell(kind: str, shown: Shown) -> None:
    level = logging.INFO if kind == "closed" or shown["effect"] == "note" else logging.ERROR
    words = f"incident {kind}: {one_line(shown)}"
    if kind == "closed":
        words = f"incident closed: {shown['title']} ({shown['place']}): {shown['closed_by']}"
    # `fields` become fields of the journal's entry where the log goes there.
    _log.log(level, "%s", words, extra={"fields": _fields(kind, shown)})


def _fields(kind: str, shown: Shown) -> dict[str, str]:
    cause = shown["causes"][0] if len(shown["causes"]) == 1 else {"setting": "", "remedy": ""}
    return {
        "POSTWARD_INCIDENT": kind,
        "POSTWARD_SYMPTOM": shown["symptom"],
        "POSTWARD_EFFECT": shown["effect"],
        "POSTWARD_RELAY": shown["relay"],
        "POSTWARD_CAUSE": shown["cause"] or "",
        "POSTWARD_SETTING": cause["setting"],
        "POSTWARD_MEND": cause["remedy"],
    }


__all__ = ["IncidentMonitor", "conditions", "probes"]

"""The lines of other hosts, on a host that collects their logs: each host is counted apart.

Only their lines are known, not their configuration or queue. So other hosts have counts and incidents, and no remedy
depends on a fact of the host.

Promise: memory and series are bounded: hosts beyond `MAX_HOSTS` are counted together (`pipeline.ByHost`). The names come
from the lines, and a sender of lines can choose them.
"""

import time
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from postward.agent.beat import next_beat
from postward.agent.incidents.diagnosis import diagnose, to_dict
from postward.agent.incidents.history import DeliveryHistory
from postward.agent.incidents.model import Incident, IncidentRow
from postward.agent.incidents.monitor import incident_gauges, public_incidents
from postward.agent.incidents.quiet import Quiet
from postward.agent.incidents.render import EFFECT_TEXTS, summary, worst_effect
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.daemons import DaemonMetrics
from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.exposition import HOST_LABEL
from postward.agent.metrics.labels import NO_RELAYS, STATUSES, RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part
from postward.agent.pipeline import OTHER, ByHost, Pipeline
from postward.agent.probe.filter import ProbeFilter
from postward.agent.stored import Form
from postward.agent.text import local_now
from postward.parsers.scan import Block, Wanted

_FORGOTTEN_AFTER: Final = 30 * 86400.0  # seconds without a line, at a start of the agent
_FORM: Final[Form[dict[str, dict[str, Any]]]] = Form(dict[str, dict[str, Any]])


class HostLog:
    """Counts and incidents of another host.

    Args:
        host: its name in the log.
        names: the relays of the settings.

    Attributes:
        tally: its counts.
        tracker: its incidents.
        collector: its metrics.
    """

    def __init__(self, host: str, names: RelayNames) -> None:
        self.tally = Tally()
        self.tracker = IncidentTracker(names, local_now)
        exemplars = Exemplars()
        self.collector = PostwardCollector(self.tally, self._gauges, exemplars, (HOST_LABEL, host))
        self._host = host
        self._known = {*names.known, *NO_RELAYS}
        self._history = DeliveryHistory(local_now)
        self._quiet = Quiet()
        self._counter = ProbeFilter(self.tally, names, local_now)
        daemons = DaemonMetrics(self.tally, names, exemplars)
        self._pipeline = Pipeline(self._counter, [daemons, self.tracker, self._history])
        self._saved: dict[str, Any] | None = None  # the state, unless it has changed since

    @property
    def wanted(self) -> Wanted:
        """The columns that are read, by event type."""
        return self._pipeline.wanted

    @property
    def last_line(self) -> float | None:
        """When the last line was written, in seconds since 1970."""
        return self.tally.times.get("postward_log_last_line_timestamp_seconds", {}).get(())

    def take(self, block: Block) -> None:
        """Take a block of lines."""
        self._pipeline.take(block)
        self._saved = None

    def settle(self) -> None:
        """Bring the counts up to date."""
        self._pipeline.settle()

    def changes(self, now: float) -> list[tuple[str, IncidentRow]]:
        """Return the incidents to report, each with what happened: "opened" or "closed"."""
        self.tracker.confirm_lasting(now)
        changes = self._quiet.due(self.tracker.take_changes(), time.monotonic())
        if changes:
            self._saved = None
        return [(change.kind, self._row(change.incident)) for change in changes]

    def status(self, now: float) -> dict[str, Any]:
        """Return the state of the host, as far as its log shows it, for /api/status."""
        rows = [self._row(incident) for incident in self.tracker.open]
        effect = worst_effect(rows)
        day = self._history.buckets(now)
        return {
            "host": self._host,
            "effect": effect,
            "verdict": EFFECT_TEXTS[effect].verdict,
            "summary": summary(effect, rows, None),
            "last_line": self.last_line,
            "day": {status: sum(bucket.status[status] for bucket in day) for status in STATUSES},
            "incidents": rows,
        }

    def state(self) -> dict[str, Any]:
        """Return counts and incidents as JSON values."""
        if self._saved is None:
            self._saved = {
                "tally": self.tally.as_json(),
                "probes": self._counter.state(),
                "incidents": self.tracker.state(),
                "history": self._history.state(),
            }
        return self._saved

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned. Raises ValueError or KeyError if it has another form."""
        self.tally.merge(Tally.from_json(state["tally"]))
        self._counter.restore(state["probes"])
        self.tracker.restore(state["incidents"])
        self._history.restore(state["history"])

    def _row(self, incident: Incident) -> IncidentRow:
        others = {other.symptom for other in self.tracker.open}
        return to_dict(incident, diagnose(incident, open_symptoms=others), host=self._host)

    def _gauges(self) -> Gauges:
        return incident_gauges(self.tracker, self._known)


class OtherHosts(Part):
    """The other hosts whose lines the log has.

    Args:
        patterns: names or patterns of the hosts (`log.hosts`).
        own: the names of this host, whose lines are never apart.
        names: the relays of the settings.
        report: reports an incident, given what happened: "opened" or "closed".
        caught_up: whether the log has been read to its end; nothing is reported before.
    """

    name = "hosts"

    def __init__(
        self,
        patterns: Collection[str],
        own: Collection[str],
        names: RelayNames,
        report: Callable[[str, IncidentRow], None],
        caught_up: Callable[[], bool] = lambda: True,
    ) -> None:
        self.by_host = ByHost(lambda host: HostLog(host, names), lambda host: is_other(host, patterns, own))
        self._report = report
        self._caught_up = caught_up

    @property
    def logs(self) -> Mapping[str, HostLog]:
        """Host → its counts and incidents."""
        return self.by_host.logs

    def status(self, now: float) -> list[dict[str, Any]]:
        """Return the state of each host, the worst first."""
        order = list(EFFECT_TEXTS)
        states = [log.status(now) for log in self.logs.values()]
        return sorted(states, key=lambda state: (order.index(state["effect"]), state["host"]))

    def incidents(self) -> dict[str, Any]:
        """Return the incidents of each host without their diagnoses, for `postward why`; mail addresses are masked."""
        return {host: public_incidents(log.tracker) for host, log in self.logs.items()}

    def state(self) -> Mapping[str, Any]:
        """Return counts and incidents by host."""
        return {host: log.state() for host, log in self.logs.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned, without hosts that are silent for a month or are not named any more."""
        for host, saved in _FORM.check(state).items():
            log = self.by_host.log_of(host)
            log.restore(saved)
            is_named = host == OTHER or self.by_host.is_apart(host)
            if time.time() - (log.last_line or 0.0) > _FORGOTTEN_AFTER or not is_named:
                del self.by_host.logs[host]

    async def run(self) -> None:
        """Report incidents until cancelled."""
        while True:
            await next_beat()
            now = time.time()
            for log in list(self.logs.values()) if self._caught_up() else ():
                for kind, row in log.changes(now):
                    self._report(kind, row)


def is_other(host: str, patterns: Collection[str], own: Collection[str]) -> bool:
    """Return whether a host, as the log names it, is one of the patterns' and not this one. Pure."""
    name = host.lower()
    if name in own or name.partition(".")[0] in own:
        return False
    return any(fnmatchcase(name, pattern.lower()) for pattern in patterns)

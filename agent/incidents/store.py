"""The open incidents of a host, and the latest closed ones. No I/O; the time is an argument.

A single failed attempt is a suspicion: it is announced (`take_changes`) when it is confirmed by a second one or has lasted
a minute, and forgotten if the next attempt succeeds before. An incident that comes back at once was not over: it reopens
as the same one. One that comes back later is a period of its own, with its own start, counts and lines.

Bounded: if too many are open, the least severe gives way, unless the new one is less severe still, or is a suspicion and
no more severe than an older one; both are counted as dropped. `state` and `restore` carry all over a restart.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from postward.agent.incidents.catalog.symptom import Resolution, Symptom
from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.model import SEVERITY, Change, Incident, Key

_MAX_OPEN: Final = 64
MAX_CLOSED: Final = 200
SUSPICION: Final = 60.0  # seconds after which a single failed attempt is an incident
_SAME_PERIOD: Final = 30.0  # seconds without the fault after which its return is another period
_RETURN_WINDOW: Final = 3600.0  # seconds after which a fault that returns is a new one


class IncidentStore:
    """The incidents of a host.

    Args:
        keep_closed: number of closed incidents to remember.
        suspicion: seconds after which a single failed attempt is an incident.

    Attributes:
        opened_total: incidents that were confirmed, for the first time or again.
        dropped_total: incidents forgotten or not opened for lack of room.
    """

    def __init__(self, keep_closed: int = MAX_CLOSED, suspicion: float = SUSPICION) -> None:
        self._suspicion = suspicion
        self._open: dict[Key, Incident] = {}
        self._closed: deque[Incident] = deque(maxlen=keep_closed)
        self._changes: deque[Change] = deque(maxlen=2 * _MAX_OPEN)
        self.opened_total = 0
        self.dropped_total = 0

    @property
    def all_open(self) -> list[Incident]:
        """The open incidents, suspicions included, oldest first."""
        return list(self._open.values())

    @property
    def all_closed(self) -> list[Incident]:
        """The closed incidents, latest first."""
        return list(reversed(self._closed))

    @property
    def has_open(self) -> bool:
        """Whether an incident is open, or suspected."""
        return bool(self._open)

    def awaiting(self, proof: Resolution) -> list[Incident]:
        """Return the open incidents that this kind of proof closes."""
        return [
            incident for incident in self._open.values() if SYMPTOMS[incident.symptom].resolution is proof
        ]

    def take_changes(self) -> list[Change]:
        """Return the incidents that were confirmed or closed since the last call."""
        changes = list(self._changes)
        self._changes.clear()
        return changes

    def find(self, symptom: str, instance: str, place: str) -> Incident | None:
        """Return the open incident of a key."""
        return self._open.get((symptom, instance, place))

    def suspect(self, symptom: Symptom, instance: str, place: str, now: float) -> Incident | None:
        """Return the open incident of a key, opening a suspicion if necessary; None for lack of room."""
        key = (symptom.id, instance, place)
        incident = self._open.get(key)
        if incident is None and (len(self._open) < _MAX_OPEN or self._make_room(symptom)):
            incident = self._open[key] = Incident(
                *key, "none", "", None, symptom.effect, now, now, confirmed=False
            )
        return incident

    def open(self, symptom: Symptom, instance: str, place: str, now: float) -> Incident | None:
        """Return the confirmed incident of a key, opening it if necessary; None for lack of room."""
        incident = self.suspect(symptom, instance, place, now)
        return incident and self.confirm(incident)

    def confirm(self, incident: Incident) -> Incident:
        """Announce an incident, and return it: its former period, if it comes back at once."""
        if incident.confirmed:
            return incident
        incident.confirmed = True
        former = self._former(incident)
        if former is not None:
            incident.opened = former.opened + 1
            if incident.first - (former.closed or 0.0) < _SAME_PERIOD:
                self._closed.remove(former)
                former.reopen(incident)
                incident = self._open[incident.key] = former
        self.opened_total += 1
        self._changes.append(Change("opened", incident))
        return incident

    def confirm_lasting(self, now: float) -> None:
        """Confirm the suspicions that have lasted a minute."""
        for incident in self.all_open:
            if not incident.confirmed and now - incident.first >= self._suspicion:
                self.confirm(incident)

    def merge(self, incident: Incident, into: Incident) -> None:
        """End an open incident that turned out to follow from another one."""
        into.absorb(incident)
        del self._open[incident.key]
        self._changes = deque(
            (change for change in self._changes if change.incident is not incident), self._changes.maxlen
        )

    def close(self, incident: Incident, now: float, proof: str) -> None:
        """Close an incident, or forget a suspicion; `proof` is the text that says why it is over."""
        if now - incident.first >= self._suspicion:
            incident = self.confirm(incident)
        del self._open[incident.key]
        if incident.confirmed:
            incident.closed, incident.closed_by = max(now, incident.last), proof
            self._closed.append(incident)
            self._changes.append(Change("closed", incident))

    def state(self) -> dict[str, Any]:
        """Return the incidents as JSON values, for the checkpoint."""
        return {
            "open": [incident.to_dict() for incident in self._open.values()],
            "closed": [incident.to_dict() for incident in self._closed],
            "opened_total": self.opened_total,
            "dropped_total": self.dropped_total,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned. Rows that this release cannot read are left out."""
        for incident in _restored(state.get("open"), _MAX_OPEN):
            self._open[incident.key] = incident
        self._closed.extend(_restored(state.get("closed"), MAX_CLOSED))
        self.opened_total = _count(state.get("opened_total"))
        self.dropped_total = _count(state.get("dropped_total"))

    def _make_room(self, symptom: Symptom) -> bool:
        """Forget the least severe incident for one of this symptom; False if it must stay."""
        self.dropped_total += 1
        least = max(self._open.values(), key=lambda incident: (SEVERITY[incident.worst], -incident.last))
        more = SEVERITY[least.worst] - SEVERITY[symptom.effect]
        if more < 0 or (more == 0 and not least.confirmed):
            return False
        del self._open[least.key]
        return True

    def _former(self, incident: Incident) -> Incident | None:
        """Return the latest closed incident of the same key that was open within the last hour."""
        for former in reversed(self._closed):
            if (
                former.place == incident.place
                and former.key == incident.key
                and incident.first - (former.closed or 0.0) < _RETURN_WINDOW
            ):
                return former
        return None


def _restored(rows: Any, limit: int) -> Iterator[Incident]:
    for row in rows[:limit] if isinstance(rows, list) else ():
        try:
            incident = Incident.from_dict(row)
        except ValueError:
            continue
        if incident.symptom in SYMPTOMS:
            yield incident


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0

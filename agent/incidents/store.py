"""The open incidents of a host, and the latest closed ones. No I/O; the time is an argument.

An incident that comes back at once was not over: it reopens as the same one. One that comes back later is a period of
its own, with its own start, counts and lines. Bounded: if too many are open, the least severe gives way, unless the new
one is less severe still; both are counted as dropped. `state` and `restore` carry all over a restart.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from postward.agent.incidents.catalog.symptom import Symptom
from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.model import Change, Effect, Incident, key_of

_MAX_OPEN: Final = 64
MAX_CLOSED: Final = 200
_SAME_PERIOD: Final = 30.0  # seconds without the fault after which its return is another period
_RETURN_WINDOW: Final = 3600.0  # seconds after which a fault that returns is a new one


class IncidentStore:
    """The incidents of a host.

    Args:
        keep_closed: number of closed incidents to remember.

    Attributes:
        opened_total: incidents that opened or reopened.
        dropped_total: incidents forgotten or not opened for lack of room.
    """

    def __init__(self, keep_closed: int = MAX_CLOSED) -> None:
        self._open: dict[str, Incident] = {}
        self._closed: deque[Incident] = deque(maxlen=keep_closed)
        self._changes: deque[Change] = deque(maxlen=2 * _MAX_OPEN)
        self.opened_total = 0
        self.dropped_total = 0

    @property
    def all_open(self) -> list[Incident]:
        """The open incidents, oldest first."""
        return list(self._open.values())

    @property
    def all_closed(self) -> list[Incident]:
        """The closed incidents, latest first."""
        return list(reversed(self._closed))

    def take_changes(self) -> list[Change]:
        """Return the incidents that opened or closed since the last call."""
        changes = list(self._changes)
        self._changes.clear()
        return changes

    def find(self, symptom: str, instance: str, place: str) -> Incident | None:
        """Return the open incident of a key."""
        return self._open.get(key_of(symptom, instance, place))

    def open(self, symptom: Symptom, instance: str, place: str, now: float) -> Incident | None:
        """Return the open incident of a key, opening it if necessary; None for lack of room."""
        incident = self.find(symptom.id, instance, place)
        if incident is not None:
            return incident
        if len(self._open) >= _MAX_OPEN and not self._make_room(symptom.effect):
            return None
        key = key_of(symptom.id, instance, place)
        former = self._former(key, now)
        if former is not None and now - (former.closed or 0.0) < _SAME_PERIOD:
            incident = self._reopen(former)
        else:
            opened = 1 if former is None else former.opened + 1
            incident = Incident(
                symptom.id, instance, place, "none", "", None, symptom.effect, now, now, opened=opened
            )
        self._open[key] = incident
        self.opened_total += 1
        self._changes.append(Change("opened", incident))
        return incident

    def merge(self, incident: Incident, into: Incident) -> None:
        """End an open incident that turned out to follow from another one."""
        into.absorb(incident)
        del self._open[incident.key]
        self._changes = deque(
            (change for change in self._changes if change.incident is not incident), self._changes.maxlen
        )

    def close(self, incident: Incident, now: float, proof: str) -> None:
        """Close an incident; `proof` is the text that says why it is over."""
        incident.closed, incident.closed_by = max(now, incident.last), proof
        del self._open[incident.key]
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

    def _make_room(self, effect: Effect) -> bool:
        """Forget the least severe incident for one with this effect; False if all are more severe."""
        self.dropped_total += 1
        severity = list(Effect).index
        least = max(self._open.values(), key=lambda incident: (severity(incident.worst), -incident.last))
        if severity(least.worst) < severity(effect):
            return False
        del self._open[least.key]
        return True

    def _former(self, key: str, now: float) -> Incident | None:
        """Return the latest closed incident of a key that was open within the last hour."""
        for incident in reversed(self._closed):
            if incident.key == key and now - (incident.closed or 0.0) < _RETURN_WINDOW:
                return incident
        return None

    def _reopen(self, incident: Incident) -> Incident:
        self._closed.remove(incident)
        incident.opened += 1
        incident.closed, incident.closed_by = None, ""
        return incident


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

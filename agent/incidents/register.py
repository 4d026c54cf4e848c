"""The incidents of a host: those that go on, and the last of those that are over. No I/O; what time it is, is an argument.

One that comes back within an hour is the same one again. Bounded: where no room is left, the least gives way to one that is
no less, and what found no room is counted. `as_json` and `restore` carry it over a restart.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.model import Change, Incident, key_of
from postward.agent.incidents.symptom import Effect, Symptom

_MAX_OPEN = 64
MOST_CLOSED = 200
_REOPEN_WINDOW = 3600.0  # seconds after which what comes back is another incident


class Register:
    """What is wrong and what was.

    Args:
        keep_closed: how many closed ones are remembered.
    """

    def __init__(self, keep_closed: int = MOST_CLOSED) -> None:
        self._open: dict[str, Incident] = {}
        self._closed: deque[Incident] = deque(maxlen=keep_closed)
        self._changes: deque[Change] = deque(maxlen=2 * _MAX_OPEN)
        self.dropped = 0  # incidents that found no room
        self.opened_total = 0

    def __bool__(self) -> bool:
        """Does anything go on?"""
        return bool(self._open)

    @property
    def going_on(self) -> list[Incident]:
        """Those that go on, in the order in which they opened."""
        return list(self._open.values())

    @property
    def closed(self) -> list[Incident]:
        """Those that are over, the last one first."""
        return list(reversed(self._closed))

    def take_changes(self) -> list[Change]:
        """What opened or closed since the last call."""
        changes = list(self._changes)
        self._changes.clear()
        return changes

    def opened(self, symptom: Symptom, instance: str, place: str, now: float) -> Incident | None:
        """The incident that goes on there, new if there is none; None if there is no room for it."""
        key = key_of(symptom.id, instance, place)
        incident = self._open.get(key)
        if incident is not None:
            return incident
        if len(self._open) >= _MAX_OPEN and not self._make_room(symptom.effect):
            return None
        incident = self._come_back(key, now) or Incident(
            symptom.id, instance, place, "none", "", None, symptom.effect, now, now
        )
        self._open[key] = incident
        self.opened_total += 1
        self._changes.append(Change("opened", incident))
        return incident

    def close(self, incident: Incident, now: float, words: str) -> None:
        """It is over: how that is known, in words."""
        incident.closed, incident.closed_by = max(now, incident.last), words
        del self._open[incident.key]
        self._closed.append(incident)
        self._changes.append(Change("closed", incident))

    def note(self, symptom: str, place: str, words: str | None, now: float, instance: str) -> None:
        """A condition that the log does not show: wrong, in words, or right (None)."""
        if words is None:
            incident = self._open.get(key_of(symptom, instance, place))
            if incident is not None:
                self.close(incident, now, "it is right again")
            return
        incident = self.opened(SYMPTOMS[symptom], instance, place, now)
        if incident is None:
            return
        incident.evidence = [words]
        incident.last = now
        incident.attempts = max(incident.attempts, 1)

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {
            "open": [incident.as_json() for incident in self._open.values()],
            "closed": [incident.as_json() for incident in self._closed],
            "opened_total": self.opened_total,
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take over what `as_json` gave. What a former release knew and this one does not is left out."""
        for incident in _restored(data.get("open", ())):
            self._open[incident.key] = incident
        self._closed.extend(_restored(data.get("closed", ())))
        self.opened_total = int(data.get("opened_total", 0))

    def _make_room(self, effect: Effect) -> bool:
        """Forget the least of the incidents for one that is no less; False if all are worse."""
        self.dropped += 1
        severity = list(Effect).index
        least = max(self._open.values(), key=lambda incident: (severity(incident.worst), -incident.last))
        if severity(least.worst) < severity(effect):
            return False
        del self._open[least.key]
        return True

    def _come_back(self, key: str, now: float) -> Incident | None:
        for incident in self._closed:
            if incident.key == key and now - (incident.closed or 0.0) < _REOPEN_WINDOW:
                self._closed.remove(incident)
                incident.opened += 1
                incident.closed, incident.closed_by = None, ""
                return incident
        return None


def _restored(rows: Any) -> Iterator[Incident]:
    for row in rows:
        try:
            incident = Incident.from_json(dict(row))
        except (TypeError, ValueError, KeyError):
            continue
        if incident.symptom in SYMPTOMS:
            yield incident

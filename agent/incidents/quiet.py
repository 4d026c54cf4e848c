"""Holds back what is reported of an incident that comes and goes. No I/O; the time is an argument.

The journal and web hooks report that an incident opened, and that it closed, each at most once in ten minutes. After that
time one more report follows if the last one is not true any more. Bounded by the incidents of ten minutes.
"""

from collections.abc import Iterable
from typing import Final

from postward.agent.incidents.model import Change, Key

_QUIET: Final = 600.0  # seconds


class Quiet:
    """Decides which changes are reported, and when."""

    def __init__(self) -> None:
        self._reported: dict[tuple[str, Key], float] = {}  # kind and incident → when it was reported
        self._last: dict[Key, str] = {}  # the kind that was reported last
        self._held: dict[Key, Change] = {}

    def due(self, changes: Iterable[Change], now: float) -> list[Change]:
        """Return the changes to report now, the given ones and earlier ones; `now` is in monotonic seconds."""
        due = []
        for change in changes:
            key = change.incident.key
            if change.incident.opened > 1 and self._is_recent(change, now):
                self._held[key] = change
            else:
                self._held.pop(key, None)
                due.append(change)
        for key, change in list(self._held.items()):
            if not self._is_recent(change, now):
                del self._held[key]
                if self._last.get(key) != change.kind:
                    due.append(change)
        for change in due:
            self._reported[change.kind, change.incident.key] = now
            self._last[change.incident.key] = change.kind
        self._reported = {key: at for key, at in self._reported.items() if now - at < _QUIET}
        recent = {key for _, key in self._reported}
        self._last = {key: kind for key, kind in self._last.items() if key in recent or key in self._held}
        return due

    def _is_recent(self, change: Change, now: float) -> bool:
        return now - self._reported.get((change.kind, change.incident.key), -_QUIET) < _QUIET

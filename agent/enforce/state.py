"""The state of enforcement, in a file where the enforcer writes it and the agent reads it at each scrape.

The two may be one process or two (one of them root): the file is the only thing between them. It holds names
and numbers, never a value of a secret, and everybody may read it. `docs/enforcement.md` describes it.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from postward.agent.fsutil import write_atomically

VERSION = 1
RESULTS = ("applied", "failed", "refused", "confirmed", "rolled_back")
_HOUR = 3600.0


@dataclass(slots=True)
class Enforcement:
    """What the enforcer knows.

    Attributes:
        in_sync: Postfix has what the settings say; None before the first look.
        drift: parameters and files that differ now.
        unknown: settings that this release of Postfix does not know, and that were not written.
        conflicts: parameters and files that another tool keeps changing, so that they are left alone.
        repairs: how often each was put right.
        repaired_at: when each was put right in the last hour, in seconds since the epoch.
        applies: changes by result.
        problem: why the last look or change did not work, in words.
    """

    in_sync: bool | None = None
    drift: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)
    repaired_at: dict[str, list[float]] = field(default_factory=dict)
    applies: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RESULTS, 0))
    problem: str | None = None

    def gauges(self) -> dict[str, dict[tuple[str, ...], float]]:
        """What /metrics shows of it."""
        in_sync: dict[tuple[str, ...], float] = {} if self.in_sync is None else {(): float(self.in_sync)}
        return {
            "postward_config_in_sync": in_sync,
            "postward_config_drift": {(name,): 1.0 for name in self.drift},
            "postward_config_conflict": {(name,): 1.0 for name in self.conflicts},
            "postward_config_repairs_total": {
                (name,): float(number) for name, number in self.repairs.items()
            },
            "postward_config_applies_total": {
                (result,): float(number) for result, number in self.applies.items()
            },
        }

    def count(self, result: str) -> None:
        """Count a change by its result."""
        self.applies[result] = self.applies.get(result, 0) + 1

    def count_repairs(self, names: list[str], now: float) -> None:
        """Count what was put right."""
        for name in names:
            self.repairs[name] = self.repairs.get(name, 0) + 1
            self.repaired_at.setdefault(name, []).append(now)

    def find_fights(self, names: list[str], now: float, most: int) -> None:
        """Which of these departures came back more often within the last hour than one tool alone explains."""
        recent = {
            name: [moment for moment in moments if moment > now - _HOUR]
            for name, moments in self.repaired_at.items()
        }
        self.repaired_at = {name: moments for name, moments in recent.items() if moments}
        self.conflicts = [name for name in names if len(self.repaired_at.get(name, [])) >= most]


def enforcement_file(directory: Path) -> Path:
    """Where the state of enforcement is kept."""
    return directory / "enforcement.json"


def write_enforcement(path: Path, state: Enforcement) -> None:
    """Raises OSError; the former state stays then."""
    write_atomically(path, json.dumps({"version": VERSION, **asdict(state)}).encode())


def read_enforcement(path: Path) -> Enforcement | None:
    """The state, or None if there is none (yet) that this version can read."""
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
        if data.pop("version") != VERSION:
            return None
        return Enforcement(**data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

"""The contract of release 1: names that users, dashboards, alerts and scripts rely on.

`python -m tools.contract` writes them into tests/contract.json, when a release is made. `tests/test_contract.py` fails if one
of them is missing or means something else afterwards; new names are free.
"""

import json
from pathlib import Path
from typing import Any, Final

import click

from grafana.alerts import ALERTS
from postward.agent.cli import COMMANDS
from postward.agent.cli import main as command_line
from postward.agent.commands import exit_status
from postward.agent.commands.manual_settings import tables
from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.model import CauseRow, IncidentRow
from postward.agent.metrics.catalog import METRICS
from postward.parsers import Cause
from postward.parsers import events as ev

FILE: Final = Path(__file__).parents[1] / "tests/contract.json"


def contract() -> dict[str, dict[str, Any]]:
    """Return the names of this checkout: group → name → what it means, as JSON values."""
    return {
        "settings": {
            f"{title} {key}": _default(field)
            for title, _, fields in tables()
            for key, field in fields.items()
        },
        "metrics": {metric.name: [metric.kind, list(metric.labels)] for metric in METRICS},
        "alerts": {alert.name: alert.severity for alert in ALERTS},
        "causes": {cause.value: None for cause in Cause},
        "symptoms": {symptom: row.effect.value for symptom, row in SYMPTOMS.items()},
        "commands": dict.fromkeys(COMMANDS),
        "options": {f"{name} {option}": None for name in COMMANDS for option in _options(name)},
        "exit statuses": {name: value for name, value in vars(exit_status).items() if isinstance(value, int)},
        "keys of incidents": {key: None for row in (IncidentRow, CauseRow) for key in row.__annotations__},
        "events": {
            f"{event.__name__} {field}": None
            for event in vars(ev).values()
            if isinstance(event, type) and hasattr(event, "_fields")
            for field in event._fields
        },
    }


def _default(field: Any) -> Any:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return value if value is None or isinstance(value, str | int | float | list) else str(value)


def _options(name: str) -> list[str]:
    command = command_line.get_command(click.Context(command_line), name)
    assert command is not None
    return [option for parameter in command.params for option in parameter.opts if option.startswith("--")]


def broken(recorded: dict[str, dict[str, Any]], present: dict[str, dict[str, Any]]) -> list[str]:
    """Return the names of a recorded contract that are missing now, or mean something else."""
    return [
        f"{group}: {name}: {'is missing' if name not in present[group] else f'{meaning} became {present[group][name]}'}"
        for group, names in recorded.items()
        for name, meaning in names.items()
        if name not in present[group] or present[group][name] != meaning
    ]


if __name__ == "__main__":
    FILE.write_text(json.dumps(contract(), indent=1, sort_keys=True) + "\n", encoding="utf-8")

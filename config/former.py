"""Names of settings in earlier releases. They keep working, so that an upgrade does not stop a service. Pure.

A setting that stands under both names is refused, since one of them would have no effect.
"""

from collections.abc import Mapping
from typing import Any, Final

# Section → former name → name.
FORMER: Final[Mapping[str, Mapping[str, str]]] = {
    "relay": {
        "cleartext_password": "allow_cleartext_password",
        "unusual_port": "allow_unusual_port",
    },
    "probe": {
        "arrivals": "sink_url",
        "auth_tries_per_hour": "max_auth_attempts_per_hour",
        "lost_seconds": "lost_after_seconds",
        "relay_interval_seconds": "relay_check_interval_seconds",
    },
    "events": {"personal": "include_personal_data"},
    "notify": {"webhook": "webhook_url"},
}


def renamed(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the tables of a settings file with the names of this release, and a warning for each that was replaced."""
    result, warnings = dict(tables), []
    for section, names in FORMER.items():
        value = tables.get(section)
        if isinstance(value, list):
            rows = [_renamed(row, names) for row in value]
            result[section] = [row for row, _ in rows]
            found = [pair for _, pairs in rows for pair in pairs]
        else:
            result_value, found = _renamed(value, names)
            if section in tables:
                result[section] = result_value
        warnings += [
            f"{section}.{former} is called {section}.{name} now; rename it" for former, name in found
        ]
    return result, list(dict.fromkeys(warnings))


def _renamed(table: Any, names: Mapping[str, str]) -> tuple[Any, list[tuple[str, str]]]:
    if not isinstance(table, dict):
        return table, []
    found = [(former, name) for former, name in names.items() if former in table and name not in table]
    new = dict(found)
    return {new.get(key, key): value for key, value in table.items()}, found

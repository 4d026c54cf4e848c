"""Settings from several files: the settings file, then the fragments in the directory beside it, in the order of names.

Pure. Tables are merged key by key, and the later file wins. Relays with the same name are one relay; other relays are
appended. Any other list is replaced. Each setting keeps the name of its file, which messages show.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from postward.config.errors import Loc


@dataclass(slots=True)
class Merged:
    """Merged settings.

    Attributes:
        tables: the settings.
        sources: location of a setting → the name of the file that it comes from.
    """

    tables: dict[str, Any] = field(default_factory=dict, repr=False)
    sources: dict[Loc, str] = field(default_factory=dict)


def merge(files: Iterable[tuple[str, Mapping[str, Any]]]) -> Merged:
    """Return the settings of files, each with its name, in their order."""
    merged = Merged()
    for name, tables in files:
        for key, value in tables.items():
            if (
                key == "relay"
                and _is_list_of_tables(value)
                and _is_list_of_tables(merged.tables.get(key, []))
            ):
                _add_relays(merged, name, value)
            else:
                _set(merged, name, merged.tables, (key,), value)
    return merged


def _add_relays(merged: Merged, source: str, tables: list[dict[str, Any]]) -> None:
    """Merge the relays of a file. A name that is there twice in one file stays there twice, and is refused later."""
    relays = merged.tables.setdefault("relay", [])
    merged.sources.setdefault(("relay",), source)
    earlier = {
        relay["name"]: index for index, relay in enumerate(relays) if isinstance(relay.get("name"), str)
    }
    for table in tables:
        name = table.get("name")
        index = earlier.pop(name, len(relays)) if isinstance(name, str) else len(relays)
        if index == len(relays):
            relays.append({})
            merged.sources["relay", index] = source
        for key, value in table.items():
            _set(merged, source, relays[index], ("relay", index, key), value)


def _set(merged: Merged, source: str, table: dict[str, Any], loc: Loc, value: object) -> None:
    """Set a key of a table, or merge tables."""
    key = str(loc[-1])
    former = table.get(key)
    if isinstance(value, dict) and (former is None or isinstance(former, dict)):
        merged.sources.setdefault(loc, source)
        table.setdefault(key, {})
        for name, item in value.items():
            _set(merged, source, table[key], (*loc, name), item)
        return
    for below in [other for other in merged.sources if other[: len(loc)] == loc]:
        del merged.sources[below]
    table[key] = value
    merged.sources[loc] = source


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)

"""Desired state and actual state → where they differ, each departure named once.

Pure. Values are compared as Postfix reads them: lists by their items, texts without surrounding white space.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from postward.config.desired import DesiredState, LookupTable
from postward.parsers.postconf import split_list


@dataclass(frozen=True, slots=True)
class TableState:
    """A lookup table as it is on disk.

    Attributes:
        text: the source file; None if it is missing.
        mode: permission bits of the source file.
        owner: (uid, gid) of the source file.
        index_mode: permission bits of the index; None if it is missing.
        index_owner: (uid, gid) of the index.
        index_current: every entry can be looked up, with its value, and the index is not older than its source.
    """

    text: str | None = field(default=None, repr=False)
    mode: int | None = None
    owner: tuple[int, int] | None = None
    index_mode: int | None = None
    index_owner: tuple[int, int] | None = None
    index_current: bool = False


@dataclass(frozen=True, slots=True)
class ActualState:
    """What Postfix has.

    Attributes:
        parameters: effective values, as `postconf NAME…` prints them; one that this Postfix does not know is not there.
        tables: tables by name.
        services: Postward's own services of master.cf, as `postconf -M` prints them, by name.
        unloaded: since when main.cf or master.cf has been changed and the running Postfix has not read it (hh:mm:ss).
    """

    parameters: Mapping[str, str]
    tables: Mapping[str, TableState]
    services: Mapping[str, str] = field(default_factory=dict)
    unloaded: str | None = None


class Kind(Enum):
    """What a departure is about."""

    PARAMETER = "a parameter of main.cf"
    TABLE = "a lookup table's source, or who may read it"
    INDEX = "an index that is missing, or does not answer as its source does"
    SERVICE = "a service of master.cf"
    STALE_SERVICE = "a service of Postward's that is no longer wanted"
    UNLOADED = "files that the running Postfix has not read"


@dataclass(frozen=True, slots=True)
class Drift:
    """One departure.

    Attributes:
        name: the parameter, or the file's or service's name.
        actual: what is there, in words fit to print: never a table's content, nor a login that stands in main.cf.
        desired: what should be there; for a parameter, the value to set.
        table: the table to write anew.
        kind: what it is about.
    """

    name: str
    actual: str
    desired: str
    table: LookupTable | None = None
    kind: Kind = Kind.PARAMETER


def drift(desired: DesiredState, actual: ActualState) -> list[Drift]:
    """Every departure of the actual from the desired state."""
    found = [
        Drift(name, _printable(actual.parameters[name]), value)
        for name, value in desired.parameters.items()
        if name in actual.parameters and split_list(actual.parameters[name]) != split_list(value)
    ]
    for table in desired.tables:
        found += _table_drift(table, actual.tables.get(table.name, TableState()))
    found += _service_drift(desired, actual)
    if actual.unloaded and not found:
        words = f"changed at {actual.unloaded}, not read by the running Postfix"
        found.append(Drift("main.cf", words, "in force", kind=Kind.UNLOADED))
    return found


def unknown_parameters(desired: DesiredState, actual: ActualState) -> list[str]:
    """Desired parameters that this release does not know: postconf prints every one that it does."""
    return [name for name in desired.parameters if name not in actual.parameters]


def _service_drift(desired: DesiredState, actual: ActualState) -> Iterator[Drift]:
    wanted = {transport.name: transport.definition for transport in desired.transports}
    for name, definition in wanted.items():
        found = actual.services.get(name, "")
        if found.split() != definition.split():
            yield Drift(name, found or "missing", definition, kind=Kind.SERVICE)
    for name in actual.services.keys() - wanted.keys():
        yield Drift(name, actual.services[name], "removed", kind=Kind.STALE_SERVICE)


def _printable(value: str) -> str:
    """People write logins into main.cf itself: `smtp_sasl_password_maps = static:user:password`."""
    return re.sub(r"\b(static|inline):.*", r"\1:********", value, flags=re.DOTALL)


def _table_drift(table: LookupTable, state: TableState) -> Iterator[Drift]:
    access = f"{table.mode:04o} root:root"
    if faults := list(_source_faults(table, state)):
        yield Drift(table.name, ", ".join(faults), access, table, Kind.TABLE)
    if table.index_name and (faults := list(_index_faults(table, state))):
        built = f"{access}, built from {table.name}"
        answers = state.index_mode is not None and (state.text != table.text or state.index_current)
        kind = Kind.TABLE if answers else Kind.INDEX
        yield Drift(table.index_name, ", ".join(faults), built, table, kind)


def _source_faults(table: LookupTable, state: TableState) -> Iterator[str]:
    if state.text is None:
        yield "missing"
        return
    if state.text != table.text:
        yield "other entries"
    yield from _access_faults(table, state.mode, state.owner)


def _index_faults(table: LookupTable, state: TableState) -> Iterator[str]:
    if state.index_mode is None:
        yield "missing"
        return
    if state.text == table.text and not state.index_current:
        yield f"out of date with {table.name}"
    yield from _access_faults(table, state.index_mode, state.index_owner)


def _access_faults(table: LookupTable, mode: int | None, owner: tuple[int, int] | None) -> Iterator[str]:
    if mode != table.mode:
        yield f"mode {mode or 0:04o}"
    if owner != (0, 0):
        yield "owner {}:{}".format(*owner or ("?", "?"))

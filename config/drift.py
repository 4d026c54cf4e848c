"""Desired state and actual state → drift: the list of differences.

Pure. Values are compared as Postfix reads them: as lists of items, with `$name` expanded. Values that mean the same are
no drift, so main.cf keeps the admin's spelling.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from postward.config.desired import DesiredState
from postward.config.lint.text import without_secrets
from postward.config.resources import LookupTable, entries_of
from postward.parsers.postconf import split_list
from postward.parsers.scrub import printable


@dataclass(frozen=True, slots=True)
class TableState:
    """The state of a lookup table on disk.

    Attributes:
        text: the source file; None if it is missing.
        mode: permission bits of the source file.
        owner: (uid, gid) of the source file.
        index_mode: permission bits of the index; None if it is missing.
        index_owner: (uid, gid) of the index.
        index_current: the index returns the value of every entry, and is not older than its source.
    """

    text: str | None = field(default=None, repr=False)
    mode: int | None = None
    owner: tuple[int, int] | None = None
    index_mode: int | None = None
    index_owner: tuple[int, int] | None = None
    index_current: bool = False


@dataclass(frozen=True, slots=True)
class ActualState:
    """The actual state of Postfix.

    Attributes:
        parameters: effective values, as `postconf NAME…` prints them; parameters unknown to this Postfix are missing.
        tables: table name → its state.
        services: name → line of Postward's own services in master.cf, as `postconf -M` prints them.
        expanded: actual values with `$name` expanded (`postconf -x`), for the parameters that differ from the desired
            and those that matter for the consequences. A file in myorigin is replaced by its content.
        expanded_desired: the values of these parameters with the desired ones in force, expanded in the same way.
        main_cf_mode: permission bits of main.cf.
        unloaded: time (hh:mm:ss) of a change of main.cf or master.cf that the running Postfix has not read; else None.
        stale_tables: files of tables that Postward wrote and nothing desired refers to.
        listeners: the services of master.cf that listen at inet_interfaces.
        exposed: tables of logins that fall out of use and that every user of the host can read.
    """

    parameters: Mapping[str, str]
    tables: Mapping[str, TableState]
    services: Mapping[str, str] = field(default_factory=dict)
    main_cf_mode: int = 0o644
    unloaded: str | None = None
    expanded: Mapping[str, str] = field(default_factory=dict)
    expanded_desired: Mapping[str, str] = field(default_factory=dict)
    stale_tables: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()


class Kind(Enum):
    """The object that drifted."""

    PARAMETER = "a parameter of main.cf"
    TABLE = "the source of a lookup table, or the permissions of its files"
    INDEX = "an index that is missing, or does not return the entries of its source"
    SERVICE = "a service of master.cf"
    STALE_SERVICE = "a service of Postward that the settings no longer require"
    STALE_TABLE = "a file of a table of Postward that the settings no longer require"
    MODE = "permissions of main.cf: every user must be able to read it"
    UNLOADED = "files that the running Postfix has not read"


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between desired and actual state.

    Attributes:
        name: the parameter, file or service.
        actual: the actual value or condition, printable. It holds no content of a table and no login from main.cf.
        desired: the desired value or condition; for a parameter, the value to set.
        table: the table to write.
        kind: the kind of the object.
        removed: the entries that a table has and will lose.
        added: the entries that it will have and lacks.
    """

    name: str
    actual: str
    desired: str
    table: LookupTable | None = None
    kind: Kind = Kind.PARAMETER
    removed: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    added: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """The desired value, printable and without logins: those of the admin's tables can stand in main.cf."""
        return _shown(self.name if self.kind is Kind.PARAMETER else "", self.desired)


def _shown(parameter: str, value: str) -> str:
    return printable(without_secrets(parameter, value))


READABLE = 0o444  # permission bits of main.cf


def drift(desired: DesiredState, actual: ActualState) -> list[Drift]:
    """Return every difference of the actual from the desired state."""
    drifts = [
        Drift(name, _shown(name, actual.parameters[name]), value)
        for name, value in desired.parameters.items()
        if name in actual.parameters and not _is_met(name, value, actual)
    ]
    for table in desired.tables:
        drifts += _table_drift(table, actual.tables.get(table.name, TableState()))
    drifts += _service_drift(desired, actual)
    drifts += [
        Drift(name, "no longer used", "removed", kind=Kind.STALE_TABLE) for name in actual.stale_tables
    ]
    if actual.main_cf_mode & READABLE != READABLE:
        mode = actual.main_cf_mode
        drifts.append(Drift("main.cf", f"mode {mode:04o}", f"mode {mode | READABLE:04o}", kind=Kind.MODE))
    if actual.unloaded and not drifts:
        condition = f"changed at {actual.unloaded}, not read by the running Postfix"
        drifts.append(Drift("main.cf", condition, "in force", kind=Kind.UNLOADED))
    return drifts


def differing(desired: Mapping[str, str], actual: Mapping[str, str]) -> dict[str, str]:
    """Return the desired parameters whose actual value is not written in the same way."""
    return {
        name: value
        for name, value in desired.items()
        if name in actual and _items(name, actual[name]) != _items(name, value)
    }


def _is_met(name: str, value: str, actual: ActualState) -> bool:
    if not differing({name: value}, actual.parameters):
        return True
    expanded, wanted = actual.expanded.get(name), actual.expanded_desired.get(name)
    return expanded is not None and wanted is not None and _items(name, expanded) == _items(name, wanted)


# Lists in which the order of items without "!" makes no difference.
_UNORDERED = frozenset({"mydestination", "mynetworks", "relay_domains", "inet_interfaces", "inet_protocols"})
_SYNONYMS = {("inet_interfaces", "localhost"): "loopback-only"}
# Postfix compares a client's IPv4 address in its own form, so the network of mapped addresses adds nothing.
_MAPPED_LOOPBACK = ("[::ffff:127.0.0.0]/104", "127.0.0.0/8")


def _items(name: str, value: str) -> list[str]:
    """Return a value's items in a form that is the same for values with the same meaning."""
    items = [_SYNONYMS.get((name, item), item) for item in split_list(value)]
    if name == "mynetworks" and set(_MAPPED_LOOPBACK) <= set(items):
        items.remove(_MAPPED_LOOPBACK[0])
    ordered = name not in _UNORDERED or any(item.startswith("!") for item in items)
    return items if ordered else sorted(set(items))


def unknown_parameters(desired: DesiredState, actual: ActualState) -> list[str]:
    """Return the desired parameters that this release of Postfix does not know: postconf prints all that it knows."""
    return [name for name in desired.parameters if name not in actual.parameters]


def _service_drift(desired: DesiredState, actual: ActualState) -> Iterator[Drift]:
    definitions = {transport.name: transport.definition for transport in desired.transports}
    for name, definition in definitions.items():
        line = actual.services.get(name, "")
        if line.split() != definition.split():
            yield Drift(name, _shown("", line) or "missing", definition, kind=Kind.SERVICE)
    for name in actual.services.keys() - definitions.keys():
        yield Drift(name, _shown("", actual.services[name]), "removed", kind=Kind.STALE_SERVICE)


def _table_drift(table: LookupTable, state: TableState) -> Iterator[Drift]:
    access = f"{table.mode:04o} root:root"
    if faults := list(_source_faults(table, state)):
        present = entries_of(state.text or "")
        removed = tuple(entry for entry in present if entry not in table.entries)
        added = tuple(entry for entry in table.entries if entry not in present)
        yield Drift(table.name, ", ".join(faults), access, table, Kind.TABLE, removed, added)
    if table.index_name and (faults := list(_index_faults(table, state))):
        built = f"{access}, built from {table.name}"
        usable = state.index_mode is not None and (state.text != table.text or state.index_current)
        kind = Kind.TABLE if usable else Kind.INDEX
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

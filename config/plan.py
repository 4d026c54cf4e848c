"""Drift → the actions that repair it, in an order in which Postfix never reads an incomplete configuration.

Pure. The order: tables and services, which must exist before main.cf names them; main.cf, in one edit; removal of
services that main.cf no longer names; the reload or restart that the change requires; removal of tables.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from postward.config.consequences import Consequence, Effect
from postward.config.drift import Drift, Kind
from postward.config.resources import LookupTable
from postward.parsers.scrub import MASK, printable

# Parameters that `postfix reload` does not apply (postconf(5); master(8) warns "stop and start Postfix").
RESTART_PARAMETERS = frozenset(
    {"inet_interfaces", "inet_protocols", "maillog_file", "queue_directory", "data_directory", "mail_owner"}
)


class Activation(Enum):
    """The action by which a change takes effect."""

    NONE = "nothing: Postfix notices changed tables by itself"
    RELOAD = "postfix reload"
    RESTART = "postfix stop, postfix start"


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions that repair drift.

    Attributes:
        drifts: the drift that they repair.
        tables: the tables to write.
        parameters: the main.cf parameters to set.
        services: name → line of the services in master.cf to set.
        stale_services: the services to remove from master.cf, once main.cf no longer names them.
        main_cf_readable: main.cf must become readable for every user.
        activation: the action by which they take effect.
        stale_tables: the files of tables to remove, once no running process refers to them.
        consequences: what they end or begin.
    """

    drifts: tuple[Drift, ...]
    tables: tuple[LookupTable, ...]
    parameters: dict[str, str]
    services: dict[str, str]
    stale_services: tuple[str, ...]
    main_cf_readable: bool
    activation: Activation
    stale_tables: tuple[str, ...] = ()
    consequences: tuple[Consequence, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.drifts)

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The effects that have to be agreed to."""
        return tuple(dict.fromkeys(one.effect for one in self.consequences if one.effect))


def plan(drifts: list[Drift], consequences: Iterable[Consequence] = ()) -> Plan:
    """Return the actions that repair this drift."""
    parameters = {drift.name: drift.desired for drift in drifts if drift.kind is Kind.PARAMETER}
    tables = tuple({drift.table.name: drift.table for drift in drifts if drift.table}.values())
    services = {drift.name: drift.desired for drift in drifts if drift.kind is Kind.SERVICE}
    stale = tuple(drift.name for drift in drifts if drift.kind is Kind.STALE_SERVICE)
    files = tuple(drift.name for drift in drifts if drift.kind is Kind.STALE_TABLE)
    readable = any(drift.kind is Kind.MODE for drift in drifts)
    return Plan(
        tuple(drifts),
        tables,
        parameters,
        services,
        stale,
        readable,
        _activation(drifts),
        files,
        tuple(consequences),
    )


def _activation(drifts: list[Drift]) -> Activation:
    if any(drift.kind is Kind.PARAMETER and drift.name in RESTART_PARAMETERS for drift in drifts):
        return Activation.RESTART
    # A daemon that could not open an index does not try again (util/dict_surrogate.c), so Kind.INDEX needs a reload.
    needs_nothing = all(
        drift.kind in {Kind.STALE_TABLE, Kind.MODE}
        or (drift.kind is Kind.TABLE and drift.table is not None and drift.table.index_name is not None)
        for drift in drifts
    )
    return Activation.NONE if needs_nothing else Activation.RELOAD


_FILE = {Kind.PARAMETER: "main.cf: ", Kind.SERVICE: "master.cf: ", Kind.STALE_SERVICE: "master.cf: "}


def diff(planned: Plan) -> Iterator[str]:
    """Yield the plan as lines of a diff, then its consequences as text; the values of secret tables are masked."""
    for drift in planned.drifts:
        separator = " = " if drift.kind is Kind.PARAMETER else ": "
        subject = f"{_FILE.get(drift.kind, '')}{drift.name}{separator}"
        yield from (f"- {subject}{drift.actual}", f"+ {subject}{drift.shown}")
        if table := drift.table:
            yield from (f"- {table.name}: {key} {masked(table, value)}" for key, value in drift.removed)
    for drift in planned.drifts:
        if table := drift.table:
            yield from (f"+ {table.name}: {key} {masked(table, value)}" for key, value in drift.added)
    for one in planned.consequences:
        yield f"! {one.text} ({one.effect})" if one.effect else f"* {one.text}"
    if planned:
        yield f"then: {planned.activation.value}"


def masked(table: LookupTable, value: str) -> str:
    """Return a table's value, printable. Of a login, only the user name is shown."""
    user, colon, _ = value.partition(":")
    login = f"{user}:{MASK}" if colon else MASK
    return printable(login if table.secret else value)

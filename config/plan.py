"""Drift → the actions that put it right, in the order in which Postfix never sees a half-made configuration.

Pure. Tables and services come first (main.cf must not name one that is not there), then main.cf in one edit, then
services that nothing names any more go, then comes the reload or restart that the change needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from postward.config.desired import LookupTable
from postward.config.drift import Drift, Kind

# Parameters that `postfix reload` does not bring into force (postconf(5); master(8) warns "stop and start Postfix").
_RESTART_PARAMETERS = frozenset(
    {"inet_interfaces", "inet_protocols", "maillog_file", "queue_directory", "data_directory", "mail_owner"}
)


class Activation(Enum):
    """What Postfix must do for a change to take effect."""

    NONE = "nothing: Postfix sees a changed table by itself"
    RELOAD = "postfix reload"
    RESTART = "postfix stop, postfix start"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        drifts: why.
        tables: the tables to write.
        parameters: the main.cf parameters to set.
        services: the lines of master.cf to set, by service name.
        stale_services: the services of master.cf to remove, once main.cf does not name them any more.
        activation: what Postfix must do then.
    """

    drifts: tuple[Drift, ...]
    tables: tuple[LookupTable, ...]
    parameters: dict[str, str]
    services: dict[str, str]
    stale_services: tuple[str, ...]
    activation: Activation

    def __bool__(self) -> bool:
        return bool(self.drifts)


def plan(drifts: list[Drift]) -> Plan:
    """The actions that put these departures right."""
    parameters = {drift.name: drift.desired for drift in drifts if drift.kind is Kind.PARAMETER}
    tables = tuple({drift.table.name: drift.table for drift in drifts if drift.table}.values())
    services = {drift.name: drift.desired for drift in drifts if drift.kind is Kind.SERVICE}
    stale = tuple(drift.name for drift in drifts if drift.kind is Kind.STALE_SERVICE)
    return Plan(tuple(drifts), tables, parameters, services, stale, _activation(drifts))


def _activation(drifts: list[Drift]) -> Activation:
    if any(drift.kind is Kind.PARAMETER and drift.name in _RESTART_PARAMETERS for drift in drifts):
        return Activation.RESTART
    # A daemon that could not open an index gets along without it for the rest of its life (util/dict_surrogate.c).
    seen_by_itself = all(
        drift.kind is Kind.TABLE and drift.table is not None and drift.table.index_name is not None
        for drift in drifts
    )
    return Activation.NONE if seen_by_itself else Activation.RELOAD


_FILE = {Kind.PARAMETER: "main.cf: ", Kind.SERVICE: "master.cf: ", Kind.STALE_SERVICE: "master.cf: "}


def diff(planned: Plan) -> Iterator[str]:
    """The plan as lines of a diff. Values of secret tables are masked."""
    for drift in planned.drifts:
        separator = " = " if drift.kind is Kind.PARAMETER else ": "
        subject = f"{_FILE.get(drift.kind, '')}{drift.name}{separator}"
        yield from (f"- {subject}{drift.actual}", f"+ {subject}{drift.desired}")
    for table in planned.tables:
        yield from (f"+ {table.name}: {key} {masked(table, value)}" for key, value in table.entries)
    if planned:
        yield f"then: {planned.activation.value}"


def masked(table: LookupTable, value: str) -> str:
    """A table's value fit to print: of a login, only the user name."""
    return f"{value.partition(':')[0]}:********" if table.secret else value

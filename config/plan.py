"""Drift → the actions that put it right, in the order in which Postfix never sees a half-made configuration.

Pure. Tables come first (main.cf must not name one that is not there), then main.cf in one edit, then the
reload or restart that the changed parameters need.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from config.desired import LookupTable
from config.drift import Drift

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
        activation: what Postfix must do then.
    """

    drifts: tuple[Drift, ...]
    tables: tuple[LookupTable, ...]
    parameters: dict[str, str]
    activation: Activation

    def __bool__(self) -> bool:
        return bool(self.drifts)


def plan(drifts: list[Drift]) -> Plan:
    """The actions that put these departures right."""
    parameters = {drift.name: drift.desired for drift in drifts if drift.table is None}
    tables = tuple({drift.table.name: drift.table for drift in drifts if drift.table}.values())
    return Plan(tuple(drifts), tables, parameters, _activation(parameters, tables))


def _activation(parameters: dict[str, str], tables: tuple[LookupTable, ...]) -> Activation:
    if _RESTART_PARAMETERS & parameters.keys():
        return Activation.RESTART
    if parameters or any(table.index_name is None for table in tables):
        return Activation.RELOAD
    return Activation.NONE


def diff(planned: Plan) -> Iterator[str]:
    """The plan as lines of a diff. Values of secret tables are masked."""
    for drift in planned.drifts:
        if drift.table is None:
            yield from (
                f"- main.cf: {drift.name} = {drift.actual}",
                f"+ main.cf: {drift.name} = {drift.desired}",
            )
        else:
            yield from (f"- {drift.name}: {drift.actual}", f"+ {drift.name}: {drift.desired}")
    for table in planned.tables:
        yield from (f"+ {table.name}: {key} {masked(table, value)}" for key, value in table.entries)
    if planned:
        yield f"then: {planned.activation.value}"


def masked(table: LookupTable, value: str) -> str:
    """A table's value fit to print: of a login, only the user name."""
    return f"{value.partition(':')[0]}:********" if table.secret else value

"""Facts of lookup tables that are files, for lint: the references in main.cf and the tables on disk."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from postward.config.lint.text import Entry
from postward.config.resources import INDEX_SUFFIX

# Table type of a file → suffix of its index; "" if Postfix reads the text itself.
TABLE_SUFFIX: Mapping[str, str] = {**INDEX_SUFFIX, "regexp": "", "pcre": "", "cidr": ""}
_TABLE = re.compile(r"(proxy:)?([a-z]+):(/[^\s,{}]+)")
# Parameters of tables whose values say where mail goes and how. Values of tables with passwords are never kept.
_VALUES_WANTED = re.compile(
    r"(smtp_tls_policy_maps|transport_maps|sender_dependent_(relayhost|default_transport)_maps)"
)
_LOGINS = re.compile(r"pass(word|wd)")


@dataclass(frozen=True, slots=True)
class TableReference:
    """A lookup table as main.cf or master.cf refers to it."""

    type: str
    path: str
    proxied: bool = False

    @property
    def name(self) -> str:
        """`type:path`."""
        return f"{self.type}:{self.path}"

    @property
    def index_path(self) -> str | None:
        """Path of the index that postmap(1) builds; None for types that Postfix reads as text."""
        suffix = TABLE_SUFFIX[self.type]
        return f"{self.path}{suffix}" if suffix else None


@dataclass(frozen=True, slots=True)
class Table:
    """A lookup table on disk.

    Attributes:
        reference: type and path.
        parameters: the parameters that refer to it.
        entries: the entries of its source, without secrets; None if it could not be read or has another syntax.
        index_type: the type of its index by its first bytes, as in "hash"; None if unknown.
    """

    reference: TableReference
    parameters: tuple[str, ...]
    entries: tuple[Entry, ...] | None = None
    index_type: str | None = None


def table_references(values: Mapping[str, str]) -> Iterator[tuple[str, TableReference]]:
    """Yield (parameter, table) for every table in a file to which these expanded values refer."""
    for name, value in values.items():
        for proxy, kind, path in _TABLE.findall(value):
            if kind in TABLE_SUFFIX:
                yield name, TableReference(kind, path, bool(proxy))


def holds_logins(parameters: tuple[str, ...]) -> bool:
    """Return True if one of the parameters that refer to a table is about passwords."""
    return any(_LOGINS.search(name) for name in parameters)


def wants_values(parameters: tuple[str, ...]) -> bool:
    """Return True if the table's values say where mail goes and how."""
    return any(_VALUES_WANTED.fullmatch(name) for name in parameters) and not holds_logins(parameters)

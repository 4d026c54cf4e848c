"""Reads a configuration with the contents of its tables, for routing: a `Configuration` value.

Promise: the result holds no password. A table that may not be read, or that only Postfix can search, is left out, so
that its answers are unknown.

Contents are read from sources; from the index where it is older than its source, or without a source.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.run import PostfixError
from postward.config.parameters import expanded
from postward.config.resources import INDEX_SUFFIX
from postward.config.routing import Configuration, Tables
from postward.config.routing.parameters import (
    LISTS,
    MAPS,
    Conceal,
    Vault,
    holds_logins,
    user_of,
    without_logins,
    without_passwords,
)
from postward.config.routing.tables import (
    KEYED_TYPES,
    PATTERN_TYPES,
    Contents,
    Keyed,
    UnknownTableError,
    parse_contents,
)
from postward.parsers.postconf import Master, split_list

_MAX_BYTES = 4_000_000  # of a source; a larger one is left out


def read_configuration(
    postfix: PostfixConfig, changes: Mapping[str, str] | None = None, vault: Vault | None = None
) -> Configuration:
    """Return the configuration in the files, or as it would be with other parameters. Raises PostfixError."""
    return configuration(postfix, postfix.meanings((), changes or {}), postfix.master(), vault)


def configuration(
    postfix: PostfixConfig, values: Mapping[str, str], master: Master, vault: Vault | None = None
) -> Configuration:
    """Return the configuration with these parameters and services, and read the tables that they name.

    Args:
        postfix: the instance, whose tools read the tables.
        values: expanded values (`postconf -x`).
        master: the services of master.cf and their -o settings.
        vault: takes the passwords, so that logins can be compared; then directories and databases are asked too.
    """
    conceal = vault.conceal if vault else user_of
    overrides = {
        key: without_passwords(key.rpartition("/")[2], text, conceal)
        for key, text in master.overrides.items()
    }
    safe = {name: without_passwords(name, value, conceal) for name, value in values.items()}
    contents: dict[str, Contents | None] = {}
    lists: dict[str, str | None] = {}
    for name, value in _lists_of_tables(safe, overrides):
        for item in (word.lstrip("!") for word in split_list(value)):
            with contextlib.suppress(OSError):
                if item.startswith("/") and name in LISTS:
                    lists[item] = _text(Path(item))
                elif vault and _is_asked(item):
                    contents[item] = Asked(item, postfix, conceal if holds_logins(name) else str)
                elif _is_file(item):
                    table = _contents(item, postfix)
                    contents[item] = without_logins(table, conceal) if table and holds_logins(name) else table
    return Configuration(safe, Master(master.services, overrides), Tables(contents, lists))


def _lists_of_tables(values: Mapping[str, str], overrides: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (parameter, value) in main.cf and master.cf."""
    names = (*MAPS, *LISTS)
    yield from ((name, values[name]) for name in names if name in values)
    for key, text in overrides.items():
        if (name := key.rpartition("/")[2]) in names:
            yield name, expanded(text, values)


def _is_file(item: str) -> bool:
    kind, _, path = item.removeprefix("proxy:").partition(":")
    return kind in KEYED_TYPES | PATTERN_TYPES and path.startswith("/")


@dataclass(frozen=True, slots=True)
class Asked:
    """A table in a directory or database, which Postfix's tools ask for each key.

    Attributes:
        name: the table as the configuration names it.
        postfix: the instance.
        conceal: what takes the place of a value.
    """

    name: str
    postfix: PostfixConfig
    conceal: Conceal
    fixed: bool = True
    _known: dict[str, str | None] = field(default_factory=dict, repr=False)

    def get(self, key: str, *, substitute: bool) -> tuple[str, str] | None:
        """Return the key and its value; None without a match. Raises UnknownTableError."""
        if key not in self._known:
            kind, _, path = self.name.removeprefix("proxy:").partition(":")
            try:
                self._known[key] = self.postfix.look_up(kind, path, [key]).get(key)
            except PostfixError:
                raise UnknownTableError(self.name) from None
        value = self._known[key]
        return None if value is None else (key, self.conceal(value))


def _is_asked(item: str) -> bool:
    return item.removeprefix("proxy:").partition(":")[0] in {"ldap", "mysql", "pgsql", "sqlite"}


def _contents(item: str, postfix: PostfixConfig) -> Contents | None:
    """Return the contents of a table in a file; None if Postfix cannot open it. Raises OSError if this program cannot."""
    kind, _, name = item.removeprefix("proxy:").partition(":")
    path = Path(name)
    suffix = INDEX_SUFFIX.get(kind)
    index = Path(f"{name}{suffix}")
    if suffix and not index.exists():
        return None
    text = _text(path)
    if suffix and (text is None or index.stat().st_mtime_ns < path.stat().st_mtime_ns):
        return _indexed(kind, path, postfix)
    return None if text is None else parse_contents(kind, item, text)


def _indexed(kind: str, path: Path, postfix: PostfixConfig) -> Contents:
    """Return the contents of an index. Raises OSError if it may not be read."""
    try:
        return Keyed({key.lower(): value for key, value in postfix.entries(kind, path).items()})
    except PostfixError as error:
        raise OSError(str(error)) from error


def _text(path: Path) -> str | None:
    """Return the text of a file; None if it is missing. Raises OSError if it may not be read, or is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > _MAX_BYTES:
        raise OSError
    return data.decode(errors="replace")

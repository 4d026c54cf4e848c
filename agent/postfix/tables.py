"""Reads a configuration with the contents of its tables, for routing: a `Configuration` value.

Promise: the result holds no password. A table that may not be read, or that only Postfix can search, is left out, so
that its answers are unknown.

Contents are read from sources. An index that is older than its source gives Postfix other answers; lint reports it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from postward.agent.postfix.config import PostfixConfig
from postward.config.parameters import expanded
from postward.config.resources import INDEX_SUFFIX
from postward.config.routing import Configuration, Tables
from postward.config.routing.parameters import LISTS, MAPS, holds_logins, without_logins, without_passwords
from postward.config.routing.tables import KEYED_TYPES, PATTERN_TYPES, Contents, parse_contents
from postward.parsers.postconf import Master, split_list

_MAX_BYTES = 4_000_000  # of a source; a larger one is left out


def read_configuration(postfix: PostfixConfig, changes: Mapping[str, str] | None = None) -> Configuration:
    """Return the configuration in the files, or as it would be with other parameters. Raises PostfixError."""
    return configuration(postfix.meanings((), changes or {}), postfix.master())


def configuration(values: Mapping[str, str], master: Master) -> Configuration:
    """Return the configuration with these parameters and services, and read the tables that they name.

    Args:
        values: expanded values (`postconf -x`).
        master: the services of master.cf and their -o settings.
    """
    overrides = {
        key: without_passwords(key.rpartition("/")[2], text) for key, text in master.overrides.items()
    }
    safe = {name: without_passwords(name, value) for name, value in values.items()}
    contents: dict[str, Contents | None] = {}
    lists: dict[str, str | None] = {}
    for name, value in _lists_of_tables(safe, overrides):
        for item in (word.lstrip("!") for word in split_list(value)):
            with contextlib.suppress(OSError):
                if item.startswith("/") and name in LISTS:
                    lists[item] = _text(Path(item))
                elif _is_file(item):
                    table = _contents(item)
                    contents[item] = without_logins(table) if table and holds_logins(name) else table
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


def _contents(item: str) -> Contents | None:
    """Return the contents of a table in a file; None if Postfix cannot open it. Raises OSError if this program cannot."""
    kind, _, path = item.removeprefix("proxy:").partition(":")
    text = _text(Path(path))
    suffix = INDEX_SUFFIX.get(kind)
    if suffix and not Path(f"{path}{suffix}").exists():
        return None
    if text is None and suffix:
        raise FileNotFoundError(path)  # the index has entries that no source shows
    return None if text is None else parse_contents(kind, item, text)


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

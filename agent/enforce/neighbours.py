"""Reads which other SMTP hops and tables a Postfix has beside Postward's."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from postward.agent.enforce.tables import is_own, read_entries
from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.run import PostfixError
from postward.config.neighbours import (
    LISTS,
    LOGINS_BY_NEXT_HOP,
    REWRITING,
    SCALARS,
    Neighbours,
    clients,
    neighbours,
)
from postward.config.resources import INDEX_SUFFIX, OWN_PREFIX, TABLE_NAMES
from postward.config.settings import Settings
from postward.parsers.postconf import split_list


def read_neighbours(postfix: PostfixConfig, settings: Settings) -> Neighbours:
    """Return the neighbours of Postward's configuration. Raises PostfixError, OSError."""
    directory = postfix.config_directory
    files = frozenset(
        name for name in TABLE_NAMES if (directory / name).exists() and not is_own(directory / name)
    )
    own = {directory / name for name in TABLE_NAMES if name not in files}
    own |= {directory / f"{OWN_PREFIX}{name}" for name in TABLE_NAMES}
    lists = postfix.parameters(LISTS)
    ignored = frozenset(_ignored(lists, directory, own))
    read = ("smtp_sasl_password_maps", "sender_dependent_relayhost_maps")
    items = [item for name in read for item in split_list(lists[name]) if item not in ignored]
    tables = {item: _keys(item, directory) for item in items} | {
        name: _keys(f"texthash:{directory / name}", directory) for name in files
    }
    readable = {table: keys for table, keys in tables.items() if keys is not None}
    policies = [item for item in split_list(lists["smtp_tls_policy_maps"]) if item not in ignored]
    values = postfix.meanings([*SCALARS, *clients(settings.main_cf)])
    if {"sasl_passwd", "tls_policy"} <= {path.name.removeprefix(OWN_PREFIX) for path in own if is_own(path)}:
        values |= LOGINS_BY_NEXT_HOP  # Postward has set them with these tables: any other value is drift
    return neighbours(
        settings,
        {**values, **lists},
        postfix.master(),
        files,
        ignored,
        readable,
        _policies(postfix, policies, [relay.next_hop for relay in settings.relay if relay.next_hop]),
    )


def _keys(item: str, directory: Path) -> frozenset[str] | None:
    """Return the keys of a table in lowercase; None if they cannot be read. The login of static: is for every hop."""
    kind, path = _parts(item, directory)
    if kind == "static":
        return frozenset()
    if kind == "inline":
        return frozenset(key.lower() for key in re.findall(r"([^\s{},=]+)\s*=", path))
    if kind not in INDEX_SUFFIX or not Path(path).exists():
        return None
    return frozenset(key.lower() for key, _ in read_entries(Path(path)))


def _policies(postfix: PostfixConfig, items: list[str], hops: list[str]) -> dict[str, str]:
    """Return next hop → the entry of the first table that has one, as far as tables are files of this host."""
    found: dict[str, str] = {}
    for kind, name in (_parts(item, postfix.config_directory) for item in items):
        if kind in INDEX_SUFFIX or kind == "inline":
            try:
                found = {**postfix.look_up(kind, name, hops), **found}
            except PostfixError:  # of a table that Postfix cannot read either
                continue
    return found


def _parts(item: str, directory: Path) -> tuple[str, str]:
    """Return type and name of a table."""
    reference = item.removeprefix("proxy:").replace("$config_directory", str(directory))
    kind, _, name = reference.partition(":")
    return (kind, name) if name else ("", reference)


def _ignored(lists: Mapping[str, str], directory: Path, own: set[Path]) -> Iterator[str]:
    """Yield the items that are Postward's tables, or that name no table that exists: they route no mail."""
    for parameter, item in ((name, item) for name, value in lists.items() for item in split_list(value)):
        kind, name = _parts(item, directory)
        routes = parameter not in REWRITING
        is_path = name.startswith("/")  # the name of an inline table is its text
        leads_nowhere = is_path and (Path(name) in own or (routes and not _exists(kind, Path(name))))
        if leads_nowhere or (routes and not (kind or item.startswith("$"))):
            yield item


def _exists(kind: str, path: Path) -> bool:
    return path.exists() or Path(f"{path}{INDEX_SUFFIX.get(kind, '')}").exists()

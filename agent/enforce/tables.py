"""Lookup tables on disk: reads their state, and replaces them whole.

Promise: Postfix, which reads the index, sees the old table or the new one, never a part. A table that contains secrets
is readable only by root from its first byte.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from postward.agent.fsutil import sync_directory, write_new
from postward.agent.postfix.config import PostfixConfig
from postward.agent.postfix.run import PostfixError
from postward.config.desired import DesiredState
from postward.config.drift import ActualState, TableState
from postward.config.resources import (
    HEADER,
    INDEX_SUFFIX,
    OWN_PREFIX,
    OWN_SERVICE,
    TABLE_NAMES,
    LookupTable,
    entries_of,
)
from postward.parsers.postconf import Master, split_list

_ROOT = (0, 0)


def read_table(config: PostfixConfig, table: LookupTable) -> TableState:
    """Return the state of a table on disk. Raises OSError if it exists and cannot be read."""
    source = config.config_directory / table.name
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
        status = source.stat()
    except FileNotFoundError:
        return TableState()
    mode, owner = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
    index = table.index_name and config.config_directory / table.index_name
    if not index or not index.exists():
        return TableState(text, mode, owner)
    built = index.stat()
    current = built.st_mtime_ns >= status.st_mtime_ns and _matches(config, table)
    return TableState(text, mode, owner, built.st_mode & 0o7777, (built.st_uid, built.st_gid), current)


def _matches(config: PostfixConfig, table: LookupTable) -> bool:
    """Return True if the index has the table's value for each key. A damaged index has not."""
    keys = [key for key, _ in table.entries]
    try:
        values = config.look_up(table.type, config.config_directory / table.name, keys)
    except PostfixError:
        return False
    # postmap folds keys to lower case, as Postfix does when it looks them up.
    return {key.lower(): value for key, value in values.items()} == {
        key.lower(): value for key, value in table.entries
    }


def read_entries(path: Path) -> tuple[tuple[str, str], ...]:
    """Return (key, value) of each entry of a table's source; empty if it is missing. Raises OSError."""
    try:
        return entries_of(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return ()


def with_former_entries(config: PostfixConfig, table: LookupTable) -> LookupTable:
    """Return the table extended by the other entries of its file, for as long as the former main.cf is in force.

    Without the login of the former next hop, the relay would answer mail sent in between with 530, and Postfix would
    bounce it. Raises OSError.
    """
    known = {key for key, _ in table.entries}
    entries = read_entries(config.config_directory / table.name)
    former = {key: value for key, value in entries if key not in known}
    return replace(table, entries=(*table.entries, *former.items())) if former else table


def renew_logins(config: PostfixConfig, desired: DesiredState, actual: ActualState) -> bool:
    """Write the tokens into the tables in use, whatever else differs. Return True if a table was written.

    A token is renewed every hour. That is neither drift nor another configuration. Raises PostfixError, OSError.
    """
    renewals = [
        renewal
        for table in desired.tables
        if (text := actual.tables[table.name].text) and (renewal := table.renewal_of(text))
    ]
    for table in renewals:
        write_table(config, table)
    return bool(renewals)


def is_own(path: Path) -> bool:
    """Return True for the source of a table that Postward wrote. Raises OSError if it exists and cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(HEADER)) == HEADER.encode()
    except FileNotFoundError:
        return False


def stale_tables(config: PostfixConfig, desired: DesiredState, master: Master) -> Iterator[str]:
    """Yield the files of Postward's tables to which neither the desired state nor the admin refers.

    Raises PostfixError, OSError.
    """
    wanted = {table.name for table in desired.tables}
    names = [f"{prefix}{name}" for name in TABLE_NAMES for prefix in ("", OWN_PREFIX)]
    stale = [name for name in names if name not in wanted and is_own(config.config_directory / name)]
    if not stale:
        return
    unmanaged = [value for name, value in config.explicit().items() if name not in desired.parameters]
    unmanaged += [value for name, value in master.overrides.items() if not name.startswith(OWN_SERVICE)]
    for name in stale:
        if not any(re.search(rf"/{name}\b", value) for value in unmanaged):
            files = (name, *(f"{name}{suffix}" for suffix in INDEX_SUFFIX.values() if suffix))
            yield from (file for file in dict.fromkeys(files) if (config.config_directory / file).exists())


def exposed_logins(config: PostfixConfig, present: Mapping[str, str], desired: DesiredState) -> Iterator[str]:
    """Yield the tables of logins that fall out of use while every user of the host can read them."""
    name = "smtp_sasl_password_maps"
    kept = split_list(desired.parameters.get(name, present.get(name, "")))
    for item in split_list(present.get(name, "")):
        reference = item.removeprefix("proxy:").replace("$config_directory", str(config.config_directory))
        kind, _, path = reference.partition(":")
        if item in kept or kind in {"static", "inline"} or not path.startswith("/"):
            continue
        for file in (Path(path), Path(f"{path}{INDEX_SUFFIX.get(kind, '')}")):
            if file.is_file() and file.stat().st_mode & 0o004:
                yield path
                break


def write_table(config: PostfixConfig, table: LookupTable) -> None:
    """Build source and index under temporary names, then rename the index first, which is the file that Postfix reads.

    Raises:
        PostfixError, OSError: the source is the former one; the index may be the new one.
    """
    source = config.config_directory / table.name
    new = config.config_directory / f".{table.name}.postward"
    write_new(new, table.text.encode(), mode=table.mode, owner=_ROOT)
    if table.index_name:
        index = config.config_directory / table.index_name
        new_index = new.with_name(index.name.replace(table.name, new.name, 1))
        new_index.unlink(missing_ok=True)
        config.build_index(table.type, new)
        new_index.chmod(table.mode)
        new_index.replace(index)
    new.replace(source)
    sync_directory(config.config_directory)

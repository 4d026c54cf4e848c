"""Lookup tables on disk: what is there, and writing one whole.

Promise: Postfix, which reads the index, sees the old table or the new one, never a part; a table that holds
secrets is readable by root alone from its first byte.
"""

from dataclasses import replace

from postward.agent.fsutil import sync_directory, write_new
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.config.desired import LookupTable
from postward.config.drift import TableState

_ROOT = (0, 0)


def read_table(postfix: Postfix, table: LookupTable) -> TableState:
    """A table as it is on disk. Raises OSError if it is there and cannot be read."""
    source = postfix.config_directory / table.name
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
        status = source.stat()
    except FileNotFoundError:
        return TableState()
    mode, owner = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
    index = table.index_name and postfix.config_directory / table.index_name
    if not index or not index.exists():
        return TableState(text, mode, owner)
    built = index.stat()
    current = built.st_mtime_ns >= status.st_mtime_ns and _holds(postfix, table)
    return TableState(text, mode, owner, built.st_mode & 0o7777, (built.st_uid, built.st_gid), current)


def _holds(postfix: Postfix, table: LookupTable) -> bool:
    """True if the index answers every key as the table says. A damaged index is one that does not."""
    keys = [key for key, _ in table.entries]
    try:
        found = postfix.look_up(table.type, postfix.config_directory / table.name, keys)
    except PostfixError:
        return False
    # postmap folds keys to lower case, as Postfix does when it looks them up.
    return {key.lower(): value for key, value in found.items()} == {
        key.lower(): value for key, value in table.entries
    }


def with_former_entries(postfix: Postfix, table: LookupTable) -> LookupTable:
    """The table with what its file has besides, for the time in which the former main.cf is still in force.

    Without the login of the former next hop, mail that leaves in between would be answered 530 and bounced.
    Raises OSError.
    """
    try:
        lines = (
            (postfix.config_directory / table.name).read_text(encoding="utf-8", errors="replace").splitlines()
        )
    except FileNotFoundError:
        return table
    fields = [line.split(None, 1) for line in lines if line[:1] not in ("#", " ", "\t")]
    known = {key for key, _ in table.entries}
    former = {
        key: value.strip() for key, value in (pair for pair in fields if len(pair) == 2) if key not in known
    }
    return replace(table, entries=(*table.entries, *former.items())) if former else table


def write_table(postfix: Postfix, table: LookupTable) -> None:
    """Build source and index beside their places, then rename the index first: Postfix reads only the index.

    Raises:
        PostfixError, OSError: the table in use is the former one.
    """
    source = postfix.config_directory / table.name
    beside = postfix.config_directory / f".{table.name}.postward"
    write_new(beside, table.text.encode(), mode=table.mode, owner=_ROOT)
    if table.index_name:
        index = postfix.config_directory / table.index_name
        built = beside.with_name(index.name.replace(table.name, beside.name, 1))
        built.unlink(missing_ok=True)
        postfix.build_index(table.type, beside)
        built.chmod(table.mode)
        built.replace(index)
    beside.replace(source)
    sync_directory(postfix.config_directory)

"""Reads which other SMTP hops and tables a Postfix has beside Postward's."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from postward.agent.postfix.config import PostfixConfig
from postward.config.neighbours import LISTS, SCALARS, Neighbours, neighbours
from postward.config.resources import HEADER, INDEX_SUFFIX, OWN_PREFIX, TABLE_NAMES
from postward.config.settings import Settings
from postward.parsers.postconf import split_list


def read_neighbours(postfix: PostfixConfig, settings: Settings) -> Neighbours:
    """Return the neighbours of Postward's configuration. Raises PostfixError, OSError."""
    directory = postfix.config_directory
    admins = frozenset(name for name in TABLE_NAMES if _is_admins(directory / name))
    own = {directory / name for name in TABLE_NAMES if name not in admins}
    own |= {directory / f"{OWN_PREFIX}{name}" for name in TABLE_NAMES}
    lists = postfix.parameters(LISTS)
    ignored = frozenset(_ignored(lists, directory, own))
    return neighbours(settings, {**postfix.meanings(SCALARS), **lists}, postfix.master(), admins, ignored)


def _is_admins(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(HEADER)) != HEADER.encode()
    except FileNotFoundError:
        return False


def _ignored(lists: Mapping[str, str], directory: Path, own: set[Path]) -> Iterator[str]:
    """Yield the items that are Postward's tables, or that name no existing table: they route no mail."""
    for item in (item for value in lists.values() for item in split_list(value)):
        kind, _, name = item.replace("$config_directory", str(directory)).rpartition(":")
        kind = kind.rpartition(":")[2]  # proxy:hash:/path
        path = Path(name)
        if kind and name.startswith("/") and (path in own or not _exists(kind, path)):
            yield item


def _exists(kind: str, path: Path) -> bool:
    return path.exists() or Path(f"{path}{INDEX_SUFFIX.get(kind, '')}").exists()

"""A mailbox in a Maildir of this host, with subfolders as `.Junk` (Maildir++) or `Junk`.

Mails are read where they lie: none is moved from new/ to cur/. Another user owns the Maildir, and this process can be
root: each directory and file is opened below the one before it, and no link is followed.
"""

import contextlib
import errno
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

from postward.agent.mailbox.access import (
    MAX_FOLDERS,
    MAX_HEADS,
    MAX_MAIL,
    Key,
    Kind,
    Look,
    Mail,
    MailboxError,
    kind_of,
)
from postward.config.mailbox import Account

_PARTS: Final = ("new", "cur")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ROOT: Final = "INBOX"
_MAX_MAILS: Final = 200_000  # of a folder
_HEAD: Final = 16384  # bytes


class MaildirReader:
    """Reads a Maildir.

    Args:
        account: the mailbox.
    """

    def __init__(self, account: Account) -> None:
        self._mailbox = account
        self._seen: dict[str, set[str]] = {}  # folder → names of mails that were looked at

    def look(self, since: float) -> Look:
        """Return new mails; see `Reader`."""
        mails: list[Mail] = []
        left = 0
        with self._faults(), self._root() as root:
            for folder, (path, kind) in self._folders(root).items():
                present = {
                    name.partition(":")[0]: (part, name)
                    for part, name in _names(root, path)
                    if (_delivered(name) or since) >= since
                }
                seen = self._seen[folder] = self._seen.get(folder, set()) & present.keys()
                new = sorted(present.keys() - seen, key=_delivered, reverse=True)
                mails += _heads(root, folder, kind, path, [present[mail] for mail in new[:MAX_HEADS]])
                seen.update(new[:MAX_HEADS])
                left += len(new[MAX_HEADS:])
        return Look(mails, left)

    def read(self, key: Key) -> bytes:
        """Return the beginning of a mail; see `Reader`."""
        with self._faults(), self._root() as root:
            for _, path, part, name in self._find(root, [key]):
                found = _peek(root, path, part, name, MAX_MAIL)
                return found[1] if found else b""
        return b""

    def present(self, keys: Iterable[Key]) -> set[Key]:
        """Return the mails that are still there; see `Reader`."""
        with self._faults(), self._root() as root:
            return {key for key, *_ in self._find(root, keys)}

    def delete(self, keys: Iterable[Key]) -> None:
        """Delete mails; see `Reader`."""
        with self._faults(), self._root() as root:
            for _, path, part, name in self._find(root, keys):
                with _below(root, path, part) as directory, contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)

    def close(self) -> None:
        """Do nothing: no descriptor is kept."""

    def abort(self) -> None:
        """Do nothing: a file of this host answers or fails."""

    # --- folders and files

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MailboxError("host", f"{self._mailbox.maildir}: {error.strerror}") from None

    @contextmanager
    def _root(self) -> Iterator[int]:
        descriptor = os.open(self._mailbox.maildir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _folders(self, root: int) -> dict[str, tuple[str, Kind]]:
        """Return the name of each folder that is read → its directory and kind."""
        with os.scandir(root) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and entry.name not in {"new", "cur", "tmp"}
            ]
        folders = {_ROOT: ".", **{name.removeprefix("."): name for name in sorted(names)}}
        kinds = {
            name: (path, kind)
            for name, path in folders.items()
            if (kind := kind_of(name, self._mailbox)) is not None and _is_maildir(root, path)
        }
        if "inbox" not in {kind for _, kind in kinds.values()}:
            wanted = ", ".join(self._mailbox.inbox_folders)
            raise MailboxError(
                "folder",
                f"{self._mailbox.maildir}: no folder with new and cur matches {self._mailbox.section}.inbox_folders ({wanted})",
            )
        return dict(list(kinds.items())[:MAX_FOLDERS])

    def _find(self, root: int, keys: Iterable[Key]) -> Iterator[tuple[Key, str, str, str]]:
        """Yield each mail with its directory, part and file name, in which a mail program may have changed the flags.

        Each folder is listed once, before the first of its mails is given.
        """
        wanted: dict[str, dict[int | str, Key]] = defaultdict(dict)
        for key in keys:
            wanted[key[0]][key[2]] = key
        folders = self._folders(root) if wanted else {}
        for folder in wanted.keys() & folders.keys():
            path, mails = folders[folder][0], wanted[folder]
            yield from [
                (mails[mail], path, part, name)
                for part, name in _names(root, path)
                if (mail := name.partition(":")[0]) in mails
            ]


@contextmanager
def _below(root: int, path: str, part: str) -> Iterator[int]:
    folder = os.open(path, _DIRECTORY, dir_fd=root)
    try:
        directory = os.open(part, _DIRECTORY, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        yield directory
    finally:
        os.close(directory)


def _is_maildir(root: int, path: str) -> bool:
    try:
        for part in _PARTS:
            with _below(root, path, part):
                pass
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _names(root: int, path: str) -> Iterator[tuple[str, str]]:
    """Yield part and file name of each mail of a folder."""
    for part in _PARTS:
        with _below(root, path, part) as directory, os.scandir(directory) as entries:
            for entry in islice(entries, _MAX_MAILS):
                if not entry.name.startswith("."):
                    yield part, entry.name


def _delivered(name: str) -> int:
    """Return when a mail was delivered, with which its file name begins, in seconds since the epoch; 0: not known."""
    seconds = name.partition(".")[0]
    return int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 12 else 0


def _heads(root: int, folder: str, kind: Kind, path: str, files: Sequence[tuple[str, str]]) -> list[Mail]:
    """Return mails. Raises PermissionError if none of them may be read."""
    mails: list[Mail] = []
    denied: PermissionError | None = None
    for part, name in files:
        try:
            found = _peek(root, path, part, name, _HEAD)
        except PermissionError as error:
            denied = error
            continue
        if found:
            mails.append(Mail((folder, 0, name.partition(":")[0]), kind, *found))
    if denied and not mails:
        raise denied
    return mails


def _peek(root: int, path: str, part: str, name: str, size: int) -> tuple[float, bytes] | None:
    """Return when a mail came and its beginning; None for one that is gone, or is not a regular file."""
    try:
        with _below(root, path, part) as directory:
            descriptor = os.open(name, _FILE, dir_fd=directory)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in {errno.ELOOP, errno.ENXIO}:
            return None
        raise
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        return (status.st_mtime, file.read(size)) if stat.S_ISREG(status.st_mode) else None

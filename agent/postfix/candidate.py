"""The new main.cf and master.cf: edited on a copy, judged there by Postfix, then moved into place.

Promise: what somebody else edits in the meantime is not lost. postconf(1) edits under a lock on NAME.tmp
(util/edit_file.c), which is held here from the last look at the file to its rename; and a file that is no longer the
one the copy was made of gives another copy, edited and judged anew. Only an editor that knows no lock, and saves
between that look and the rename, can lose its change.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from postward.agent.enforce.errors import RefusedError
from postward.agent.fsutil import wait_for_writers, wait_until, write_atomically
from postward.agent.postfix.commands import Postfix, PostfixError, backdate

_NAMES = ("main.cf", "master.cf")
_TIMES = 10  # copies that are made of files that change all the time
_LOCK_TAKES = 5.0  # seconds at the most: postconf(1) holds it for milliseconds


class Candidate:
    """An edited copy that Postfix has judged good.

    Args:
        postfix: whose configuration it will be.
        folder: where the copy is made.
        edit: edits a copy; it may be called again, with another one.

    Raises:
        RefusedError: Postfix judges the edit wrong.
        PostfixError, OSError: there is no good copy for another reason.
    """

    def __init__(self, postfix: Postfix, folder: Path, edit: Callable[[Postfix], None]) -> None:
        self._postfix = postfix
        self._folder = folder
        self._edit = edit
        self._made_of: dict[str, bytes] = {}
        self._make()

    def move(self, name: str) -> None:
        """Move one of the files into place, with the owner and mode that the file has (postconf would reset them).

        Raises:
            PostfixError, OSError: it is not in place.
        """
        target = self._postfix.config_directory / name
        for _ in range(_TIMES):
            with _locked(target):
                if target.read_bytes() == self._made_of[name]:
                    self._put(target)
                    return
            try:
                self._make()
            except RefusedError as error:  # somebody is half-way through another change
                raise PostfixError(f"{target} was changed meanwhile, and now: {error}") from error
        raise PostfixError(f"{target} changes all the time; stop what edits it")

    def discard(self) -> None:
        """Remove the copy. Raises OSError."""
        shutil.rmtree(self._folder)

    def _make(self) -> None:
        copy = self._copy()
        self._edit(copy)
        if words := self._judge(copy):
            if former := self._judge(self._copy()):
                raise PostfixError(f"Postfix refuses its configuration as it is, before any change: {former}")
            raise RefusedError(f"postfix check: {words}")

    def _copy(self) -> Postfix:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)
        for name in _NAMES:
            path = self._postfix.config_directory / name
            wait_for_writers(path)
            content = path.read_bytes()
            self._made_of[name] = content
            # postconf(1) appends to a last line that has no end, and so loses what it should add.
            (self._folder / name).write_bytes(content if content.endswith(b"\n") else content + b"\n")
        return Postfix(self._folder)

    def _judge(self, copy: Postfix) -> str:
        backdate(copy.main_cf)
        return copy.check().replace(str(self._folder), str(self._postfix.config_directory))

    def _put(self, target: Path) -> None:
        status = target.stat()
        owner = (status.st_uid, status.st_gid)
        content = (self._folder / target.name).read_bytes()
        write_atomically(target, content, mode=stat.S_IMODE(status.st_mode), owner=owner)
        if target == self._postfix.main_cf:
            backdate(target)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock under which postconf(1) edits a file. Raises PostfixError, OSError."""
    beside = path.with_name(f"{path.name}.tmp")
    lock = wait_until(lambda: _lock(beside), _LOCK_TAKES)
    if lock is None:
        raise PostfixError(f"{path} is being edited (postconf holds {beside.name}) for too long")
    with lock:
        try:
            yield
        finally:
            # Before the lock goes: who waits for it sees that, and makes a new one.
            beside.unlink(missing_ok=True)


def _lock(path: Path) -> BinaryIO | None:
    """An open file with the lock; None if somebody else has it, or the file went while its lock came."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "rb+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None

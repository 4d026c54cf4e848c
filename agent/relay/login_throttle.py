"""Limits login attempts at a relay after a rejection, so that Postward never locks an account.

Attempts are recorded before they are made (unless this process just saw one accepted), so a crash cannot hide one. They
count for the account, a user name at a host, whichever process, relay of the settings or port makes them. Only an accepted
login or another password clears the record. A process that may not read the password clears nothing.

Promise: at most `max_per_hour` attempts in any hour after a rejection, across processes and restarts. No password can be
guessed from the file, which the agent's user owns: a password file counts by its inode and time, a password that this
user has anyway by a slow hash.

How it fails: if the file cannot be written, the error is logged once and the record lasts as long as the process.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field
from typing_extensions import TypedDict

from postward.agent.fsutil import open_lock, replace_owned, stat_identity, wait_until
from postward.agent.parts import Problem
from postward.agent.stored import Form, read_stored
from postward.config.errors import SettingsError
from postward.config.relay import Relay
from postward.config.settings import Settings

_HOUR = 3600.0
_MAX_WAIT = 3.0  # seconds for the lock, which is held for milliseconds
_COST = 1 << 14  # of scrypt: 50 ms and 16 MB for each guess
_log = logging.getLogger("postward.relay")


class _Account(TypedDict):
    """The record of an account.

    Keys:
        attempts: their times, in seconds since the epoch.
        rejected: whether the last known outcome is a rejection.
        open: attempts without an outcome.
        process: the process of the last attempt.
        marks: where a password comes from → a text that changes with it.
    """

    attempts: list[float]
    rejected: bool
    open: Annotated[int, Field(ge=0)]
    process: int | None
    marks: dict[str, str]


class _Content(TypedDict, total=False):
    salt: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    accounts: dict[str, _Account]


_FORM: Form[_Content] = Form(_Content)


class LoginThrottle:
    """Decides whether a login at a relay may be attempted now.

    Args:
        path: the file of the record, in the state directory.
        relays: the relays of the settings.
        max_per_hour: attempts in any hour after a rejection.
        clock: seconds since the epoch.
    """

    def __init__(
        self, path: Path, relays: list[Relay], max_per_hour: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._relays = {relay.name: relay for relay in relays}
        self._max_per_hour = max_per_hour
        self._clock = clock
        self._record = _Record(path)
        self._accepted: dict[
            str, str | None
        ] = {}  # relay → mark of the password that this process saw accepted
        self._unrecorded: dict[str, int] = {}  # relay → attempts under way with such a login
        self._marks: dict[tuple[str, str], str] = {}  # (salt, password) → slow hash

    @classmethod
    def of_settings(cls, settings: Settings) -> "LoginThrottle":
        """Return the throttle that the agent and the commands share."""
        path = Path(settings.state.directory) / "logins.json"
        return cls(path, settings.relay, settings.probe.max_auth_attempts_per_hour)

    def next_attempt_at(self, relay: str) -> float | None:
        """Return when a login may be attempted again, in seconds since the epoch; None if it may be now."""
        with self._record.locked() as data:
            entry = self._entry(data, relay)
            attempts = self._recent(entry)
            if not entry["rejected"] or len(attempts) < self._max_per_hour:
                return None
            return float(sorted(attempts)[-self._max_per_hour]) + _HOUR

    def acquire(self, relay: str) -> bool:
        """Record an attempt that is about to be made; return False if it must not be made.

        If this process saw the login accepted, and none was rejected since, nothing is written.
        """
        with self._record.locked() as data:
            entry = self._entry(data, relay)
            if self._accepted.get(relay, "") == self._mark(data, relay) and not entry["rejected"]:
                self._unrecorded[relay] = self._unrecorded.get(relay, 0) + 1
                return True
            # An attempt without an outcome is from a process that crashed: it may have been rejected.
            entry["rejected"] = entry["rejected"] or (entry["open"] > 0 and not _lives(entry.get("process")))
            attempts = self._recent(entry)
            allowed = not entry["rejected"] or len(attempts) < self._max_per_hour
            if allowed:
                entry["attempts"] = [*attempts, self._clock()]
                entry["open"] += 1
                entry["process"] = os.getpid()
            self._record.write()
            return allowed

    def release(self, relay: str, *, accepted: bool | None) -> None:
        """Record the outcome of an attempt; None if the relay was not asked, or its answer is unknown."""
        unrecorded = self._unrecorded.pop(relay, 0)
        if unrecorded > 1:
            self._unrecorded[relay] = unrecorded - 1
        if unrecorded and accepted is not False:
            return
        with self._record.locked() as data:
            entry = self._entry(data, relay)
            if not unrecorded:
                entry["open"] = max(0, entry["open"] - 1)
            if accepted:
                entry["attempts"], entry["rejected"] = [], False
                self._accepted[relay] = self._mark(data, relay)
            elif accepted is False:
                entry["rejected"] = True
                self._accepted.pop(relay, None)
                if unrecorded:
                    entry["attempts"] = [*self._recent(entry), self._clock()]
            elif entry["attempts"]:
                entry["attempts"].pop()
            self._record.write()

    def note_rejected(self, relay: str) -> None:
        """Record that an attempt with an unknown outcome was rejected. The settings may have lost the relay since."""
        if relay not in self._relays:
            return
        with self._record.locked() as data:
            entry = self._entry(data, relay)
            if not entry["rejected"]:
                entry["rejected"], entry["attempts"] = True, [*self._recent(entry), self._clock()]
                self._record.write()

    def reset(self, relay: str) -> None:
        """Clear the record: mail went through this relay. The settings may have lost the relay since."""
        if relay not in self._relays:
            return
        with self._record.locked() as data:
            entry = self._entry(data, relay)
            entry["attempts"], entry["rejected"] = [], False
            self._record.write()

    def digests(self) -> dict[str, str]:
        """Return a hash of all settings of each relay and the mark of its password, which changes when they do."""
        with self._record.locked() as data:
            marks = {name: self._mark(data, name) for name in self._relays}
            self._record.write()
        return {name: _digest(relay, marks[name]) for name, relay in self._relays.items()}

    def _recent(self, entry: Mapping[str, Any]) -> list[float]:
        """Return the attempts of the last hour. Those of the future, after a clock was set back, are kept."""
        now = self._clock()
        return [moment for moment in entry["attempts"] if now - moment < _HOUR]

    def _entry(self, data: dict[str, Any], relay: str) -> dict[str, Any]:
        """Return the record of a relay's account, without attempts if the password is another one."""
        given = self._relays[relay]
        accounts: dict[str, Any] = data.setdefault("accounts", {})
        name = f"{given.username}@{given.host.lower()}"
        entry: dict[str, Any] = accounts.setdefault(
            name, {"attempts": [], "rejected": False, "open": 0, "process": None, "marks": {}}
        )
        mark, source = self._mark(data, relay), str(given.login_file or given.password_credential)
        if mark is not None and entry["marks"].get(source) != mark:
            if entry["marks"]:
                entry["attempts"], entry["rejected"], entry["open"] = [], False, 0
            entry["marks"][source] = mark
        return entry

    def _mark(self, data: dict[str, Any], relay: str) -> str | None:
        """Return a text that changes with the relay's password; None if this process may not read it."""
        given = self._relays[relay]
        try:
            password = given.read_password() if given.username else ""
        except SettingsError:
            return None
        if given.login_file:
            with contextlib.suppress(OSError):
                status = given.login_file.stat()
                return f"{status.st_ino} {status.st_mtime_ns}"
        key = data.setdefault("salt", secrets.token_hex(16)), password
        if key not in self._marks:
            self._marks[key] = hashlib.scrypt(
                password.encode(), salt=bytes.fromhex(key[0]), n=_COST, r=8, p=1, dklen=16
            ).hex()
        return self._marks[key]


class _Record:
    """The file: JSON, with a lock file beside it; kept in memory as long as it does not change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data: dict[str, Any] = {}
        self._identity: tuple[int, ...] | None = None  # of the file that `_data` was read from
        self._written: bytes | None = None  # the content of that file, if this process wrote it
        self._locked = False
        self._problem = Problem(_log, str(path))

    @contextmanager
    def locked(self) -> Iterator[dict[str, Any]]:
        """Give the file's content, under an exclusive lock. Without a file, give this process's own."""
        descriptor = None
        try:
            descriptor = open_lock(self._path.with_suffix(".lock"))
            _lock(descriptor)
            self._locked = True
            if (identity := stat_identity(self._path)) != self._identity or identity is None:
                self._data, self._identity, self._written = _read(self._path), identity, None
        except OSError as error:
            self._log_once(error)
        try:
            yield self._data
        finally:
            self._locked = False
            if descriptor is not None:
                os.close(descriptor)

    def write(self) -> None:
        """Write the content back if it changed. Call it inside `locked`."""
        content = json.dumps(self._data).encode()
        if not self._locked or content == self._written:
            return
        try:
            replace_owned(self._path, content, mode=0o600)
            self._identity, self._written = stat_identity(self._path), content
            self._problem.note(None)
        except OSError as error:
            self._log_once(error)

    def _log_once(self, error: OSError) -> None:
        self._problem.note(f"{error.strerror}; rejected logins are remembered only until this process ends")


def _lock(descriptor: int) -> None:
    """Lock the file. Raises OSError after a few seconds: the agent's user must not hold up root by keeping the lock."""

    def is_locked() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    if not wait_until(is_locked, _MAX_WAIT):
        raise OSError(errno.EWOULDBLOCK, "the lock file is held by another process")


def _read(path: Path) -> dict[str, Any]:
    """Return the content of the file; an empty one if it is missing or damaged."""
    try:
        return cast("dict[str, Any]", read_stored(path, _FORM))
    except (FileNotFoundError, ValueError):
        return {}


def _digest(relay: Relay, mark: str | None) -> str:
    content = json.dumps([relay.model_dump(mode="json", exclude={"password"}), mark])
    return hashlib.sha256(content.encode()).hexdigest()


def _lives(process: object) -> bool:
    return isinstance(process, int) and Path(f"/proc/{process}").exists()

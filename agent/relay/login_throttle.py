"""Limits login attempts at a relay after a rejection, so that Postward never locks an account.

Attempts are recorded before they are made (unless this process just saw one accepted), so a crash cannot hide one. A
success clears the record, and so does a change of host, port, username or password of the relay. Those are stored as a
keyed hash, from which no password can be guessed.

Promise: at most `max_per_hour` attempts in any hour after a rejection, across processes and restarts. The file holds
times and hashes only, and only its owner can read it.

How it fails: if the file cannot be written, the error is logged once and the record lasts as long as the process.
"""

import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from postward.agent.fsutil import owner_in, stat_identity, write_new
from postward.agent.parts import Problem
from postward.config.errors import SettingsError
from postward.config.relay import Relay
from postward.config.settings import Settings

_HOUR = 3600.0
_log = logging.getLogger("postward.relay")


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
        self._accepted: dict[str, str] = {}  # relay → hash of the login that this process saw accepted
        self._unrecorded: dict[str, int] = {}  # relay → attempts under way with such a login

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
            if self._accepted.get(relay) == entry["login"] and not entry["rejected"]:
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
                self._accepted[relay] = entry["login"]
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
        """Return a hash of all settings of each relay, which changes when they do."""
        with self._record.locked() as data:
            is_new = "key" not in data
            key = _key(data)
            if is_new:
                self._record.write()
        return {name: _digest(key, relay, whole=True) for name, relay in self._relays.items()}

    def _recent(self, entry: Mapping[str, Any]) -> list[float]:
        """Return the attempts of the last hour. Those of the future, after a clock was set back, are kept."""
        now = self._clock()
        return [moment for moment in entry["attempts"] if now - moment < _HOUR]

    def _entry(self, data: dict[str, Any], relay: str) -> dict[str, Any]:
        """Return the record of a relay, a new one if its login changed."""
        relays = data.setdefault("relays", {})
        digest = _digest(_key(data), self._relays[relay])
        if relays.get(relay, {}).get("login") != digest:
            relays[relay] = {"login": digest, "attempts": [], "rejected": False, "open": 0}
        entry: dict[str, Any] = relays[relay]
        return entry


class _Record:
    """The file: JSON, with a lock file beside it; kept in memory as long as it does not change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data: dict[str, Any] = {}
        self._identity: tuple[int, ...] | None = None  # of the file that `_data` was read from
        self._locked = False
        self._problem = Problem(_log, str(path))

    @contextmanager
    def locked(self) -> Iterator[dict[str, Any]]:
        """Give the file's content, under an exclusive lock. Without a file, give this process's own."""
        descriptor = None
        try:
            descriptor = _open_lock(self._path.with_suffix(".lock"))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._locked = True
            if (identity := stat_identity(self._path)) != self._identity or identity is None:
                self._data, self._identity = _read(self._path), identity
        except OSError as error:
            self._log_once(error)
        try:
            yield self._data
        finally:
            self._locked = False
            if descriptor is not None:
                os.close(descriptor)

    def write(self) -> None:
        """Write the content back. Call it inside `locked`."""
        if not self._locked:
            return
        try:
            _replace(self._path, json.dumps(self._data).encode())
            self._identity = stat_identity(self._path)
            self._problem.note(None)
        except OSError as error:
            self._log_once(error)

    def _log_once(self, error: OSError) -> None:
        self._problem.note(f"{error.strerror}; rejected logins are remembered only until this process ends")


def _open_lock(path: Path) -> int:
    """Open or create the lock file. No link is followed: the agent's user could have put it there for root."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    if owner := owner_in(path.parent):
        os.fchown(descriptor, *owner)
    return descriptor


def _replace(path: Path, data: bytes) -> None:
    """Replace the file. Unlike `write_atomically` it replaces a link instead of following it."""
    beside = path.with_name(f".{path.name}.new")
    write_new(beside, data, mode=0o600, owner=owner_in(path.parent))
    beside.replace(path)


def _read(path: Path) -> dict[str, Any]:
    """Return the content of the file; an empty one if it is missing or damaged."""
    try:
        data = json.loads(path.read_bytes())
        bytes.fromhex(data["key"])
        for entry in data["relays"].values():
            _ = float(sum(entry["attempts"])) + entry["open"] + entry["rejected"], entry["login"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return dict(data)


def _key(data: dict[str, Any]) -> bytes:
    return bytes.fromhex(data.setdefault("key", secrets.token_hex(32)))


def _digest(key: bytes, relay: Relay, *, whole: bool = False) -> str:
    """Hash a relay's login (or all its settings). An unreadable password file counts by its identity."""
    try:
        password = relay.read_password() if relay.username else ""
    except SettingsError:
        password = " ".join(map(str, stat_identity(Path(relay.password_file)) or ()))
    others = relay.model_dump(mode="json", exclude={"password"}) if whole else None
    content = json.dumps([relay.host, relay.port, relay.username, password, others])
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()


def _lives(process: object) -> bool:
    return isinstance(process, int) and Path(f"/proc/{process}").exists()

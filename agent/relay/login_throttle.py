"""The guard of logins: after a refused one, Postward tries it only so often an hour, so that no account is locked.

A try is written down before it is made, unless this process has just seen the login accepted, so that crashes cannot
hide tries; an accepted login strikes all of them off. The memory ends when host, port, username or password of the
relay change; they are known by a keyed hash, from which no password can be guessed.

Promise: across processes and restarts, no more than `most` tries in any hour once one was refused; the file holds
times and hashes only, for its owner alone.

How it fails: where the file cannot be written (OSError, told once), the memory of this process holds.
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

from postward.agent.fsutil import write_new
from postward.config.errors import SettingsError
from postward.config.relay import Relay

_HOUR = 3600.0
_log = logging.getLogger("postward.lockout")


class LoginThrottle:
    """Decides whether a relay may be asked to take a login now.

    Args:
        path: the file in the folder of the state.
        relays: the relays of the settings.
        most: tries an hour after a refused one.
        clock: seconds since the epoch.
    """

    def __init__(
        self, path: Path, relays: list[Relay], most: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._relays = {relay.name: relay for relay in relays}
        self._most = most
        self._clock = clock
        self._data: dict[str, Any] = {}
        self._state: tuple[int, int, int] | None = None  # of the file that the data are from
        self._accepted: dict[str, str] = {}  # relay → the settings that this process has seen accepted
        self._unwritten: dict[str, int] = {}  # tries under way of such
        self._problem: str | None = None

    def admits(self, relay: str) -> bool:
        """True if a login may be tried now."""
        with self._file():
            entry = self._entry(relay)
            return not entry["refused"] or len(self._recent(entry)) < self._most

    def try_again_at(self, relay: str) -> float | None:
        """When a login may be tried again, in seconds since the epoch; None if it may be now."""
        with self._file():
            entry = self._entry(relay)
            recent = self._recent(entry)
            if not entry["refused"] or len(recent) < self._most:
                return None
            return float(sorted(recent)[-self._most]) + _HOUR

    def begin(self, relay: str) -> bool:
        """Write down a try that is about to be made. False if it must not be.

        Where this process has seen the login accepted and nothing was refused since, there is nothing to write.
        """
        with self._file():
            entry = self._entry(relay)
            if self._accepted.get(relay) == entry["settings"] and not entry["refused"]:
                self._unwritten[relay] = self._unwritten.get(relay, 0) + 1
                return True
        with self._file(write=True):
            entry = self._entry(relay)
            # One without an outcome is from a run that ended in between: it may have been refused.
            entry["refused"] = entry["refused"] or (entry["open"] > 0 and not _lives(entry.get("process")))
            recent = self._recent(entry)
            if entry["refused"] and len(recent) >= self._most:
                return False
            entry["tries"] = [*recent, self._clock()]
            entry["open"] += 1
            entry["process"] = os.getpid()
            return True

    def end(self, relay: str, *, accepted: bool | None) -> None:
        """What came of a try; None if the relay was not asked, or nobody knows."""
        unwritten = self._unwritten.pop(relay, 0)
        if unwritten > 1:
            self._unwritten[relay] = unwritten - 1
        if unwritten and accepted is not False:
            return
        with self._file(write=True):
            entry = self._entry(relay)
            if not unwritten:
                entry["open"] = max(0, entry["open"] - 1)
            if accepted:
                entry["tries"], entry["refused"] = [], False
                self._accepted[relay] = entry["settings"]
            elif accepted is False:
                entry["refused"] = True
                self._accepted.pop(relay, None)
                if unwritten:
                    entry["tries"] = [*self._recent(entry), self._clock()]
            elif entry["tries"]:
                entry["tries"].pop()

    def note_refused(self, relay: str) -> None:
        """A try that looked undecided turned out to be refused. The relay may be gone from the settings since."""
        if relay not in self._relays:
            return
        with self._file(write=True):
            entry = self._entry(relay)
            if not entry["refused"]:
                entry["refused"], entry["tries"] = True, [*self._recent(entry), self._clock()]

    def forgive(self, relay: str) -> None:
        """Mail went through this relay: it takes the login. The relay may be gone from the settings since."""
        if relay not in self._relays:
            return
        with self._file(write=True):
            entry = self._entry(relay)
            entry["tries"], entry["refused"] = [], False

    def digests(self) -> dict[str, str]:
        """Each relay's settings as a hash: what changes when they do."""
        with self._file():
            known = "key" in self._data
        with self._file(write=not known):
            key = bytes.fromhex(self._data.setdefault("key", secrets.token_hex(32)))
            self._data.setdefault("relays", {})
        return {name: _digest(key, relay, whole=True) for name, relay in self._relays.items()}

    def _recent(self, entry: Mapping[str, Any]) -> list[float]:
        now = self._clock()
        # A clock that was set back must not make tries disappear: what is of the future counts as now.
        return [moment for moment in entry["tries"] if now - moment < _HOUR]

    def _entry(self, relay: str) -> dict[str, Any]:
        """What is known of a relay; anew if its settings are others."""
        key = bytes.fromhex(self._data.setdefault("key", secrets.token_hex(32)))
        relays = self._data.setdefault("relays", {})
        digest = _digest(key, self._relays[relay])
        if relays.get(relay, {}).get("settings") != digest:
            relays[relay] = {"settings": digest, "tries": [], "refused": False, "open": 0}
        entry: dict[str, Any] = relays[relay]
        return entry

    @contextmanager
    def _file(self, *, write: bool = False) -> Iterator[None]:
        """The file's content, alone among processes; written back if asked to."""
        descriptor = None
        try:
            descriptor = _open_lock(self._path.with_suffix(".lock"))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if (state := _stat(self._path)) != self._state or state is None:
                self._data, self._state = _read(self._path), state
        except OSError as error:
            self._tell(error)
        try:
            yield
            if write and descriptor is not None:
                try:
                    _replace(self._path, json.dumps(self._data).encode())
                    self._state = _stat(self._path)
                    self._problem = None
                except OSError as error:
                    self._tell(error)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _tell(self, error: OSError) -> None:
        if self._problem != str(error.strerror):
            self._problem = str(error.strerror)
            _log.error(
                "%s: %s; refused logins are remembered only until this process ends",
                self._path,
                error.strerror,
            )


def _owner(directory: Path) -> tuple[int, int] | None:
    """Root leaves files that the agent's user can use, and follows no link that this user may have put there."""
    status = directory.stat()
    return (status.st_uid, status.st_gid) if os.geteuid() == 0 else None


def _open_lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    if owner := _owner(path.parent):
        os.fchown(descriptor, *owner)
    return descriptor


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    write_new(beside, data, mode=0o600, owner=_owner(path.parent))
    beside.replace(path)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> dict[str, Any]:
    """What was written; nothing if there is nothing that can be used."""
    try:
        data = json.loads(path.read_bytes())
        bytes.fromhex(data["key"])
        for entry in data["relays"].values():
            _ = float(sum(entry["tries"])) + entry["open"] + entry["refused"], entry["settings"]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return dict(data)


def _digest(key: bytes, relay: Relay, *, whole: bool = False) -> str:
    """A relay's login (or all its settings) as a hash. A password that is not ours to read counts by its file's state."""
    try:
        password = relay.read_password() if relay.username else ""
    except SettingsError:
        password = _state_of(relay.password_file)
    others = relay.model_dump(mode="json", exclude={"password"}) if whole else None
    content = json.dumps([relay.host, relay.port, relay.username, password, others])
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()


def _lives(process: object) -> bool:
    return isinstance(process, int) and Path(f"/proc/{process}").exists()


def _state_of(path: str) -> str:
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"

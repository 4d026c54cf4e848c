"""Settings that change while the agent or the enforcer runs: by SIGHUP, or because their file does.

Promise: good settings that differ from those in force are handed out, once. Bad ones leave the old ones in force, and that is
told: in the log, in `systemctl status`, and by a metric.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from postward.agent.logs.watcher import Watcher, wake_up
from postward.agent.metrics.tally import Gauges
from postward.agent.systemd import set_status
from postward.config.errors import SettingsError
from postward.config.settings import Settings, load_settings

_SETTLE = 0.3  # seconds: an editor writes in several steps
_LOOK_AGAIN = 30.0  # seconds until the file is looked at without a wake-up

_log = logging.getLogger("postward")


class SettingsReloader:
    """The settings in force, and what is waited for to change them.

    Args:
        path: the settings file; None: they never change.
        settings: those in force.

    Attributes:
        settings: those in force, as far as this knows.
        problem: why the file, as it is now, is not in force; None if it is.
        since: when they came into force, in seconds since the epoch.
    """

    def __init__(self, path: Path | None, settings: Settings) -> None:
        self.settings = settings
        self.problem: str | None = None
        self.since = time.time()
        self._path = path
        self._refused: Settings | None = None
        self._asked = asyncio.Event()
        self._state: tuple[int, int, int, int] | None = None  # of the file when it was read last by this

    def listen(self, then: Callable[[], object] | None = None) -> None:
        """Take SIGHUP from now on; `then` is called as well."""

        def asked() -> None:
            self._state = None
            self._asked.set()
            if then is not None:
                then()

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked)

    async def changed(self, watcher: Watcher) -> Settings:
        """Wait for other settings that are good. They are in force for this object once they are handed out."""
        if self._path is None:
            await asyncio.Event().wait()
        assert self._path is not None  # noqa: S101 - see above
        name = self._path.name
        watcher.watch(self._path.resolve().parent, lambda changed: changed == name, self._asked)
        self._asked.set()  # nobody watched since the settings were read, or since these were handed out
        self._tell()
        while True:
            await wake_up(self._asked, _LOOK_AGAIN)
            await asyncio.sleep(_SETTLE)
            if (state := _state_of(self._path)) == self._state:
                continue
            self._state = state
            if (settings := await asyncio.to_thread(self._load)) is not None:
                self.settings, self.since = settings, time.time()
                return settings

    def refuse(self, settings: Settings, back: Settings, problem: str) -> None:
        """These settings could not be put into force: the former ones are."""
        self._refused, self.settings = settings, back
        self._note(problem)

    def gauges(self) -> Gauges:
        """What /metrics shows."""
        return {
            "postward_settings_in_force": {(): float(self.problem is None)},
            "postward_settings_loaded_timestamp_seconds": {(): self.since},
        }

    def _load(self) -> Settings | None:
        """The file's settings, if they are good and others than those in force."""
        assert self._path is not None  # noqa: S101 - called with a file only
        try:
            settings = load_settings(self._path)
        except SettingsError as error:
            self._note("; ".join(error.problems))
            return None
        if settings == self._refused:
            return None
        self._note(None)
        if settings == self.settings:
            return None
        _log.info("settings: %s has changed and is read anew", self._path)
        return settings

    def _note(self, problem: str | None) -> None:
        if problem != self.problem:
            if problem:
                _log.error("settings: the former ones stay in force: %s", problem)
            else:
                _log.info("settings: %s is in force", self._path)
        self.problem = problem
        self._tell()

    def _tell(self) -> None:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        if self.problem:
            set_status(f"{self._path} is NOT in force, but the settings of {at}: {self.problem}")
        else:
            set_status(f"settings of {at} are in force")


async def race(*waits: Coroutine[Any, Any, Any]) -> Any:
    """Wait for one of several things; the others are given up. Its result."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def _state_of(path: Path | None) -> tuple[int, int, int, int] | None:
    """What changes when a file does; None if it is not there."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) if status else None

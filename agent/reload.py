"""Re-read the settings while the agent or the enforcer runs: on SIGHUP, on request, or when their file changes.

Promise: good settings that differ from those in force are returned by `changed`, once. Bad settings leave the former ones in
force; the problem is logged, shown by `systemctl status`, and exported as a metric.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from postward.agent.fsutil import stat_identity
from postward.agent.logs.watcher import Watcher, wake_up
from postward.agent.parts import Gauges, Part, Problem
from postward.agent.systemd import SETTINGS_REFUSED, set_status
from postward.config.errors import SettingsError
from postward.config.settings import Settings, fragments_of, load_settings, settings_files

_SETTLE = 0.3  # seconds: an editor writes in several steps
_POLL_INTERVAL = 30.0  # seconds between two looks at the file without a wake-up

_log = logging.getLogger("postward")


class SettingsReloader(Part):
    """The settings in force, and the file that may change them.

    Args:
        path: the settings file; None: the settings never change.
        settings: the settings in force.
        load: reads the file. Raises SettingsError.
        main: for an instance that a main settings file names, that file's reloader, which has the signal and the status
            for systemd.

    Attributes:
        path: the settings file.
        settings: the settings in force.
        since: when the settings came into force, in seconds since 1970.
        followers: called when the settings are re-read on SIGHUP.
        unwatched: settings file of another instance → why that instance is not watched.
    """

    def __init__(
        self,
        path: Path | None,
        settings: Settings,
        load: Callable[[Path], Settings] = load_settings,
        main: "SettingsReloader | None" = None,
    ) -> None:
        self.settings = settings
        self.followers: list[Callable[[], object]] = []
        self.unwatched: dict[Path, str] = {}
        self._load_file = load
        self._main = main
        self._problem = Problem(
            _log, "settings: the former settings stay in force", f"settings: {path} is in force"
        )
        self.since = time.time()
        self.path = path
        self._refused: Settings | None = None
        self._loaded: Settings | None = None  # good and different, not yet returned by `changed`
        self._wake = asyncio.Event()
        self._also: Callable[[], object] | None = None
        self._identity: object = None  # of the files when they were last read

    @property
    def problem(self) -> str | None:
        """Why the file is not in force as it is now; None if it is."""
        return self._problem.text

    def listen(self, also: Callable[[], object] | None = None) -> None:
        """Re-read the settings on SIGHUP from now on, and call `also`."""
        self._also = also
        if self._main is None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.request)

    def request(self) -> None:
        """Re-read the settings soon, as on SIGHUP."""
        self._identity = None
        self._wake.set()
        if self._also is not None:
            self._also()
        for follower in self.followers:
            follower()

    def note_unwatched(self, path: Path, why: str | None) -> None:
        """Note that another instance is not watched; None: that it is watched, or is no longer named."""
        if why is None:
            self.unwatched.pop(path, None)
        else:
            self.unwatched[path] = why
        self._show_status()

    async def reload(self) -> str | None:
        """Re-read the settings now. Return the problem if they are refused, else None.

        Settings that differ from those in force are handed to the caller of `changed`.
        """
        if self.path is None:
            return None
        self._identity = _identity(self.path)
        if (settings := await asyncio.to_thread(self._load)) is not None:
            self._loaded = settings
            self._wake.set()
        for follower in self.followers:
            follower()
        return self.problem

    async def changed(self, watcher: Watcher) -> Settings:
        """Wait for good settings that differ, put them into force here, and return them."""
        if self.path is None:
            await asyncio.Event().wait()
        assert self.path is not None  # noqa: S101 - see above
        name = self.path.name
        watcher.watch(self.path.resolve().parent, lambda changed: changed == name, self._wake)
        watcher.watch(fragments_of(self.path), lambda changed: changed.endswith(".toml"), self._wake)
        self._wake.set()  # the file was not watched between the last reading and now
        self._show_status()
        while True:
            await wake_up(self._wake, _POLL_INTERVAL)
            if self._loaded is None:
                await asyncio.sleep(_SETTLE)
                if (identity := _identity(self.path)) == self._identity:
                    continue
                self._identity = identity
                self._loaded = await asyncio.to_thread(self._load)
            if (settings := self._loaded) is not None:
                self._loaded = None
                self.settings, self.since = settings, time.time()
                return settings

    def refuse(self, settings: Settings, former: Settings, problem: str) -> None:
        """Note that `settings` could not be put into force and `former` are in force again."""
        self._refused, self.settings = settings, former
        self._note(problem)

    def gauges(self) -> Gauges:
        """Return whether the file is in force, and since when the settings are."""
        return {
            "postward_settings_in_force": {(): float(self.problem is None and not self.unwatched)},
            "postward_settings_loaded_timestamp_seconds": {(): self.since},
        }

    def conditions(self) -> Mapping[str, str | None]:
        """Return why the settings file, or that of an instance without a watch, is not in force."""
        problems = [*filter(None, [self.problem]), *self.unwatched.values()]
        return {"settings-not-in-force": "; ".join(problems) or None}

    def _load(self) -> Settings | None:
        """Return the settings of the file if they are good and differ from those in force."""
        assert self.path is not None  # noqa: S101 - called with a file only
        try:
            settings = self._load_file(self.path)
        except SettingsError as error:
            self._note("; ".join(error.problems))
            return None
        if settings == self._refused:
            return None
        self._note(None)
        if settings == self.settings:
            return None
        _log.info("settings: %s has changed; re-reading it", self.path)
        return settings

    def _note(self, problem: str | None) -> None:
        self._problem.note(problem)
        self._show_status()

    def _show_status(self) -> None:
        if self._main is not None:
            return
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        if self.problem:
            set_status(f"{self.path} is {SETTINGS_REFUSED}, but the settings of {at}: {self.problem}")
        elif self.unwatched:
            files = ", ".join(map(str, self.unwatched))
            set_status(f"{files} is {SETTINGS_REFUSED}: {'; '.join(self.unwatched.values())}")
        else:
            set_status(f"settings of {at} are in force")


def _identity(path: Path) -> object:
    """Return values that change whenever the settings file or a fragment does."""
    try:
        files = settings_files(path)
    except SettingsError:
        files = [fragments_of(path)]
    return [(file, stat_identity(file)) for file in files]


async def race(*waits: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of the first coroutine that ends, and cancel the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

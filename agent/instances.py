"""The further instances of Postfix that the main settings file names: one task for each of their settings files.

Promise: an instance starts, stops and re-reads its settings without a pause of the others. A fault in its file, or of
its agent, ends no other: it is an incident of the main instance, and the instance is tried again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from postward.agent.logs.watcher import wake_up
from postward.agent.parts import Problem
from postward.agent.reload import SettingsReloader
from postward.config.errors import SettingsError
from postward.config.instances import load_instance
from postward.config.settings import Settings

_RETRY = 10.0  # seconds until an instance that failed is tried again
_log = logging.getLogger("postward")


@dataclass(slots=True)
class Instance:
    """An instance that runs, or is tried again and again.

    Attributes:
        stop: set when it has to end.
        wake: set when it has to be tried again now.
        task: runs it.
        reloader: its settings; None while it is not watched.
    """

    stop: asyncio.Event
    wake: asyncio.Event
    task: asyncio.Task[None]
    reloader: SettingsReloader | None = None


class Instances:
    """Runs the further instances.

    Args:
        main: the settings in force of the main file. Without a file, there is only this one.
        run: runs an instance from its settings on until the event is set, and calls the function once it is watched.
            Raises an exception if it cannot.
    """

    def __init__(
        self,
        main: SettingsReloader,
        run: Callable[[SettingsReloader, asyncio.Event, Callable[[], None]], Awaitable[None]],
    ) -> None:
        self._main = main
        self._run = run
        self._instances: dict[Path, Instance] = {}
        self._ending: set[asyncio.Task[None]] = set()
        main.followers.append(self._request)

    def update(self) -> None:
        """Start and stop instances as the main settings in force name them, and let the others re-read theirs."""
        named = [Path(path) for path in self._main.settings.postfix.instances]
        for path in self._instances.keys() - set(named):
            self._end(self._instances.pop(path))
            self._main.note_unwatched(path, None)
            _log.info("instance: %s is no longer named", path)
        self._request()
        for path in named if self._main.path else ():
            if path not in self._instances:
                stop, wake = asyncio.Event(), asyncio.Event()
                task = asyncio.get_running_loop().create_task(self._keep(path, stop, wake))
                self._instances[path] = Instance(stop, wake, task)

    async def close(self) -> None:
        """End all instances, and wait until each has saved its state."""
        for instance in self._instances.values():
            self._end(instance)
        await asyncio.gather(*self._ending)

    def _end(self, instance: Instance) -> None:
        instance.stop.set()
        instance.wake.set()
        self._ending.add(instance.task)
        instance.task.add_done_callback(self._ending.discard)

    def _request(self) -> None:
        """Let all instances re-read their settings."""
        for instance in self._instances.values():
            if instance.reloader is not None:
                instance.reloader.request()
            instance.wake.set()

    async def _keep(self, path: Path, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """Run an instance until it has to end, again after each failure."""
        problem = Problem(_log, "instance", f"instance: {path} is watched")

        def note(text: str | None) -> None:
            problem.note(text and f"{text}; this instance is not watched")
            if not stop.is_set():
                self._main.note_unwatched(path, problem.text)

        while not stop.is_set():
            try:
                settings = await asyncio.to_thread(self._load, path)
                if not stop.is_set():
                    reloader = SettingsReloader(path, settings, self._load, self._main)
                    self._instances[path].reloader = reloader
                    await self._run(reloader, stop, lambda: note(None))
            except SettingsError as error:
                note("; ".join(error.problems))
            except Exception as error:
                note(f"{path}: {error or type(error).__name__}")
            if not stop.is_set():
                self._instances[path].reloader = None
                await wake_up(wake, _RETRY)

    def _load(self, path: Path) -> Settings:
        """Return the settings of an instance. Raises SettingsError."""
        assert self._main.path is not None  # noqa: S101 -- only a file names instances
        others = {
            file: instance.reloader.settings
            for file, instance in list(self._instances.items())
            if file != path and instance.reloader is not None
        }
        return load_instance(path, self._main.path, self._main.settings, others)

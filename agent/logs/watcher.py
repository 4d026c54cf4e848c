"""Wake-ups from the file system. A wake-up is only a hint: watchdog can lose events and a directory can be missing,
so whoever waits looks again after a time-out anyway.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

# Reading is no change; an observer that woke up by it would never sleep.
_NO_CHANGE = frozenset({"opened", "closed_no_write"})


class Watcher:
    """Tells of changes in directories, as long as the `with` block lasts. Must be made inside the running loop."""

    def __init__(self) -> None:
        self._observer: BaseObserver = Observer()
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._observer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._observer.stop()
        self._observer.join()

    def watch(
        self, directory: Path, concerns: Callable[[str], bool], wake: asyncio.Event | None = None
    ) -> asyncio.Event:
        """An event (a new one, or `wake`) that is set whenever a file of the directory changes whose name `concerns` accepts."""
        wake = wake or asyncio.Event()
        try:
            self._observer.schedule(_Handler(self._loop, wake, concerns), str(directory))
        except OSError:
            wake.clear()  # not there, or out of inotify watches: the time-out of whoever waits remains
        return wake


class _Handler(FileSystemEventHandler):
    def __init__(
        self, loop: asyncio.AbstractEventLoop, wake: asyncio.Event, concerns: Callable[[str], bool]
    ) -> None:
        self._loop = loop
        self._wake = wake
        self._concerns = concerns

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Runs in the observer's thread."""
        if event.is_directory:  # the one that is watched, as a rule: what changed in it is told besides
            return
        names = [str(path).rpartition("/")[2] for path in (event.src_path, event.dest_path) if path]
        if event.event_type not in _NO_CHANGE and any(self._concerns(name) for name in names):
            self._loop.call_soon_threadsafe(self._wake.set)


async def wake_up(wake: asyncio.Event, timeout_seconds: float, descriptors: Iterable[int] = ()) -> None:
    """Wait for a hint, or until one of these can be read, at most so long."""
    loop = asyncio.get_running_loop()
    watched = [descriptor for descriptor in descriptors if _add_reader(loop, descriptor, wake)]
    try:
        async with asyncio.timeout(timeout_seconds):
            await wake.wait()
    except TimeoutError:
        pass
    finally:
        for descriptor in watched:
            loop.remove_reader(descriptor)
    wake.clear()


def _add_reader(loop: asyncio.AbstractEventLoop, descriptor: int, wake: asyncio.Event) -> bool:
    try:
        loop.add_reader(descriptor, wake.set)
    except OSError:  # a file in place of a pipe: the time-out remains
        return False
    return True

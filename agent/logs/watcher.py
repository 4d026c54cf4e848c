"""Wake-ups from the file system.

A wake-up is only a hint. Watchdog can lose events, and a directory can be missing, so callers also poll after a timeout.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Self

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

# Reads are ignored: a reader that they wake would wake itself.
_NO_CHANGE = frozenset({"opened", "closed_no_write"})

# It reports as an error that it was stopped between two events.
logging.getLogger("watchdog").setLevel(logging.CRITICAL)


class Watcher:
    """Watches directories within its `with` block. Create it inside the running event loop."""

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
        """Watch a directory. Return an event that is set when a file changes whose name `concerns` accepts.

        Args:
            directory: the directory; its subdirectories are not watched.
            concerns: takes a file name.
            wake: the event to set and return; None creates one.
        """
        wake = wake or asyncio.Event()
        try:
            self._observer.schedule(_Handler(self._loop, wake, concerns), str(directory))
        except OSError:
            wake.clear()  # the directory is missing, or inotify watches are used up: the caller's timeout remains
        return wake


class _Handler(FileSystemEventHandler):
    def __init__(
        self, loop: asyncio.AbstractEventLoop, wake: asyncio.Event, concerns: Callable[[str], bool]
    ) -> None:
        self._loop = loop
        self._wake = wake
        self._concerns = concerns

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Set the event, from the observer's thread."""
        if event.is_directory:  # usually the watched directory; the change of its file is reported separately
            return
        names = [str(path).rpartition("/")[2] for path in (event.src_path, event.dest_path) if path]
        if event.event_type not in _NO_CHANGE and any(self._concerns(name) for name in names):
            self._loop.call_soon_threadsafe(self._wake.set)


async def wake_up(wake: asyncio.Event, timeout_seconds: float) -> None:
    """Wait for `wake` for at most `timeout_seconds`, and clear it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            await wake.wait()
    wake.clear()

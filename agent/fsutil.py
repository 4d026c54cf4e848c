"""Writing files so that no reader ever sees a half-written one, and no crash leaves one.

A file is written beside its place, flushed to disk and renamed over it. Owner and mode are set before the
content is, so that a secret is never readable for longer than its file will be.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_POLL_INTERVAL = 0.01  # seconds

_WRITING_TAKES = 3.0  # seconds


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None
) -> None:
    """Replace `path` with `data`.

    Args:
        path: the file; a symbolic link is followed, so that the link stays.
        data: the whole content.
        mode: permission bits.
        owner: (uid, gid), or None to leave it to the system.

    Raises:
        OSError: nothing was changed.
    """
    path = Path(os.path.realpath(path))
    beside = path.with_name(f".{path.name}.postward")
    try:
        write_new(beside, data, mode=mode, owner=owner)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    sync_directory(path.parent)


def write_new(path: Path, data: bytes, *, mode: int, owner: tuple[int, int] | None) -> None:
    """Write a file that must not exist yet (a left-over of a crash is removed first) and flush it to disk."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def wait_for_writers(path: Path) -> None:
    """Wait until nobody has a file open for writing, but no longer than a writer may reasonably take."""
    wait_until(lambda: not _is_being_written(path), _WRITING_TAKES)


def _is_being_written(path: Path) -> bool:
    """True if no lease for readers can be had (fcntl(2), F_SETLEASE). False also where leases are unknown or not for us."""
    try:
        with path.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def sync_directory(directory: Path) -> None:
    """Make renames in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def wait_until(condition: Callable[[], T], seconds: float) -> T:
    """Poll `condition` in this thread for at most `seconds`. Return its first true value, or its last one."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(_POLL_INTERVAL)
    return value

"""Recognise changed files, and write files atomically: neither readers nor a crash see a partly written file.

The content goes into a temporary file in the same directory, which is flushed to disk and renamed. Owner and mode are
set before the content is written, so that a secret is never readable for other users.
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

_MAX_WRITE_TIME = 3.0  # seconds


def write_atomically(
    path: Path, data: bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None
) -> None:
    """Replace `path` with `data`.

    Args:
        path: the file; if it is a symbolic link, the file it points to is replaced.
        data: the whole content.
        mode: permission bits.
        owner: (uid, gid); None for those of the process.

    Raises:
        OSError: the file cannot be written; the former file is unchanged.
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


def owner_in(directory: Path) -> tuple[int, int] | None:
    """Return who must own new files: root leaves them to the owner of the directory, whose user reads them later."""
    status = directory.stat()
    return (status.st_uid, status.st_gid) if os.geteuid() == 0 else None


def reason_of(error: OSError) -> str:
    """Return what is wrong, and the remedy if the user lacks a right."""
    reason = error.strerror or str(error)
    is_denied = isinstance(error, PermissionError) and os.geteuid() != 0
    return f"{reason}; run this with sudo" if is_denied else reason


def stat_identity(path: Path) -> tuple[int, ...] | None:
    """Return values that change whenever the file does; None if it is missing or cannot be examined."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def write_new(path: Path, data: bytes, *, mode: int, owner: tuple[int, int] | None) -> None:
    """Create a file and flush it to disk. An existing file, such as one left by a crash, is removed first."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def replace_owned(path: Path, data: bytes, *, mode: int) -> None:
    """Replace a file in a directory of another user, who owns it then. A link is replaced, and not followed.

    Raises:
        OSError: the file cannot be written; the former file is unchanged.
    """
    beside = path.with_name(f".{path.name}.new")
    write_new(beside, data, mode=mode, owner=owner_in(path.parent))
    beside.replace(path)
    sync_directory(path.parent)


def open_lock(path: Path) -> int:
    """Open or create a lock file in a directory of another user. No link is followed: that user could have put it there."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    if owner := owner_in(path.parent):
        os.fchown(descriptor, *owner)
    return descriptor


def wait_for_writers(path: Path) -> None:
    """Wait until no process has the file open for writing, for at most 3 seconds."""
    wait_until(lambda: not _is_being_written(path), _MAX_WRITE_TIME)


def _is_being_written(path: Path) -> bool:
    """Return True if the kernel refuses a read lease (fcntl(2), F_SETLEASE).

    Return False where leases are not supported or not permitted.
    """
    try:
        with path.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def free_bytes(path: Path) -> float | None:
    """Return the free bytes of a file system for users other than root; None if unknown."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return float(status.f_bavail * status.f_frsize)


def sync_directory(directory: Path) -> None:
    """Flush a directory to disk, so that renames in it survive a power cut.

    Errors are ignored, because the renames are in force already. Only a power cut could undo them.
    """
    with contextlib.suppress(OSError):
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

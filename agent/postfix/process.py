"""Postfix's master process and its queue manager, found in proc(5): without a program, and without being root.

Every user of the host names processes, with whatever bytes: names are compared as bytes.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

# master.pid is root's alone on most hosts, and going through all of /proc at every scrape is not for busy ones.
_last_master: dict[str, Path | None] = {}


def is_master_running(queue_directory: str) -> bool:
    """True if the master process of this queue lives. Starts no program, and looks first at the one it found last time."""
    last = _last_master.get(queue_directory)
    if last is not None and _is_master(last, queue_directory):
        return True
    found = next((entry for entry in _processes() if _is_master(entry, queue_directory)), None)
    _last_master[queue_directory] = found
    return found is not None


def queue_manager_start(queue_directory: str) -> float | None:
    """When the queue manager of this queue was started (seconds since the epoch); None if none runs."""
    masters = {entry.name.encode() for entry in _processes() if _is_master(entry, queue_directory)}
    starts = [_start(entry) for entry in _processes() if _is_child(entry, b"qmgr", masters)]
    return max((start for start in starts if start is not None), default=None)


def _processes() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _is_master(process: Path, queue_directory: str) -> bool:
    try:
        if (process / "comm").read_bytes() != b"master\n" or b"/master\0" not in (
            process / "cmdline"
        ).read_bytes():
            return False
    except OSError:
        return False  # it has just ended
    try:
        return str((process / "cwd").readlink()) == queue_directory
    except OSError:
        return True  # not for us to see: on a host with one instance, a master is the master


def _stat(process: Path) -> list[bytes]:
    """The fields of proc(5)'s stat from the state on: the name before them may hold blanks."""
    try:
        return (process / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def _is_child(process: Path, name: bytes, parents: set[bytes]) -> bool:
    try:
        return (process / "comm").read_bytes() == name + b"\n" and _stat(process)[1] in parents
    except (OSError, IndexError):
        return False  # it has just ended


def _start(process: Path) -> float | None:
    """When a process was started, in seconds since the epoch."""
    fields = _stat(process)
    if len(fields) < 20:
        return None
    age = float(Path("/proc/uptime").read_text().split()[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age

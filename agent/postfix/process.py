"""Finds Postfix's master(8) and its queue manager in proc(5): without starting a program, and without root.

Any user of the host can name processes, with any bytes, so names are compared as bytes.
"""

import os
import re
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_ROUTING = (b"qmgr", b"trivial-rewrite")  # proc(5) shows 15 characters of a name
# master.pid is readable only by root on most hosts, and scanning all of /proc at every look is too expensive on busy
# ones. Queue directory and /proc → the master found last, and the newest process when none was found: a master that
# starts has newer children.
_last_master: dict[tuple[str, Path], Path] = {}
_last_without: dict[tuple[str, Path], bytes] = {}


def is_master_running(queue_directory: str, proc: Path = _PROC) -> bool:
    """Return True if the master process of this queue runs."""
    key = (queue_directory, proc)
    last = _last_master.get(key)
    if last is not None and _is_master(last, queue_directory):
        return True
    newest = _newest(proc)
    if newest and _last_without.get(key) == newest:
        return False
    master = next((entry for entry in _processes(proc) if _is_master(entry, queue_directory)), None)
    if master is None:
        _last_without[key] = newest
        return False
    _last_master[key] = master
    return True


def _newest(proc: Path) -> bytes:
    """Return the ID of the newest process; nothing if it is not known."""
    try:
        return (proc / "loadavg").read_bytes().split()[-1]
    except (OSError, IndexError):
        return b""


def queue_manager_start(queue_directory: str, proc: Path = _PROC) -> float | None:
    """Return when the queue manager of this queue started, in seconds since the epoch; None if it does not run."""
    masters = {entry.name.encode() for entry in _processes(proc) if _is_master(entry, queue_directory)}
    starts = [_start(entry) for entry in _processes(proc) if _is_child(entry, b"qmgr", masters)]
    return max((start for start in starts if start is not None), default=None)


class Routing(NamedTuple):
    """The processes that decide the next hops of a queue, each as its ID and the ticks at its start."""

    managers: frozenset[tuple[str, bytes]]
    resolvers: frozenset[tuple[str, bytes]]

    def has_replaced(self, former: "Routing") -> bool:
        """Return whether there is a queue manager, and none of the former processes is left."""
        return bool(self.managers) and not (
            self.managers & former.managers or self.resolvers & former.resolvers
        )


def routing(queue_directory: str, proc: Path = _PROC) -> Routing:
    """Return the processes of qmgr(8) and trivial-rewrite(8) of this queue."""
    masters = {entry.name.encode() for entry in _processes(proc) if _is_master(entry, queue_directory)}
    found: dict[bytes, set[tuple[str, bytes]]] = {name: set() for name in _ROUTING}
    for entry in _processes(proc):
        for name in _ROUTING:
            if _is_child(entry, name, masters) and len(fields := _stat(entry)) > 19:
                found[name].add((entry.name, fields[19]))
    return Routing(*map(frozenset, found.values()))


def is_master_in_foreground(queue_directory: str, proc: Path = _PROC) -> bool:
    """Return True if `postfix start-fg` started the master process of this queue: with -i or -s, see master(8)."""
    masters = (entry for entry in _processes(proc) if _is_master(entry, queue_directory))
    return any({b"-i", b"-s"} & set((master / "cmdline").read_bytes().split(b"\0")) for master in masters)


def master_cgroup(queue_directory: str, proc: Path = _PROC) -> str:
    """Return the control groups of the master process of this queue, as proc(5) shows them; "" if it does not run."""
    for master in (entry for entry in _processes(proc) if _is_master(entry, queue_directory)):
        try:
            return (master / "cgroup").read_text()
        except OSError:
            return ""
    return ""


def service_of(cgroup: str) -> str:
    """Return the unit of Postfix in control groups, as in "0::/system.slice/postfix@out.service"; "" without one."""
    units = re.findall(r"/(postfix[^/\n]*\.service)$", cgroup, re.MULTILINE)
    return units[0] if units else ""


def is_running(names: Collection[str], proc: Path = _PROC) -> bool:
    """Return True if a process with one of these names runs."""
    wanted = {name.encode() + b"\n" for name in names}
    return any(_name(entry) in wanted for entry in _processes(proc))


def _name(process: Path) -> bytes:
    try:
        return (process / "comm").read_bytes()
    except OSError:
        return b""  # it has just ended


def _processes(proc: Path) -> Iterator[Path]:
    return (entry for entry in proc.iterdir() if entry.name.isdecimal())


def _is_master(process: Path, queue_directory: str) -> bool:
    if _name(process) != b"master\n":
        return False
    try:
        if b"/master\0" not in (process / "cmdline").read_bytes():
            return False
    except OSError:
        return False  # it has just ended
    try:
        return str((process / "cwd").readlink()) == queue_directory
    except OSError:  # not readable for this user
        return _holds_lock(process, Path(queue_directory) / "pid" / "master.pid")


def _holds_lock(process: Path, file: Path) -> bool:
    """Return whether a process has locked a file, as master(8) locks its file of the process ID.

    Where file or locks are not visible, return True: a host with one instance has one master.
    """
    try:
        inode = str(file.stat().st_ino)
        locks = (process.parent / "locks").read_text().splitlines()
    except FileNotFoundError:
        return not (process.parent / "locks").exists()
    except OSError:
        return True
    # proc(5), locks, as in "1: FLOCK  ADVISORY  WRITE 4711 fe:01:123456 0 EOF"
    held = [fields[4:6] for line in locks if len(fields := line.split()) > 5]
    return not held or any(
        process.name == holder and place.rpartition(":")[2] == inode for holder, place in held
    )


def _is_child(process: Path, name: bytes, parents: set[bytes]) -> bool:
    try:
        return (process / "comm").read_bytes() == name + b"\n" and _stat(process)[1] in parents
    except (OSError, IndexError):
        return False  # it has just ended


def _start(process: Path) -> float | None:
    """Return when a process started, in seconds since the epoch; None if it has ended."""
    fields = _stat(process)
    if len(fields) < 20:
        return None
    age = float(Path("/proc/uptime").read_text().split()[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def _stat(process: Path) -> list[bytes]:
    """Return the fields of proc(5)'s stat, from the state on. The name before it may contain blanks."""
    try:
        return (process / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []

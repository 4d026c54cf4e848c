"""Private mounts: small file systems to fill up, and a private /dev in which a syslog daemon can listen.

Only the calling thread and the programs that it starts see them. They end with the `with` block, or when this process
is killed. They need root and the right to mount; otherwise the test is skipped, in CI it fails.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.require import demand

_CLONE_NEWNS = 0x00020000  # <sched.h>
_DEVICES = ("null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr")


@contextlib.contextmanager
def private_mounts() -> Iterator[None]:
    """Make mounts within the block private to this thread and to the programs that it starts."""
    library = ctypes.CDLL(None, use_errno=True)
    before = Path.cwd()
    outside = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.unshare(_CLONE_NEWNS):
            demand(
                f"mounting is not permitted ({os.strerror(ctypes.get_errno())}): run the tests as root, "
                "in a container as --privileged"
            )
        try:
            _run("mount", "--make-rprivate", "/")
            yield
        finally:
            if library.setns(outside, _CLONE_NEWNS):
                raise OSError(ctypes.get_errno(), "setns")
            os.chdir(before)  # setns changes it to /
    finally:
        os.close(outside)


def small_disk(folder: Path, size: str) -> None:
    """Mount a file system at this directory, readable by all users. `size` as for mount(8), such as "64k"."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder))


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a directory a read-only mount within the block. Files that are open for writing stay so."""
    _run("mount", "--bind", str(folder), str(folder))
    _run("mount", "-o", "remount,bind,ro", str(folder))
    try:
        yield
    finally:
        _run("umount", str(folder))


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill a directory's file system within the block."""
    filler = fill(folder)
    try:
        yield
    finally:
        filler.unlink()


def own_devices(folder: Path) -> None:
    """Mount a /dev with the usual devices and without /dev/log, built in `folder`."""
    small_disk(folder, "64k")
    _run("cp", "-a", *(f"/dev/{name}" for name in _DEVICES), str(folder))
    _run("mount", "--bind", str(folder), "/dev")


def fill(folder: Path) -> Path:
    """Fill a directory's file system. Return the file that fills it: delete it to free the space."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 512):
            pass
    return filler


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)

"""Mounts that nobody else sees: small file systems to fill up, and a /dev of one's own for a syslog daemon to listen in.

Only the calling thread and the programs that it starts see them, and they are gone when the `with` block ends or this process
is killed. Needs root that may mount; where that is not so, the test is skipped, in CI it fails.
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
    """What this thread mounts within the block is private to it and to the programs it starts there."""
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
            os.chdir(before)  # setns takes it to the root
    finally:
        os.close(outside)


def small_disk(folder: Path, size: str) -> None:
    """A file system of its own at this folder, of a size as mount(8) takes it ("64k"); open to all."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder))


def own_devices(folder: Path) -> None:
    """A /dev with the usual devices and no /dev/log; `folder` is used for it."""
    small_disk(folder, "64k")
    _run("cp", "-a", *(f"/dev/{name}" for name in _DEVICES), str(folder))
    _run("mount", "--bind", str(folder), "/dev")


def fill(folder: Path) -> Path:
    """Take all the room that is left in a folder's file system; the file that takes it: delete it to give it back."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 512):
            pass
    return filler


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)

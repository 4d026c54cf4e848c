"""Private mounts and networks: small file systems to fill up, a /dev in which a syslog daemon can listen, own host names.

Only the calling thread and the programs that it starts see them. They end with the `with` block, or when this process
is killed. They need root and the right to mount; otherwise the test is skipped, in CI it fails.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.require import demand

_CLONE_FS, _CLONE_NEWNS, _CLONE_NEWNET = 0x00000200, 0x00020000, 0x40000000  # <sched.h>
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # <linux/sockios.h>, <net/if.h>
_DEVICES = ("null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr")


@contextlib.contextmanager
def private_mounts() -> Iterator[None]:
    """Make mounts within the block private to this thread and to the programs that it starts."""
    with _apart(mnt=_CLONE_NEWNS):
        yield


@contextlib.contextmanager
def private_network(folder: Path, hosts: Mapping[str, str]) -> Iterator[None]:
    """Give this thread, and the programs and threads that it starts, a loopback interface and an /etc of their own.

    All ports are free there, and files in /etc can be changed. `hosts` are further lines of /etc/hosts: name → address.
    """
    with _apart(mnt=_CLONE_NEWNS, net=_CLONE_NEWNET):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))
        own = folder / "etc"
        _run("cp", "-a", "/etc", str(own))
        with (own / "hosts").open("a") as file:
            file.writelines(f"{address} {name}\n" for name, address in hosts.items())
        _run("mount", "--bind", str(own), "/etc")
        yield


@contextlib.contextmanager
def _apart(**namespaces: int) -> Iterator[None]:
    """Move this thread into new namespaces: name in /proc/PID/ns → flag of unshare(2)."""
    library = ctypes.CDLL(None, use_errno=True)
    before = Path.cwd()
    with contextlib.ExitStack() as opened:
        outside = {}
        for name, flag in namespaces.items():
            outside[flag] = os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, outside[flag])
        if library.unshare(sum(outside)):
            demand(
                f"new namespaces are not permitted ({os.strerror(ctypes.get_errno())}): run the tests as root, "
                "in a container as --privileged"
            )
        try:
            _run("mount", "--make-rprivate", "/")
            yield
        finally:
            # Threads that this one has started may still share its working directory.
            library.unshare(_CLONE_FS)
            for flag, descriptor in outside.items():
                if library.setns(descriptor, flag):
                    raise OSError(ctypes.get_errno(), "setns")
            os.chdir(before)  # setns changes it to /


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

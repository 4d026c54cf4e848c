"""A Debian host under its own systemd, in a container that shares the machine's network.

Its file system is a copy that goes with it. Commands run in all of its namespaces. A host is up when systemd has
started all that it was to start; it ends orderly by `power_off`, or at once when the `with` block ends.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import wait_for
from tools.hosts.image import copy

_UP = 120.0  # seconds until a host is up or down
_DEADLINE = 180.0  # seconds for a command
# A host's own words on how far it is; "degraded" is up, with a unit that failed.
_STARTED = {"running", "degraded"}
# The machine's cgroups may be of the first version, which newer systemd wants to be asked for.
_ENVIRONMENT = {"SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE": "1"}


class HostError(Exception):
    """A command on a host failed; the text has what it printed."""


class Host:
    """A host of a Debian release, by its code name ("bookworm").

    Attributes:
        root: its file system, as this machine sees it.
    """

    def __init__(self, release: str) -> None:
        self.release = release
        self._folder = Path(tempfile.mkdtemp(prefix=f"postward-{release}-", dir="/var/tmp"))
        self.root = self._folder / "root"
        self._console = self._folder / "console.log"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader: int | None = None

    def __enter__(self) -> Self:
        try:
            copy(self.release, self.root)
            self.boot()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @property
    def leader(self) -> int:
        """Its PID 1, as this machine numbers it."""
        assert self._leader is not None
        return self._leader

    def boot(self) -> None:
        """Start it, and wait until it is up."""
        command = ["systemd-nspawn", "--directory", str(self.root), "--boot", "--quiet", "--console=pipe"]
        command += ["--register=no", "--keep-unit", "--machine", self._folder.name.replace("_", "x")]
        command += ["--resolv-conf=copy-host", "--timezone=off"]
        command += [f"--setenv={name}={value}" for name, value in _ENVIRONMENT.items()]
        cgroups = _cgroups(self._folder.name)
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", _IN_CGROUPS, "sh", " ".join(map(str, cgroups)), *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | _ENVIRONMENT,
            )
        with self._console_in_errors():
            self._leader = wait_for(self._find_leader, _UP, f"PID 1 of {self.release}")
            wait_for(lambda: self._state() in _STARTED, _UP, f"{self.release} to be up")

    def power_off(self) -> None:
        """Shut it down as an admin does, and wait until it is down."""
        assert self._nspawn is not None
        self._nspawn.send_signal(signal.SIGTERM)  # systemd-nspawn then tells PID 1 to power off
        with self._console_in_errors():
            wait_for(lambda: self._gone(), _UP, f"{self.release} to be down")
        self._nspawn, self._leader = None, None

    def reboot(self) -> None:
        """Shut it down and start it again."""
        self.power_off()
        self.boot()

    def run(self, *command: str, input: str | None = None, status: int | None = 0) -> str:  # noqa: A002 - as subprocess has it
        """Standard output of a command on the host; any exit status is right if `status` is None. Raises HostError."""
        assert self._leader is not None
        done = subprocess.run(
            ["nsenter", "--target", str(self._leader), "--all", "--", *_CLEAN, *command],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            check=False,
        )
        if status is not None and done.returncode != status:
            raise HostError(
                f"{self.release}: {' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def shell(self, script: str, *, status: int | None = 0) -> str:
        """Standard output of a piece of shell on the host."""
        return self.run("sh", "-c", script, status=status)

    def put(self, path: Path, folder: str) -> str:
        """Copy a file into a folder of the host; its path there."""
        shutil.copy(path, self.root / folder.lstrip("/"))
        return f"{folder}/{path.name}"

    def _find_leader(self) -> int | None:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise HostError("systemd-nspawn ended")
        # PID 1 of the host is a child that has come to be systemd; before that it is systemd-nspawn itself.
        return next((child for child in self._children() if _name(child) == "systemd"), None)

    def _children(self) -> list[int]:
        assert self._nspawn is not None
        number = self._nspawn.pid
        return [int(child) for child in Path(f"/proc/{number}/task/{number}/children").read_text().split()]

    def _state(self) -> str:
        return self.run("systemctl", "is-system-running", status=None).strip()

    def _gone(self) -> bool:
        assert self._nspawn is not None
        return self._nspawn.poll() is not None

    @contextlib.contextmanager
    def _console_in_errors(self) -> Iterator[None]:
        try:
            yield
        except (AssertionError, HostError) as error:
            said = self._console.read_bytes()[-4000:].decode(errors="replace")
            failed = (
                "" if self._leader is None else self.run("systemctl", "list-jobs", "--no-pager", status=None)
            )
            raise HostError(f"{error}\n{failed}\nits console:\n{said}") from error

    def _remove(self) -> None:
        if self._nspawn is not None and self._nspawn.poll() is None:
            # All of a host dies with its PID 1, which outlives systemd-nspawn.
            for number in [*self._children(), self._nspawn.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            wait_for(self._gone, _UP, f"{self.release} to be gone")
        shutil.rmtree(self._folder, ignore_errors=True)
        for cgroup in _cgroups(self._folder.name):
            for folder, _, _ in os.walk(cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


_CLEAN = (
    "env",
    "-i",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "HOME=/root",
)


# Hosts would else share a group for each service, and one host's systemd would end the other's processes.
_IN_CGROUPS = (
    'for group in $1; do mkdir -p "$group" && echo $$ >"$group/cgroup.procs"; done; shift; exec "$@"'
)


def _cgroups(name: str) -> list[Path]:
    """A host's own groups, in the hierarchies by which systemd knows its services."""
    mounts = [Path("/sys/fs/cgroup", kind) for kind in ("", "systemd", "unified")]
    return [mount / name for mount in mounts if (mount / "cgroup.procs").exists()]


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""

"""A Debian host under its own systemd, in a container that shares the machine's network.

Its file system is a copy of the release's image and is deleted with the host. Commands run in all namespaces of the
host. A host is up when systemd has finished its start jobs. `power_off` shuts it down; the end of the `with` block
kills it.
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

_UP = 120.0  # timeout for a boot or a shutdown, in seconds
_DEADLINE = 600.0  # timeout for a command, in seconds; pipx compiles and downloads on a loaded machine
# States of `systemctl is-system-running` that count as up; "degraded" means that a unit failed.
_STARTED = {"running", "degraded"}
# Newer systemd refuses cgroups of version 1 unless this variable is set. The machine may have them.
_ENVIRONMENT = {"SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE": "1"}


class HostError(Exception):
    """A command on a host failed; the text contains its output."""


class Host:
    """A host of a Debian release.

    Args:
        release: code name of the release, as in "bookworm".

    Attributes:
        root: path of its file system on this machine.
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
        """Process ID on this machine of the host's PID 1."""
        assert self._leader is not None
        return self._leader

    def boot(self) -> None:
        """Boot the host and wait until it is up."""
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
        """Shut the host down as an admin does, and wait until it is down."""
        assert self._nspawn is not None
        self._nspawn.send_signal(signal.SIGTERM)  # makes systemd-nspawn ask PID 1 to power off
        with self._console_in_errors():
            wait_for(lambda: self._gone(), _UP, f"{self.release} to be down")
        self._nspawn, self._leader = None, None

    def reboot(self) -> None:
        """Shut the host down and boot it again."""
        self.power_off()
        self.boot()

    def run(self, *command: str, input: str | None = None, status: int | None = 0) -> str:  # noqa: A002 - as subprocess has it
        """Run a command on the host and return its standard output.

        Args:
            command: the program and its arguments.
            input: text for standard input.
            status: the expected exit status; None accepts any.

        Raises:
            HostError: the exit status is another one.
        """
        done = self.call(*command, input=input)
        if status is not None and done.returncode != status:
            raise HostError(
                f"{self.release}: {' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def call(self, *command: str, input: str | None = None) -> subprocess.CompletedProcess[str]:  # noqa: A002 - as above
        """Run a command on the host and return its status and output."""
        return subprocess.run(
            ["nsenter", "--target", str(self.leader), "--all", "--", *_CLEAN, *command],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            check=False,
        )

    def shell(self, script: str, *, status: int | None = 0) -> str:
        """Run a shell script on the host and return its standard output. Raises HostError, as `run` does."""
        return self.run("sh", "-c", script, status=status)

    def put(self, path: Path, folder: str) -> str:
        """Copy a file into a folder of the host and return its path there."""
        shutil.copy(path, self.root / folder.lstrip("/"))
        return f"{folder}/{path.name}"

    def put_text(self, text: str, path: str) -> None:
        """Write a file of the host, which everybody may read."""
        file = self.root / path.lstrip("/")
        file.write_text(text)
        file.chmod(0o644)

    def _find_leader(self) -> int | None:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise HostError("systemd-nspawn ended")
        # The host's PID 1 is a child of systemd-nspawn. Its name is systemd-nspawn until it executes systemd.
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
            printed = self._console.read_bytes()[-4000:].decode(errors="replace")
            pending = (
                "" if self._leader is None else self.run("systemctl", "list-jobs", "--no-pager", status=None)
            )
            raise HostError(f"{error}\n{pending}\nconsole of the host:\n{printed}") from error

    def _remove(self) -> None:
        if self._nspawn is not None and self._nspawn.poll() is None:
            # PID 1 outlives systemd-nspawn, and its end kills all processes of the host.
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


# Without its own cgroup, a host would share those of its services with other hosts, and kill their processes.
_IN_CGROUPS = (
    'for group in $1; do mkdir -p "$group" && echo $$ >"$group/cgroup.procs"; done; shift; exec "$@"'
)


def _cgroups(name: str) -> list[Path]:
    """Return the cgroups of a host, one in each hierarchy that systemd uses for services."""
    mounts = [Path("/sys/fs/cgroup", kind) for kind in ("", "systemd", "unified")]
    return [mount / name for mount in mounts if (mount / "cgroup.procs").exists()]


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""

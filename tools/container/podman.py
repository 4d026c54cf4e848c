"""Containers of podman for the tests: started, observed and removed.

On a machine with cgroups of version 1, podman and crun run in a mount namespace that shows those of version 2 alone.
Containers then have no cgroup: no limit of memory, and no PID namespace of another container.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.support.waiting import wait_for
from tools.container.image import NAME, storage

_DEADLINE = 120.0  # timeout for a command, in seconds
_UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")


class PodmanError(Exception):
    """A command of podman failed; the text contains its output."""


class Podman:
    """Runs podman, with the storage of `make image`. Use it in a `with` block."""

    def __init__(self) -> None:
        self._enter: list[str] = []
        self._namespace: subprocess.Popen[bytes] | None = None
        # podman's own defaults can exceed what this machine allows to its root.
        self.limits = ["--ulimit=nofile=8192:8192", "--ulimit=nproc=4096:4096"]

    def __enter__(self) -> Self:
        if not _UNIFIED.exists():
            script = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && echo ready && exec sleep infinity"
            self._namespace = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert self._namespace.stdout is not None
            assert self._namespace.stdout.readline() == b"ready\n"
            self._enter = ["nsenter", "--target", str(self._namespace.pid), "--mount"]
            self.limits.append("--cgroups=disabled")
        return self

    def __exit__(self, *_: object) -> None:
        if self._namespace is not None:
            self._namespace.send_signal(signal.SIGKILL)
            self._namespace.wait()
            assert self._namespace.stdout is not None
            self._namespace.stdout.close()

    @property
    def shares_processes(self) -> bool:
        """True if a container can have the PID namespace of another one."""
        return self._namespace is None

    def call(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command and return its status and output."""
        options = ["--cgroup-manager=cgroupfs", "--events-backend=file", "--log-level=fatal"]
        return subprocess.run(
            [*self._enter, "podman", *storage(), *options, *arguments],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            check=False,
        )

    def run(self, *arguments: str, text: str | None = None) -> str:
        """Run a command and return its standard output. Raises PodmanError."""
        done = self.call(*arguments, text=text)
        if done.returncode:
            raise PodmanError(f"podman {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def network(self, name: str) -> Iterator[str]:
        """Make a network, and yield the machine's address in it. The address exists with the first container.

        At the end, volumes whose names begin with that of the network are removed too.
        """
        self.run("network", "create", name)
        try:
            (network,) = json.loads(self.run("network", "inspect", name))
            yield network["subnets"][0]["gateway"]
        finally:
            volumes = self.call("volume", "ls", "--quiet").stdout.split()
            self.call(
                "volume", "rm", "--force", *(volume for volume in volumes if volume.startswith(f"{name}-"))
            )
            self.call("network", "rm", "--force", name)

    @contextlib.contextmanager
    def container(
        self,
        name: str,
        options: Sequence[str],
        variables: Mapping[str, str],
        *command: str,
        image: str = NAME,
    ) -> Iterator["Container"]:
        """Start a container, and remove it at the end with the volumes that it is alone to use."""
        environment = [f"--env={variable}={value}" for variable, value in variables.items()]
        self.call("rm", "--force", "--time=1", "--volumes", name)
        self.run("run", "--detach", "--name", name, *self.limits, *options, *environment, image, *command)
        container = Container(self, name)
        try:
            yield container
        except BaseException as error:
            error.add_note(f"log of {name}:\n{container.log()[-6000:]}")
            raise
        finally:
            self.call("rm", "--force", "--time=1", "--volumes", name)


class Container:
    """A container, observed by its log, its processes and its metrics."""

    def __init__(self, podman: Podman, name: str) -> None:
        self._podman = podman
        self.name = name

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command in the container and return its standard output. Raises PodmanError."""
        return self._podman.run(
            "exec", *([] if text is None else ["--interactive"]), self.name, *command, text=text
        )

    def shell(self, script: str) -> str:
        """Run a shell script in the container and return its standard output. Raises PodmanError."""
        return self.run("sh", "-c", script)

    def start(self) -> None:
        """Start it again."""
        self._podman.run("start", self.name)

    def send(self, number: str) -> None:
        """Send a signal to PID 1."""
        self._podman.run("kill", "--signal", number, self.name)

    def stop(self) -> None:
        """Stop it as Kubernetes does: SIGTERM, and SIGKILL after 30 seconds."""
        self._podman.run("stop", "--time=30", self.name)

    def log(self) -> str:
        """Return all that it wrote to standard output and standard error."""
        done = self._podman.call("logs", self.name)
        return done.stdout + done.stderr

    @property
    def state(self) -> Mapping[str, object]:
        """The state, as `podman inspect` shows it."""
        (found,) = json.loads(self._podman.run("inspect", self.name))
        state: Mapping[str, object] = found["State"]
        return state

    @property
    def runs(self) -> bool:
        """True while it runs."""
        return self.state["Status"] == "running"

    @property
    def exit_status(self) -> int:
        """The exit status, once it has ended."""
        wait_for(lambda: not self.runs, 60, f"{self.name} to end")
        return int(str(self.state["ExitCode"]))

    @property
    def process(self) -> int:
        """Process ID of its PID 1 on this machine."""
        return int(str(self.state["Pid"]))

    @property
    def started_at(self) -> float:
        """The time of its start, in seconds since the epoch."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()  # proc(5)
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return time.time() - uptime + int(fields[19]) / os.sysconf("SC_CLK_TCK")

    def processes(self) -> dict[str, int]:
        """Return the names of its processes → a process ID on this machine."""
        # Its PID namespace is that of its PID 1.
        own = Path(f"/proc/{self.process}/ns/pid").readlink()
        found: dict[str, int] = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and (entry / "ns/pid").readlink() == own:
                    found[(entry / "comm").read_text().strip()] = int(entry.name)
        return found

    def address(self) -> str:
        """Return its address in its network."""
        (found,) = json.loads(self._podman.run("inspect", self.name))
        (network,) = found["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def metric(self, *parts: str, port: int = 19787) -> float:
        """Return the sum of the samples whose name and labels contain all these parts; 0 without an answer."""
        try:
            with urllib.request.urlopen(f"http://{self.address()}:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return 0.0
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if all(part in f"{sample.name}{sorted(sample.labels.items())}" for part in parts)
        )

    def await_metric(self, least: float, *parts: str) -> float:
        """Wait until the sum that `metric` returns is at least `least`, and return it."""
        wait_for(lambda: self.metric(*parts) >= least, 60, f"{parts} of {self.name} to be at least {least}")
        return self.metric(*parts)

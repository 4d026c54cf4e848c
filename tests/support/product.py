"""Postward on the test bed: a settings file for a relay and a Postfix, and the agent as a process.

The agent is the installed command, started and stopped as systemd does. Metrics are read over HTTP.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.support.postfix import PostfixInstance, free_port
from tests.support.relay import Relay
from tests.support.waiting import wait_for

POSTWARD = str(Path(sys.executable).with_name("postward"))

_SETTINGS = """\
[host]
profile = "send-only"
myhostname = "mail.example.test"
inet_protocols = "ipv4"

[[relay]]
name = "demo"
host = "127.0.0.1"
port = {relay_port}
tls = "{tls}"
allow_unusual_port = true
username = "{user}"
password_file = "{password_file}"

[main_cf]
minimal_backoff_time = "2s"
queue_run_delay = "2s"
smtp_connect_timeout = "5s"
smtp_helo_timeout = "5s"

[postfix]
config_directory = "{config_directory}"

[enforce]
interval_seconds = {enforce_interval}
directory = "{enforce_directory}"
preflight = {preflight}

[probe]
recipient = "{probe_recipient}"
interval_seconds = {probe_interval}
timeout_seconds = 10

[web]
listen = "127.0.0.1:{web_port}"

[state]
directory = "{state}"
"""


def write_settings(
    folder: Path,
    relay: Relay,
    postfix: PostfixInstance,
    *,
    password: str,
    probe_recipient: str = "probe@relay.test",
    probe_interval: int = 3600,
    enforce_interval: int = 60,
    preflight: bool = True,
    web_port: int | None = None,
) -> Path:
    """Write a settings file for the first user of the relay, and a password file beside it. Return its path."""
    password_file = folder / "password"
    password_file.write_text(password)
    password_file.chmod(0o600)
    path = folder / "postward.toml"
    path.write_text(
        _SETTINGS.format(
            relay_port=relay.port,
            tls=relay.tls,
            user=next(iter(relay.users)),
            password_file=password_file,
            config_directory=postfix.config_directory,
            enforce_interval=enforce_interval,
            probe_recipient=probe_recipient,
            probe_interval=probe_interval,
            web_port=web_port or free_port(),
            state=folder / "state",
            enforce_directory=folder / "enforce",
            preflight=str(preflight).lower(),
        )
    )
    return path


_READING = """\
[host]
profile = "send-only"
myhostname = "mail.example.test"

[[relay]]
name = "demo"
host = "127.0.0.1"
port = 9
allow_unusual_port = true
username = "user"
password = "not used"

[postfix]
config_directory = "{config_directory}"

[log]
source = "{source}"
test_interval_seconds = {test_interval}

[queue]
enabled = false

[web]
listen = "127.0.0.1:{port}"

[state]
directory = "{state}"
"""


def write_reading_settings(
    folder: Path, postfix: PostfixInstance, *, source: str = "auto", test_interval: int = 0
) -> Path:
    """Write a settings file for an agent that only reads the log. Return its path."""
    path = folder / "postward.toml"
    path.write_text(
        _READING.format(
            config_directory=postfix.config_directory,
            source=source,
            test_interval=test_interval,
            port=free_port(),
            state=folder / "state",
        )
    )
    return path


def run_postward(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of Postward until it exits."""
    environment = {**os.environ, **(env or {})}
    return subprocess.run(
        [POSTWARD, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


class AgentProcess:
    """`postward run` as a process. Use it as a context manager.

    Attributes:
        ready_timeout: seconds to wait until it is ready.
        launcher: a command to prepend to the agent's, for example to drop privileges.
    """

    ready_timeout = 30.0  # a loaded machine starts slowly
    launcher: Sequence[str] = ()

    def __init__(self, settings_file: Path, *options: str) -> None:
        self.settings_file = settings_file
        self._options = options
        self._output = settings_file.with_name("postward.out")
        listen = [line for line in settings_file.read_text().splitlines() if line.startswith("listen")]
        self._address = listen[0].split('"')[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.launch()
        wait_for(
            self.is_ready, self.ready_timeout, f"the agent to be ready; its output: {self.output()[-2000:]}"
        )

    def launch(self) -> None:
        """Start it without waiting."""
        command = [*self.launcher, POSTWARD, "run", *self._options, "--config", str(self.settings_file)]
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal. Return its exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(20)
        self._process = None
        return status

    def freeze(self) -> None:
        """Stop its threads until `wake`, as a host that swaps or a debugger does."""
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let it run on."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        """True between start and stop."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The process ID."""
        assert self._process is not None
        return self._process.pid

    def output(self) -> str:
        """Return everything that it has printed."""
        return self._output.read_text() if self._output.exists() else ""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of its endpoint."""
        host, _, port = self._address.rpartition(":")
        return host, int(port)

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Return status and body of a page of its endpoint."""
        with contextlib.closing(http.client.HTTPConnection(*self.address, timeout=10)) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def is_ready(self) -> bool:
        """Return True if /-/ready answers 200. Raises AssertionError if the agent has exited."""
        assert self._process is None or self._process.poll() is None, self.output()
        try:
            return self.get("/-/ready")[0] == 200
        except OSError:
            return False

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series with these labels. Waits while the endpoint is down for a reload."""
        page = wait_for(self._metrics, what="the metrics")
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def _metrics(self) -> str:
        status, page = self.get("/metrics")
        return page if status == 200 else ""

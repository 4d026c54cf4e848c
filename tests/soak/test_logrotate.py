"""Real rsyslog, real logrotate with the configurations that distributions ship, and lines all the while: exact.

Needs rsyslog and logrotate. With copytruncate the sender pauses while logrotate runs: what is written between its
copy and its truncation is lost to everybody, as logrotate's manual says.
"""

import os
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.source.file import FileSource
from tests.bed.require import ADMIN_PATH, demand, required
from tests.bed.waiting import wait_for

_RSYSLOG = """\
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{folder}/log" CreatePath="on" RateLimit.Interval="0")
global(workDirectory="{folder}")
mail.* action(type="omfile" file="{folder}/mail.log"{options})
"""
_HUP = "  sharedscripts\n  postrotate\n    kill -HUP $(cat {folder}/rsyslogd.pid)\n  endscript\n"
_CONFIGURATIONS = {
    "debian": "  rotate 40\n  missingok\n  notifempty\n  create 0644 root root\n  compress\n  delaycompress\n"
    + _HUP,
    "redhat": "  rotate 40\n  missingok\n  create 0644 root root\n  dateext\n  dateformat -%Y%m%d-%s\n"
    + _HUP,
    "compressed at once, by date": "  rotate 40\n  dateext\n  dateformat -%Y%m%d-%s\n  create 0644 root root\n  compress\n"
    + _HUP,
    "nocreate": "  rotate 40\n  missingok\n  nocreate\n  compress\n  delaycompress\n" + _HUP,
    "copytruncate": "  rotate 40\n  copytruncate\n  compress\n",
}
_ROTATIONS = 6


@pytest.fixture(autouse=True)
def _required() -> None:
    if os.geteuid() != 0:
        demand("logrotate wants root's own configuration: run the tests as root (a container will do)")
    required("rsyslogd", "rsyslog")
    required("logrotate", "logrotate")


class Sender:
    """Sends numbered lines to rsyslog as fast as it takes them, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.sent = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(folder / "log"))
        self._go = threading.Event()
        self._paused = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._send)
        self._thread.start()
        self.resume()

    def _send(self) -> None:
        while not self._over:
            if not self._go.is_set():
                self._paused.set()
                self._go.wait()
                continue
            self._socket.send(b"<22>postfix/smtp[77]: <%d>" % self.sent)
            self.sent += 1

    def pause(self) -> None:
        """Wait until it rests."""
        self._paused.clear()
        self._go.clear()
        self._paused.wait()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def wait_for(self, count: int) -> None:
        """Until so many have been sent."""
        wait_for(lambda: self.sent >= count, timeout=60, what=f"{count} lines to be sent")

    def stop(self) -> None:
        """For good."""
        self._over = True
        self._go.set()
        self._thread.join()
        self._socket.close()


class Host:
    """rsyslog with its log, and logrotate for it."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self.folder = folder
        self.log = folder / "mail.log"
        (folder / "rsyslog.conf").write_text(_RSYSLOG.format(folder=folder, options=""))
        self._rotation = folder / "logrotate.conf"
        self._rotation.write_text(f"{self.log} {{\n{configuration.format(folder=folder)}}}\n")
        self._rotation.chmod(0o644)
        command = ["rsyslogd", "-n", "-f", f"{folder}/rsyslog.conf", "-i", f"{folder}/rsyslogd.pid"]
        self._rsyslog = self._start(command)
        wait_for((folder / "log").exists, what="rsyslog's socket")
        wait_for((folder / "rsyslogd.pid").exists, what="rsyslog's process ID")

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env={**os.environ, "PATH": ADMIN_PATH})

    def rotate(self) -> None:
        """Once, whether it is time or not."""
        command = ["logrotate", "--force", "--state", f"{self.folder}/state", str(self._rotation)]
        status = self._start(command).wait(30)
        assert status == 0

    def stop(self) -> None:
        """End rsyslog, which writes all that it has been given."""
        self._rsyslog.send_signal(signal.SIGTERM)
        self._rsyslog.wait(30)


class Reader:
    """Reads in a thread of its own, and is started anew now and then."""

    def __init__(self, log: Path) -> None:
        self.counted: Counter[bytes] = Counter()
        self.source = FileSource(log, [])
        self._log = log

    def read_all(self) -> None:
        """What is there."""
        while lines := self.source.read():
            self.counted.update(line.rpartition(b" ")[2] for line in lines.splitlines())

    def wait_for(self, count: int) -> None:
        """Until at least so many have been read."""

        def enough() -> bool:
            self.read_all()
            return self.counted.total() >= count

        wait_for(enough, timeout=60, what=f"{count} lines to be read")

    def restart(self) -> None:
        """From its position."""
        marks = self.source.marks()
        self.source.close()
        self.source = FileSource(self._log, marks)


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    tmp_path.chmod(0o755)
    host = Host(tmp_path, _CONFIGURATIONS[request.param])
    yield host
    host.stop()


@pytest.mark.parametrize("host", list(_CONFIGURATIONS), indirect=True)
def test_rotation_under_continuous_mail(host: Host, request: pytest.FixtureRequest) -> None:
    """Every line that was sent is counted once, over rotations that are seen, and some that come while nobody reads."""
    copies = request.node.callspec.params["host"] == "copytruncate"
    reader = Reader(host.log)
    sender = Sender(host.folder)
    stamps = "%s" in (host.folder / "logrotate.conf").read_text()
    try:
        for number in range(_ROTATIONS):
            sender.wait_for(sender.sent + 2000)
            if number % 3:
                reader.read_all()
            if copies:
                sender.pause()
                reader.wait_for(sender.sent)
            if stamps:
                _wait_for_another_second(host.log)
            host.rotate()
            sender.resume()
            if number % 2:
                reader.restart()
    finally:
        sender.stop()
    expected = Counter(b"<%d>" % number for number in range(sender.sent))
    reader.wait_for(sender.sent)
    reader.read_all()
    reader.source.close()
    lost, double = expected - reader.counted, reader.counted - expected
    assert (lost, double) == (Counter(), Counter())
    assert reader.source.losses == 0


def _wait_for_another_second(log: Path) -> None:
    """Two rotations within one would want the same name, and logrotate refuses the second."""
    times = [int(path.name.removesuffix(".gz").rpartition("-")[2]) for path in log.parent.glob("mail.log-*")]
    wait_for(lambda: _now() > max(times, default=0), what="the next second")


def _now() -> int:
    return int(subprocess.run(["date", "+%s"], capture_output=True, check=True).stdout)

"""Exact counts over rotations by a real rsyslog and logrotate, with the configurations that distributions ship.

Needs rsyslog and logrotate. Two configurations lose lines by themselves, so the sender pauses while logrotate runs:
copytruncate (between the copy and the truncation, logrotate(8)) and compress without delaycompress (rsyslog may still
write to the file that gzip reads, and logrotate then deletes it).
"""

import os
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from postward.agent.logs.tail import FileSource
from tests.support.mail import Mail
from tests.support.mounts import own_devices, private_mounts
from tests.support.require import demand, require_postfix, required
from tests.support.syslog import Rsyslog
from tests.support.waiting import wait_for
from tools.soak.rotation import CONFIGURATIONS, Rotation

_ROTATIONS = 6
_WEEK = 7 * 86400.0  # seconds


@pytest.fixture(autouse=True)
def _required() -> None:
    if os.geteuid() != 0:
        demand(
            "logrotate needs a configuration file owned by root: run the tests as root, for example in a container"
        )
    required("rsyslogd", "rsyslog")
    required("logrotate", "logrotate")


class Sender:
    """Sends numbered lines to rsyslog as fast as it takes them, in a thread of its own."""

    def __init__(self, address: Path) -> None:
        self.sent = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(address))
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
        """Pause, and wait until no line is being sent."""
        self._paused.clear()
        self._go.clear()
        self._paused.wait()

    def resume(self) -> None:
        """Send again."""
        self._go.set()

    def wait_for(self, count: int) -> None:
        """Wait until so many lines have been sent."""
        wait_for(lambda: self.sent >= count, timeout=60, what=f"{count} lines to be sent")

    def stop(self) -> None:
        """End the thread."""
        self._over = True
        self._go.set()
        self._thread.join()
        self._socket.close()


class Reader:
    """A source and the lines that it has returned."""

    def __init__(self, log: Path) -> None:
        self.counted: Counter[bytes] = Counter()
        self._weeks = 0
        self._log = log
        self.source = FileSource(log, [], self._clock)

    def _clock(self) -> float:
        return time.monotonic() + self._weeks * _WEEK

    def let_a_week_pass(self) -> None:
        """Advance the clock of the source by a week."""
        self._weeks += 1

    def read_all(self) -> None:
        """Read everything that is there."""
        while lines := self.source.read():
            self.counted.update(line.rpartition(b" ")[2] for line in lines.splitlines())

    def wait_for(self, count: int) -> None:
        """Wait until at least so many lines have been read."""

        def enough() -> bool:
            self.read_all()
            return self.counted.total() >= count

        wait_for(enough, timeout=60, what=f"{count} lines to be read")

    def restart(self) -> None:
        """Open the source again at its position."""
        marks = self.source.marks()
        self.close()
        self.source = FileSource(self._log, marks, self._clock)

    def close(self) -> None:
        """Close the source."""
        self.source.close()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_rotation_under_continuous_mail(name: str, tmp_path: Path) -> None:
    """Every line is counted once, over rotations with the reader running and stopped."""
    log = tmp_path / CONFIGURATIONS[name].log
    rsyslog = Rsyslog(tmp_path, log, tmp_path / "log")
    rotation = Rotation(tmp_path, CONFIGURATIONS[name], rsyslog.pid_file)
    with closing(Reader(log)) as reader, rsyslog.running():
        sender = Sender(rsyslog.socket)
        try:
            for number in range(_ROTATIONS):
                sender.wait_for(sender.sent + 2000)
                if number % 3:
                    reader.read_all()
                if CONFIGURATIONS[name].loses_lines:
                    sender.pause()
                    reader.wait_for(sender.sent)
                reader.let_a_week_pass()
                rotation.rotate()
                sender.resume()
                if number % 2:
                    reader.restart()
        finally:
            sender.stop()
        reader.wait_for(sender.sent)
        reader.read_all()
    expected = Counter(b"<%d>" % number for number in range(sender.sent))
    lost, double = expected - reader.counted, reader.counted - expected
    assert (lost, double) == (Counter(), Counter())
    assert reader.source.losses == 0


@pytest.mark.parametrize("name", ["debian", "rhel"])
def test_an_agent_over_rotations_and_kills(name: str, tmp_path: Path) -> None:
    """Each message counts as one delivery, while logs rotate and the agent is killed."""
    require_postfix(sasl=False)
    tmp_path.chmod(0o755)
    log = tmp_path / CONFIGURATIONS[name].log
    with private_mounts():
        own_devices(tmp_path / "dev")
        rsyslog = Rsyslog(tmp_path, log, Path("/dev/log"))
        rotation = Rotation(tmp_path, CONFIGURATIONS[name], rsyslog.pid_file)
        mail = Mail(tmp_path, log, syslog=True)
        with rsyslog.running(), mail.postfix, mail.agent:
            for _ in range(2):  # files older than four weeks would be deleted
                with mail.sent_meanwhile():
                    rotation.rotate()
                    mail.agent.stop(signal.SIGKILL)
                    rotation.rotate()
                    mail.agent.start()
            assert len(list(tmp_path.glob(f"{log.name}?*"))) == 4
            mail.await_all()
            assert mail.agent.value("postward_log_losses_total") == 0

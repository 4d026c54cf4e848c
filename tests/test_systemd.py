"""Words to systemd, on a real socket."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent.systemd import Watchdog, notify, tell_status


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def test_notify_and_status(systemd: socket.socket) -> None:
    """Assignments go as one datagram; a status is one line, whatever was in it."""
    notify("READY=1", "MAINPID=1")
    assert systemd.recv(1000) == b"READY=1\nMAINPID=1"
    tell_status("two\nlines")
    assert systemd.recv(1000) == b"STATUS=two lines"


def test_the_watchdog_is_fed_in_time_and_not_more(systemd: socket.socket) -> None:
    """Four times in what systemd waits for, however often work gets on."""
    now = 0.0
    dog = Watchdog({"WATCHDOG_USEC": "4000000"}, lambda: now)
    for _ in range(5):
        dog.alive()
    assert systemd.recv(1000) == b"WATCHDOG=1"
    with pytest.raises(BlockingIOError):
        systemd.recv(1000)
    now = 1.0
    dog.alive()
    assert systemd.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}])
def test_no_watchdog_that_is_not_for_us(systemd: socket.socket, environment: dict[str, str]) -> None:
    """Without WatchdogSec=, or in a child that inherited the variables, nothing is sent."""
    Watchdog(environment).alive()
    with pytest.raises(BlockingIOError):
        systemd.recv(1000)


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a terminal there is nobody to tell; a socket that is gone is the same."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")

"""Notifications to systemd and journal entries with fields, on real sockets."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent.systemd import JournalFields, Watchdog, datagram, notify, set_status


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def test_notify_and_status(systemd: socket.socket) -> None:
    """Assignments are one datagram; a status is one line."""
    notify("READY=1", "MAINPID=1")
    assert systemd.recv(1000) == b"READY=1\nMAINPID=1"
    set_status("two\nlines")
    assert systemd.recv(1000) == b"STATUS=two lines"


def test_the_watchdog_is_pinged_four_times_an_interval(systemd: socket.socket) -> None:
    """More frequent calls send nothing."""
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
def test_a_watchdog_of_another_process_is_not_pinged(
    systemd: socket.socket, environment: dict[str, str]
) -> None:
    """Without WatchdogSec=, or in a child that inherited the variables, nothing is sent."""
    Watchdog(environment).alive()
    with pytest.raises(BlockingIOError):
        systemd.recv(1000)


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a socket, and with one that does not exist."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")


def test_journal_entries_have_fields(tmp_path: Path) -> None:
    """The native protocol; a value with line ends is preceded by its length."""
    path = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        handler = JournalFields(logging.NullHandler(), {logging.ERROR: 3}, path)
        record = logging.LogRecord("x", logging.ERROR, "", 0, "incident %s", ("opened",), None)
        record.fields = {"POSTWARD_INCIDENT": "opened"}
        handler.emit(record)
        entry = journal.recv(4096)

    assert (
        entry
        == b"MESSAGE=incident opened\nPRIORITY=3\nSYSLOG_IDENTIFIER=postward\nPOSTWARD_INCIDENT=opened\n"
    )
    assert datagram({"A": "x\ny"}) == b"A\n\x03\0\0\0\0\0\0\0x\ny\n"


def test_entries_go_to_the_other_handler_without_a_journal(tmp_path: Path) -> None:
    """If the socket is missing, the handler of the rest of the log takes them."""
    emitted: list[logging.LogRecord] = []

    class Plain(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            emitted.append(record)

    record = logging.LogRecord("x", logging.ERROR, "", 0, "text", (), None)
    record.fields = {"POSTWARD_INCIDENT": "opened"}
    JournalFields(Plain(), {}, tmp_path / "none").emit(record)

    assert emitted == [record]

"""Notifications to systemd (readiness, status, watchdog: sd_notify(3)), and journal entries with fields.

Each is one datagram.

How it fails: without systemd, notifications are not sent; journal entries go to another handler.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from postward.parsers.scrub import hidden

# The journal's native protocol: systemd.io/JOURNAL_NATIVE_PROTOCOL.
SOCKET = Path("/run/systemd/journal/socket")


def notify(*assignments: str) -> None:
    """Send assignments such as "READY=1". Without systemd, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # the abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto("\n".join(assignments).encode(), address)
    except OSError:
        return


# Part of the agent's status while it refuses the settings file; `postward doctor` looks for it.
SETTINGS_REFUSED = "NOT in force"


def set_status(text: str) -> None:
    """Set the status line of `systemctl status`."""
    notify(f"STATUS={' '.join(text.split())}")


class Watchdog:
    """Sends keep-alive pings, four times as often as WatchdogSec= requires; without them systemd restarts the service.

    Call `alive` where work is done, never from a timer: a program that hangs must stop sending.

    Args:
        environment: the service's environment, with WATCHDOG_USEC and WATCHDOG_PID.
        clock: monotonic seconds.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        microseconds = environment.get("WATCHDOG_USEC", "")
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._interval = int(microseconds) / 4e6 if for_us and microseconds.isdecimal() else None
        self._clock = clock
        self._next = 0.0

    def alive(self) -> None:
        """Note that work was done. Cheap enough for every turn of a loop."""
        if self._interval is not None and (now := self._clock()) >= self._next:
            self._next = now + self._interval
            notify("WATCHDOG=1")


def datagram(fields: Mapping[str, str]) -> bytes:
    """Return a journal entry. A value with a line feed is preceded by its length."""
    out = bytearray()
    for name, value in fields.items():
        data = value.encode("utf-8", "replace")
        if b"\n" in data:
            out += name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
        else:
            out += name.encode() + b"=" + data + b"\n"
    return bytes(out)


class JournalFields(logging.Handler):
    """Sends records with fields (`extra={"fields": …}`) to the journal, and all others to another handler.

    Args:
        plain: the other handler.
        priorities: level → the journal's priority.
        path: the journal's socket.
    """

    def __init__(self, plain: logging.Handler, priorities: Mapping[int, int], path: Path = SOCKET) -> None:
        super().__init__()
        self._plain = plain
        self._priorities = priorities
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        fields: Mapping[str, str] | None = getattr(record, "fields", None)
        if fields is None or not self._sent(record, fields):
            self._plain.handle(record)

    def _sent(self, record: logging.LogRecord, fields: Mapping[str, str]) -> bool:
        head = {
            "MESSAGE": hidden(record.getMessage()),
            "PRIORITY": str(self._priorities.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": "postward",
        }
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
                journal.settimeout(0.1)
                shown = {name: hidden(value) for name, value in fields.items()}
                journal.sendto(datagram({**head, **shown}), str(self._path))
        except OSError:
            return False
        return True

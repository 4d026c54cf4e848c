"""What systemd and its journal are sent: readiness, status, watchdog (sd_notify(3)), and journal entries with fields.

Each is one datagram. Without systemd nothing is sent; entries that the journal does not take go to standard error.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# The journal's native protocol: systemd.io/JOURNAL_NATIVE_PROTOCOL.
SOCKET = Path("/run/systemd/journal/socket")


def notify(*assignments: str) -> None:
    """Send assignments such as "READY=1". Without systemd, or when it does not listen, nothing happens."""
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


def tell_status(words: str) -> None:
    """One line that `systemctl status` shows."""
    notify(f"STATUS={' '.join(words.split())}")


class Watchdog:
    """Says that work gets on, as often as systemd wants to hear it (WatchdogSec=); else the service is started anew.

    Call `alive` where work is done, never from a timer: what hangs must fall silent.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        microseconds = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._every = int(microseconds) / 4e6 if ours and microseconds.isdecimal() else None
        self._clock = clock
        self._next = 0.0

    def alive(self) -> None:
        """Work got on. Cheap enough for every round of a loop."""
        if self._every is not None and (now := self._clock()) >= self._next:
            self._next = now + self._every
            notify("WATCHDOG=1")


def datagram(fields: Mapping[str, str]) -> bytes:
    """An entry. A value with a line end is preceded by its length."""
    out = bytearray()
    for name, value in fields.items():
        data = value.encode("utf-8", "replace")
        if b"\n" in data:
            out += name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
        else:
            out += name.encode() + b"=" + data + b"\n"
    return bytes(out)


class JournalFields(logging.Handler):
    """Sends what has fields (`extra={"fields": …}`) to the journal, and everything else to another handler.

    Args:
        plain: the other handler.
        levels: level → the journal's priority.
        path: the journal's socket.
    """

    def __init__(self, plain: logging.Handler, levels: Mapping[int, int], path: Path = SOCKET) -> None:
        super().__init__()
        self._plain = plain
        self._levels = levels
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Take an entry."""
        fields: Mapping[str, str] | None = getattr(record, "fields", None)
        if fields is None or not self._sent(record, fields):
            self._plain.handle(record)

    def _sent(self, record: logging.LogRecord, fields: Mapping[str, str]) -> bool:
        head = {
            "MESSAGE": record.getMessage(),
            "PRIORITY": str(self._levels.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": "postward",
        }
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
                journal.settimeout(0.1)
                journal.sendto(datagram({**head, **fields}), str(self._path))
        except OSError:
            return False
        return True

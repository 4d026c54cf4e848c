"""Tells systemd how the service is doing: one datagram to the socket it names (sd_notify(3))."""

import os
import socket
import time
from collections.abc import Callable, Mapping


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

"""Tells systemd how the service is doing: one datagram to the socket it names (sd_notify(3))."""

import os
import socket


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

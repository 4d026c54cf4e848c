"""Whom a conversation without mail is held with, and how: a relay of the settings as a target."""

import socket
from dataclasses import dataclass, field

from postward.config.relay import IMPLICIT_TLS_PORTS, Relay, TlsMode

_DEADLINE = 15.0  # seconds a step; RFC 5321 allows minutes, and nobody waits for them
ALTERNATIVE_PORTS = (587, 465, 2525, 25)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to talk to, and how.

    Attributes:
        relay: its name in the settings.
        host, port, tls, verify, ca_file: as there.
        helo: our name.
        username, password: the login; None: none is tried.
        in_clear: the password may go unencrypted.
        families: address families that may be used.
    """

    relay: str
    host: str
    port: int
    tls: TlsMode
    verify: bool = False
    ca_file: str = ""
    helo: str = "localhost"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    in_clear: bool = False
    families: tuple[socket.AddressFamily, ...] = (socket.AF_INET, socket.AF_INET6)
    deadline: float = _DEADLINE


def target_of(relay: Relay, helo: str, protocols: str, password: str | None) -> Target:
    """A relay of the settings as a target. Without a password no login is tried."""
    families = {"ipv4": (socket.AF_INET,), "ipv6": (socket.AF_INET6,)}
    return Target(
        relay.name,
        relay.host,
        relay.port,
        relay.tls,
        relay.verify,
        relay.ca_file,
        helo,
        relay.username or None,
        password,
        relay.allow_cleartext_password,
        families.get(protocols.strip(), (socket.AF_INET, socket.AF_INET6)),
    )


def on_port(target: Target, port: int) -> Target:
    """The same relay on another port, without a login: only to see what answers there."""
    return Target(
        target.relay,
        target.host,
        port,
        "implicit" if port in IMPLICIT_TLS_PORTS else "opportunistic",
        ca_file=target.ca_file,
        helo=target.helo,
        families=target.families,
        deadline=target.deadline,
    )

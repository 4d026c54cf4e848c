"""A relay as the other end of an SMTP session: address, TLS, login."""

import socket
from dataclasses import dataclass, field

from postward.config.host import Host
from postward.config.relay import IMPLICIT_TLS_PORTS, Relay, TlsMode

ALTERNATIVE_PORTS = (587, 465, 2525, 25)
_TIMEOUT = 15.0  # seconds a step; RFC 5321 allows minutes, which is too long for a check
_FAMILIES = {"ipv4": (socket.AF_INET,), "ipv6": (socket.AF_INET6,)}
_ALL_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class RelayEndpoint:
    """A relay to connect to, and how.

    Attributes:
        relay: its name in the settings.
        host, port, tls, verify, ca_file: as in the settings of the relay.
        helo: the name of this host in EHLO.
        username, password: the login; None: no login is attempted.
        cleartext_password: the password may be sent over an unencrypted connection.
        families: address families to use.
        timeout: seconds a step.
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
    cleartext_password: bool = False
    families: tuple[socket.AddressFamily, ...] = _ALL_FAMILIES
    timeout: float = _TIMEOUT


def endpoint_of(relay: Relay, host: Host, password: str | None = None) -> RelayEndpoint:
    """Return the endpoint of a relay, as seen from this host. Without a password no login is attempted."""
    return RelayEndpoint(
        relay.name,
        relay.host,
        relay.port,
        relay.tls,
        relay.verify,
        relay.ca_file,
        host.myhostname,
        relay.username or None,
        password,
        relay.allow_cleartext_password,
        _FAMILIES.get((host.inet_protocols or "").strip(), _ALL_FAMILIES),
    )


def on_port(endpoint: RelayEndpoint, port: int) -> RelayEndpoint:
    """Return the same relay on another port, without a login: it shows only what answers there."""
    return RelayEndpoint(
        endpoint.relay,
        endpoint.host,
        port,
        "implicit" if port in IMPLICIT_TLS_PORTS else "opportunistic",
        ca_file=endpoint.ca_file,
        helo=endpoint.helo,
        families=endpoint.families,
        timeout=endpoint.timeout,
    )

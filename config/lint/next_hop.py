"""Parse next hops as Postfix does, classify those that it cannot parse, and propose corrections."""

import ipaddress
import re
from typing import NamedTuple

from postward.config.fields import is_address, is_host_name
from postward.config.relay import IMPLICIT_TLS_PORTS, STARTTLS_PORTS

# The default of known_tcp_ports (postconf(5)). Releases before 3.6 look a name up in services(5) alone.
PORT_NAMES = {"smtp": 25, "lmtp": 24, "submission": 587, "smtps": 465, "submissions": 465}


class NextHop(NamedTuple):
    """The parts of a next hop.

    Attributes:
        host: name or address of the host, or the domain whose MX hosts are used.
        port: the port's number; None for an unknown name.
        bracketed: it is in brackets, so Postfix looks up no MX hosts.
        port_name: the port's name, if it is written as one.
    """

    host: str
    port: int | None
    bracketed: bool
    port_name: str = ""

    @property
    def implicit_tls(self) -> bool:
        """True if servers speak TLS from the first byte on this port."""
        return self.port in IMPLICIT_TLS_PORTS

    @property
    def starttls(self) -> bool:
        """True if servers greet in clear text on this port."""
        return self.port in STARTTLS_PORTS

    @property
    def on_this_host(self) -> bool:
        """True for a loopback address: a tunnel or a filter, for which the rules about relays do not hold."""
        if self.host.lower() == "localhost":
            return True
        return is_address(self.host) and ipaddress.ip_address(self.host).is_loopback

    @property
    def servers(self) -> frozenset[str]:
        """The host to which Postfix connects, lower case; empty if it looks up MX hosts."""
        return frozenset({self.host.lower()} if self.bracketed else ())


def named_servers(*next_hops: str) -> frozenset[str]:
    """Return the servers of these next hops."""
    return frozenset(server for text in next_hops if (hop := parse_next_hop(text)) for server in hop.servers)


_BRACKETED = re.compile(r"\[(?:ipv6:)?([^\[\]]*)\](?::([^\[\]\s]*))?", re.IGNORECASE)


def parse_next_hop(text: str) -> NextHop | None:
    """Parse a next hop; return None if Postfix cannot, for a reason that `slip` names."""
    if match := _BRACKETED.fullmatch(text):
        return _next_hop(match[1], match[2] or "", bracketed=True)
    if any(char in text for char in "[]/@\"'"):
        return None
    if is_address(text):
        return None if ":" in text else _next_hop(text, "", bracketed=False)
    host, _, port = text.partition(":")
    return _next_hop(host, port, bracketed=False)


def _next_hop(host: str, port: str, *, bracketed: bool) -> NextHop | None:
    if not (is_host_name(host) or is_address(host)) or ":" in port:
        return None
    if not port or port.isdecimal():
        return NextHop(host, int(port or 25), bracketed)
    return NextHop(host, PORT_NAMES.get(port.lower()), bracketed, port)


def slip(text: str) -> str:
    """Classify text that is not a next hop."""
    if "://" in text:
        return "url"
    if "@" in text:
        return "login"
    if text.count("[") != text.count("]"):
        return "bracket"
    if re.match(r"[A-Za-z][A-Za-z0-9_-]*:\[", text):
        return "transport"
    if re.fullmatch(r"\[[^\]:]+:[A-Za-z0-9]+\]", text):
        return "port-in-brackets"
    return "host"


def corrected(text: str) -> str:
    """Guess the intended next hop; return an example if the text allows no guess."""
    bare = re.sub(r"^[A-Za-z]+://|^[A-Za-z][A-Za-z0-9_-]*:(?=\[)", "", text).rstrip("/").rpartition("@")[2]
    bare = bare.strip("\"'")
    if match := re.fullmatch(r"\[?([A-Za-z0-9._-]+)\]?:?([0-9a-z]*)\]?", bare):
        right = f"[{match[1]}]" + (f":{match[2]}" if match[2] else "")
        if parse_next_hop(right):
            return right
    return "[smtp.example.net]:587"

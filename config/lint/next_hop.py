"""Next hops as people write them, and what Postfix makes of them."""

import ipaddress
import re
from typing import NamedTuple

from postward.config.fields import is_address, is_host_name
from postward.config.relay import IMPLICIT_TLS_PORTS, STARTTLS_PORTS

# known_tcp_ports (postconf(5)), and services(5) before 3.6.
PORT_NAMES = {"smtp": 25, "lmtp": 24, "submission": 587, "smtps": 465, "submissions": 465}


class NextHop(NamedTuple):
    """A next hop in its parts.

    Attributes:
        host: name or address.
        port: its number; None for a name that is not known.
        bracketed: no MX lookup is made.
        port_name: the port as written, if it is a name.
    """

    host: str
    port: int | None
    bracketed: bool
    port_name: str = ""

    @property
    def implicit_tls(self) -> bool:
        """The port stands for TLS from the first byte."""
        return self.port in IMPLICIT_TLS_PORTS

    @property
    def starttls(self) -> bool:
        """The port stands for a greeting in clear text."""
        return self.port in STARTTLS_PORTS

    @property
    def on_this_host(self) -> bool:
        """A loopback address: a tunnel or a filter, which has rules of its own."""
        if self.host.lower() == "localhost":
            return True
        return is_address(self.host) and ipaddress.ip_address(self.host).is_loopback


_BRACKETED = re.compile(r"\[(?:ipv6:)?([^\[\]]*)\](?::([^\[\]\s]*))?", re.IGNORECASE)


def parse_next_hop(text: str) -> NextHop | None:
    """The parts of a next hop; None if it is none, which `slip` explains."""
    if match := _BRACKETED.fullmatch(text):
        return _made(match[1], match[2] or "", bracketed=True)
    if any(char in text for char in "[]/@\"'"):
        return None
    if is_address(text):
        return None if ":" in text else _made(text, "", bracketed=False)
    host, _, port = text.partition(":")
    return _made(host, port, bracketed=False)


def _made(host: str, port: str, *, bracketed: bool) -> NextHop | None:
    if not (is_host_name(host) or is_address(host)) or ":" in port:
        return None
    if not port or port.isdecimal():
        return NextHop(host, int(port or 25), bracketed)
    return NextHop(host, PORT_NAMES.get(port.lower()), bracketed, port)


def slip(text: str) -> str:
    """Which of the known slips a next hop that is none has: the end of a rule's identifier."""
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


def mended(text: str) -> str:
    """The next hop that was meant, as well as one can tell."""
    bare = re.sub(r"^[A-Za-z]+://|^[A-Za-z][A-Za-z0-9_-]*:(?=\[)", "", text).rstrip("/").rpartition("@")[2]
    bare = bare.strip("\"'")
    if match := re.fullmatch(r"\[?([A-Za-z0-9._-]+)\]?:?([0-9a-z]*)\]?", bare):
        right = f"[{match[1]}]" + (f":{match[2]}" if match[2] else "")
        if parse_next_hop(right):
            return right
    return "[smtp.example.net]:587"

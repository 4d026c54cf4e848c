"""The answers that a host's present state proposes: the defaults of `postward init`'s questions."""

import contextlib
import socket
from collections.abc import Mapping

from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.run import PostfixError


def propose(postfix: Postfix) -> Mapping[str, str]:
    """Return key of a question → its default, from this host and the relay that Postfix has now."""
    proposed = {"myhostname": full_name() or ""}
    with contextlib.suppress(PostfixError):  # Postfix has no configuration yet
        proposed["relay"] = postfix.expanded("relayhost")
    return {key: value for key, value in proposed.items() if value}


def full_name() -> str | None:
    """Return the fully qualified name of this host; None if it is unknown."""
    name = socket.getfqdn()
    return name if "." in name and not name.startswith("localhost") else None


def has_ipv6() -> bool:
    """Return whether this host has an IPv6 route.

    connect(2) on a UDP socket looks up the route and sends nothing. The address is from the documentation prefix
    (RFC 3849).
    """
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1", 9))
    except OSError:
        return False
    return True

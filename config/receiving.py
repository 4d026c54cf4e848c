"""The list of what a Postfix receives from other hosts, which `profile = "send-only"` would end.

Pure. Sources: postconf(5), ADDRESS_CLASS_README.
"""

import re
from collections.abc import Iterator, Mapping

from postward.parsers.postconf import split_list

# The parameters that `receiving` reads, expanded (`postconf -x`).
PARAMETERS = (
    "myhostname",
    "inet_interfaces",
    "mydestination",
    "mynetworks",
    "relay_domains",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
)
_LOOPBACK = ("127.", "[127.", "[::1]", "::1", "localhost", "loopback-only", "[::ffff:127.")


def receiving(values: Mapping[str, str]) -> list[str]:
    """Return what this Postfix receives, one clause each; empty for a host that only sends.

    Args:
        values: the expanded values of `PARAMETERS`.
    """
    return list(_receiving({name: split_list(value) for name, value in values.items()}))


def _receiving(lists: Mapping[str, list[str]]) -> Iterator[str]:
    interfaces = [item for item in lists.get("inet_interfaces", []) if not item.startswith(_LOOPBACK)]
    if interfaces:
        yield f"it listens for other hosts (inet_interfaces = {', '.join(interfaces)})"
        networks = [item for item in lists.get("mynetworks", []) if not item.startswith(_LOOPBACK)]
        if networks:
            yield f"it relays for {', '.join(networks)} (mynetworks)"
    own = {name.lower() for name in lists.get("myhostname", [])}
    local = lists.get("mydestination", [])
    for name in ("mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains"):
        domains = [item for item in lists.get(name, []) if not _names_this_host(item.lower(), own)]
        if domains and (name == "mydestination" or domains != local):
            yield f"it accepts mail for {', '.join(domains)} ({name})"


def _names_this_host(domain: str, own: set[str]) -> bool:
    """Return True for names under which only mail of this host's own users is expected."""
    first = domain.partition(".")[0]
    return (
        domain in own
        or first == "localhost"
        or domain.endswith(".localdomain")
        or not re.search("[.:]", domain)
    )

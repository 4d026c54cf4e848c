"""The mail that a Postfix receives from other hosts: listeners, networks that may relay, domains.

Pure. Sources: postconf(5), ADDRESS_CLASS_README.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from postward.config.resources import LOCAL_MAIL
from postward.parsers.postconf import split_list

DOMAIN_LISTS = ("mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains")
# The parameters that decide it, expanded (`postconf -x`).
PARAMETERS = ("myhostname", "inet_interfaces", "mynetworks", *DOMAIN_LISTS)
_LOOPBACK = ("127.", "[127.", "[::1]", "::1", "localhost", "loopback-only", "[::ffff:127.")


@dataclass(frozen=True, slots=True)
class Received:
    """The mail that a Postfix receives from other hosts.

    Attributes:
        interfaces: items of inet_interfaces that other hosts reach.
        networks: items of mynetworks beside this host.
        domains: parameter → the domains in it, without names of this host alone such as localhost.
        own: the host's own name.
    """

    interfaces: tuple[str, ...]
    networks: tuple[str, ...]
    domains: Mapping[str, tuple[str, ...]]
    own: str

    def is_own(self, domain: str) -> bool:
        """Return True for a name under which only mail of this host's own users is expected."""
        return domain.lower() == self.own


def received(values: Mapping[str, str]) -> Received:
    """Return what a Postfix with these expanded values of `PARAMETERS` receives."""
    return Received(
        interfaces=_reached(values.get("inet_interfaces", "")),
        networks=_reached(values.get("mynetworks", "")),
        domains={
            name: tuple(
                item
                for item in split_list(values.get(name, ""))
                if not (_is_local(item.lower()) or LOCAL_MAIL.search(item))
            )
            for name in DOMAIN_LISTS
        },
        own=values.get("myhostname", "").lower(),
    )


def receiving(values: Mapping[str, str]) -> list[str]:
    """Return what a Postfix with these values receives, one clause each; empty for a host that only sends."""
    return list(_clauses(received(values)))


def _clauses(host: Received) -> Iterator[str]:
    if host.interfaces:
        yield f"it listens for other hosts (inet_interfaces = {', '.join(host.interfaces)})"
        if host.networks:
            yield f"it relays for {', '.join(host.networks)} (mynetworks)"
    for name, listed in host.domains.items():
        domains = [domain for domain in listed if not host.is_own(domain)]
        # relay_domains is $mydestination by default, up to compatibility level 1.
        if domains and (name == "mydestination" or listed != host.domains["mydestination"]):
            yield f"it accepts mail for {', '.join(domains)} ({name})"


def _reached(value: str) -> tuple[str, ...]:
    return tuple(item for item in split_list(value) if not item.startswith(_LOOPBACK))


def _is_local(domain: str) -> bool:
    first = domain.partition(".")[0]
    return first == "localhost" or domain.endswith(".localdomain") or not re.search("[.:]", domain)

"""Rules about addresses: interfaces, trusted networks, source addresses and name servers."""

import ipaddress
import re
from collections.abc import Iterator

from postward.config.fields import is_address
from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.relayhost import parsed

Facts = HostFacts

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _interface_name(facts: Facts) -> Iterator[Fault]:
    known = {"all", "loopback-only", "localhost", *facts.hosts}
    for word in facts.words("inet_interfaces"):
        # A name with a dot may be in DNS, which lint does not query.
        if not is_address(word.strip("[]")) and "." not in word and word.lower() not in known:
            yield Fault(
                facts.where("inet_interfaces"),
                f"has {word}, which is neither an address nor a name with one",
                remedies.edit(facts, 'write "loopback-only", "all" or an address', "start"),
            )


def _interface_not_local(facts: Facts) -> Iterator[Fault]:
    for word in facts.words("inet_interfaces"):
        if word.strip("[]") in facts.not_local:
            yield Fault(
                facts.where("inet_interfaces"),
                f"has {word}, which is not an address of this host",
                remedies.edit(facts, 'write "loopback-only", "all" or an address of this host', "start"),
            )


def _no_ipv6(facts: Facts) -> Iterator[Fault]:
    if re.search(r"inet_interfaces: no local interface found for ::1", facts.fault):
        yield Fault(
            facts.where("inet_interfaces"),
            "has localhost, which is ::1 in /etc/hosts, and IPv6 is off in the kernel",
            remedies.edit(facts, 'write "inet_protocols = ipv4" into main.cf', "start"),
        )


def _protocols(facts: Facts) -> Iterator[Fault]:
    wrong = [word for word in facts.words("inet_protocols") if word.lower() not in {"all", "ipv4", "ipv6"}]
    if wrong and facts.defaults:
        yield Fault(
            facts.where("inet_protocols"),
            f'has "{wrong[0]}"',
            remedies.edit(facts, 'write "all", "ipv4" or "ipv6"', "start"),
        )


def _trusted(facts: Facts) -> Iterator[tuple[str, Network | None, bool]]:
    """Yield (item, network, has host bits) of mynetworks, without tables and files; network None if it is invalid."""
    if "mynetworks" not in facts.explicit:
        return
    for word in facts.words("mynetworks"):
        bare = word.removeprefix("!").replace("[", "").replace("]", "")
        if word.startswith("/") or re.match(r"!?[a-z]+:/", word):
            continue
        try:
            network = ipaddress.ip_network(bare, strict=False)
        except ValueError:
            yield word, None, False
            continue
        address = bare.partition("/")[0]
        yield word, network, "/" in bare and ipaddress.ip_address(address) != network.network_address


def _host_bits(facts: Facts) -> Iterator[Fault]:
    for word, network, host_bits in _trusted(facts):
        if network and host_bits:
            right = (
                f"[{network.network_address}]/{network.prefixlen}" if network.version == 6 else str(network)
            )
            yield Fault(
                facts.where("mynetworks"),
                f"has {word}, whose host part is not zero",
                _replaced(facts, word, right),
            )


def _replaced(facts: Facts, word: str, right: str) -> str:
    """Replace one item of mynetworks."""
    items = [right if item == word else item for item in facts.words("mynetworks")]
    return remedies.assign(facts, ("mynetworks", ", ".join(items)))


def _everyone(facts: Facts) -> Iterator[Fault]:
    for word, network, _ in _trusted(facts):
        if network and network.prefixlen == 0 and not word.startswith("!"):
            yield Fault(
                facts.where("mynetworks"),
                f"has {word}, which contains every address",
                remedies.assign(facts, ("mynetworks", "127.0.0.0/8, [::1]/128")),
            )


def _no_brackets(facts: Facts) -> Iterator[Fault]:
    for word, network, _ in _trusted(facts):
        if network and network.version == 6 and "[" not in word:
            yield Fault(
                facts.where("mynetworks"),
                f"has {word}, which Postfix takes for a table because of its colons",
                _replaced(facts, word, f"[{network.network_address}]/{network.prefixlen}"),
            )


def _no_network(facts: Facts) -> Iterator[Fault]:
    for word, network, _ in _trusted(facts):
        if network is None and re.fullmatch(r"!?[0-9.:/\[\]A-Fa-f]+", word):
            yield Fault(
                facts.where("mynetworks"),
                f"has {word}, which is not a network",
                remedies.edit(facts, 'write it as in "10.0.0.0/8"'),
            )


def _no_loopback(facts: Facts) -> Iterator[Fault]:
    items = list(_trusted(facts))
    if len(items) != len(facts.words("mynetworks")) or not items or not facts.commands("smtpd"):
        return
    home = ipaddress.ip_address("127.0.0.1")
    if not any(network and network.version == 4 and home in network for _, network, _ in items):
        yield Fault(
            facts.where("mynetworks"),
            "does not contain 127.0.0.0/8",
            remedies.assign(facts, ("mynetworks", f"127.0.0.0/8, [::1]/128, {facts.value('mynetworks')}")),
        )


def _bind_address(facts: Facts) -> Iterator[Fault]:
    for name in ("smtp_bind_address", "smtp_bind_address6"):
        if (address := facts.value(name).strip("[]")) in facts.not_local and address:
            yield Fault(
                facts.where(name), f"is {address}, not an address of this host", remedies.remove(facts, name)
            )


def _bound_to_loopback(facts: Facts) -> Iterator[Fault]:
    for name in ("smtp_bind_address", "smtp_bind_address6"):
        address = facts.value(name).strip("[]")
        away = [route for route, hop in parsed(facts.relay_routes) if not hop.on_this_host]
        if is_address(address) and ipaddress.ip_address(address).is_loopback and away:
            yield Fault(facts.where(name), f"is {address}", remedies.remove(facts, name))


def _no_nameserver(facts: Facts) -> Iterator[Fault]:
    names = [hop.host for _, hop in parsed(facts.relay_routes) if not is_address(hop.host)]
    unknown = [name for name in names if name.lower() not in facts.hosts]
    if facts.nameservers == () and unknown and facts.words("smtp_host_lookup") != ["native"]:
        yield Fault(
            "/etc/resolv.conf",
            f"has no name server, and {unknown[0]} must be resolved",
            "write nameserver lines into /etc/resolv.conf",
        )


E, W = Severity.ERROR, Severity.WARNING
_ALL = "Every Postfix command fails, including sendmail and postfix stop."
_TEMPORARY = "Postfix answers every client 451 (Temporary lookup failure)."

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(
        id="inet-interfaces-name",
        severity=E,
        check=_interface_name,
        why=f"Postfix does not accept names of network interfaces. {_ALL}",
    ),
    Rule(id="inet-interfaces-not-local", severity=E, check=_interface_not_local, why=_ALL),
    Rule(id="inet-interfaces-without-ipv6", severity=E, check=_no_ipv6, why=_ALL),
    Rule(id="inet-protocols-unknown", severity=E, check=_protocols, why=_ALL),
    Rule(id="mynetworks-host-bits", severity=E, check=_host_bits, why=_TEMPORARY),
    Rule(
        id="mynetworks-everyone",
        severity=E,
        check=_everyone,
        why="Anyone who reaches this host can send mail through your relay account.",
    ),
    Rule(id="mynetworks-ipv6-without-brackets", severity=E, check=_no_brackets, why=_TEMPORARY),
    Rule(id="mynetworks-not-a-network", severity=E, check=_no_network, why=_TEMPORARY),
    Rule(
        id="mynetworks-without-loopback",
        severity=W,
        check=_no_loopback,
        why="Programs on this host that submit by SMTP are refused (Relay access denied).",
    ),
    Rule(
        id="bind-address-not-local",
        severity=W,
        check=_bind_address,
        why="Postfix logs a warning for every connection, and does not bind to the address.",
    ),
    Rule(
        id="bind-address-loopback",
        severity=E,
        check=_bound_to_loopback,
        why="No relay can be reached from a loopback address.",
    ),
    Rule(
        id="nameserver-missing",
        severity=E,
        check=_no_nameserver,
        why="The relay's name cannot be resolved, and all mail is deferred.",
    ),
)

"""Rules about next hops: relayhost, its fallbacks, and the tables that name others."""

import ipaddress
from collections.abc import Iterator
from functools import partial

from postward.config.fields import is_address
from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts, Route
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.main_cf import swallowed
from postward.config.lint.next_hop import NextHop, corrected, parse_next_hop, slip
from postward.config.providers import CLOSED_PORTS, provider_of

Facts = HostFacts


def parsed(routes: tuple[Route, ...]) -> Iterator[tuple[Route, NextHop]]:
    """Yield the routes whose next hop Postfix can parse."""
    for route in routes:
        if hop := parse_next_hop(route.next_hop):
            yield route, hop


def _slipped(facts: Facts, kind: str) -> Iterator[Fault]:
    for route in facts.routes:
        if parse_next_hop(route.next_hop) is None and slip(route.next_hop) == kind:
            yield Fault(route.where, f"has {route.next_hop}", _write(facts, route))


def _write(facts: Facts, route: Route) -> str:
    """Write the corrected next hop in the place of the present one."""
    right = corrected(route.next_hop)
    if route.where == facts.where("relayhost"):
        return remedies.assign(facts, ("relayhost", right))
    for table in facts.tables:
        if table.reference.index_path and route.where.startswith(f"{table.reference.path}:"):
            return f'write "{right}", then {remedies.postmap(facts, table)}'
    return remedies.edit(facts, f'write "{right}"')


def _without_brackets(facts: Facts) -> Iterator[Fault]:
    for route, hop in parsed(facts.relay_routes):
        if (
            hop.bracketed
            or route.next_hop in facts.mx_on_purpose
            or not (hop.port_name or ":" in route.next_hop or facts.sends_by_login)
        ):
            continue
        yield Fault(route.where, f"is {route.next_hop}, without brackets", _write(facts, route))


def _unknown_port_name(facts: Facts) -> Iterator[Fault]:
    for route, hop in parsed(facts.routes):
        if hop.port is None and (facts.version >= (3, 6) or hop.port_name not in facts.port_names):
            yield Fault(
                route.where,
                f'has the port name "{hop.port_name}"',
                remedies.edit(facts, "write the port's number"),
            )


def _this_host(facts: Facts) -> Iterator[Fault]:
    own = {facts.value(name).lower() for name in ("myhostname", "proxy_interfaces")} - {""}
    for route, hop in parsed(facts.relay_routes):
        if hop.host.lower() in own and hop.port == 25:
            yield Fault(
                route.where,
                f"is {hop.host}, this host itself",
                remedies.edit(facts, "name the relay"),
                hop.servers,
            )


def _wrong_family(facts: Facts) -> Iterator[Fault]:
    protocols = set(facts.words("inet_protocols"))
    for route, hop in parsed(facts.routes):
        if not is_address(hop.host) or "all" in protocols or not protocols:
            continue
        family = f"ipv{ipaddress.ip_address(hop.host).version}"
        if family not in protocols:
            yield Fault(
                route.where,
                f"is an {family.replace('ipv', 'IPv')} address, and inet_protocols is {facts.value('inet_protocols')}",
                remedies.assign(facts, ("inet_protocols", "all")),
            )


def _only_in_hosts_file(facts: Facts) -> Iterator[Fault]:
    if "native" in facts.words("smtp_host_lookup"):
        return
    for route, hop in parsed(facts.routes):
        if hop.host.lower() in facts.hosts and not hop.on_this_host:
            yield Fault(
                route.where,
                f"{hop.host} is in /etc/hosts, but smtp_host_lookup is {facts.value('smtp_host_lookup')}",
                remedies.assign(facts, ("smtp_host_lookup", "dns, native")),
                hop.servers,
            )


def _single_label(facts: Facts) -> Iterator[Fault]:
    if "native" in facts.words("smtp_host_lookup"):
        return
    searching = {"res_defnames", "res_dnsrch"} & set(facts.words("smtp_dns_resolver_options"))
    for route, hop in parsed(facts.routes):
        if "." in hop.host or hop.host.lower() in {"localhost", *facts.hosts} or is_address(hop.host):
            continue
        if not searching:
            right = f"[{hop.host}.{facts.value('mydomain')}]" + (f":{hop.port}" if hop.port != 25 else "")
            yield Fault(
                route.where,
                f"{hop.host} has no domain",
                remedies.edit(facts, f'write the full name, as in "{right}"'),
                hop.servers,
            )


def wrong_provider_port(host: str, port: int | None) -> tuple[str, int] | None:
    """Return (reason, port to use) if the provider is known not to serve this port."""
    name, provider = provider_of(host) or ("", None)
    if provider is None or not provider.starttls or port not in CLOSED_PORTS.get(name, ()):
        return None
    return f"{name} does not serve port {port}", provider.starttls


def _provider_port(facts: Facts) -> Iterator[Fault]:
    for route, hop in parsed(facts.relay_routes):
        if wrong := wrong_provider_port(hop.host, hop.port):
            why, port = wrong
            yield Fault(
                route.where,
                f"is {route.next_hop}; {why}",
                remedies.edit(facts, f'write "[{hop.host}]:{port}", also in sasl_passwd'),
                hop.servers,
            )


def _no_relay(facts: Facts) -> Iterator[Fault]:
    lost = any(name == "relayhost" for _, _, name in swallowed(facts))
    empty = not facts.value("relayhost") and not facts.routes
    if facts.login_tables and facts.sends_by_login and empty and not lost:
        yield Fault(
            facts.where("relayhost"),
            "is empty, although smtp_sasl_password_maps is set",
            remedies.assign(facts, ("relayhost", "[smtp.example.net]:587")),
        )


E, W = Severity.ERROR, Severity.WARNING
_FATAL = (
    "smtp(8) ends with a fatal error: mail stays in the queue, and no log line shows a status or a reason."
)

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(id="relayhost-bracket-unbalanced", severity=E, check=partial(_slipped, kind="bracket"), why=_FATAL),
    Rule(id="relayhost-as-url", severity=E, check=partial(_slipped, kind="url"), why=_FATAL),
    Rule(id="relayhost-with-transport", severity=E, check=partial(_slipped, kind="transport"), why=_FATAL),
    Rule(
        id="relayhost-port-in-brackets",
        severity=E,
        check=partial(_slipped, kind="port-in-brackets"),
        why=_FATAL,
    ),
    Rule(
        id="relayhost-with-login",
        severity=E,
        check=partial(_slipped, kind="login"),
        why=f"{_FATAL} Every user of the host can read the login.",
    ),
    Rule(id="relayhost-no-host", severity=E, check=partial(_slipped, kind="host"), why=_FATAL),
    Rule(
        id="relayhost-without-brackets",
        severity=W,
        check=_without_brackets,
        why="Without brackets, Postfix sends to the MX hosts of the name: those servers do not accept logins, and mail bounces.",
    ),
    Rule(
        id="relayhost-port-name-unknown",
        severity=E,
        check=_unknown_port_name,
        why=f"{_FATAL} smtp(8) finds the name in none of its tables.",
    ),
    Rule(
        id="relayhost-is-this-host",
        severity=E,
        check=_this_host,
        why="Mail loops back to this host and stays in the queue.",
    ),
    Rule(
        id="relayhost-address-family",
        severity=E,
        check=_wrong_family,
        why="Postfix never connects to addresses of that kind.",
    ),
    Rule(
        id="relayhost-only-in-hosts-file",
        severity=W,
        check=_only_in_hosts_file,
        why="smtp(8) queries DNS and ignores /etc/hosts: it does not find the name, or it finds another address.",
    ),
    Rule(
        id="relayhost-without-domain",
        severity=W,
        check=_single_label,
        why="smtp(8) does not use the resolver's search list: it does not find the name.",
    ),
    Rule(
        id="relayhost-provider-port",
        severity=W,
        check=_provider_port,
        why="Connections to a port without a service time out.",
    ),
    Rule(
        id="relayhost-missing",
        severity=E,
        check=_no_relay,
        why="Mail bypasses the relay and goes to the MX hosts of its recipients.",
    ),
)

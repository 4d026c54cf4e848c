"""Rules about the SMTP client's TLS: wrapper mode, level, authorities."""

import difflib
import re
from collections.abc import Iterator

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts, Route
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.next_hop import NextHop, named_servers
from postward.config.lint.relayhost import parsed
from postward.config.routing.hops import INVALID, LEVELS, policy_fault

Facts = HostFacts

_WEAK = {"none", "may", "dane"}
_VERIFIED = {"verify", "secure"}
_PROTOCOL = r"(SSLv2|SSLv3|TLSv1(\.[0-3])?|0[xX]?[0-9A-Fa-f]{3,4})"
_GRADES = {"", "null", "export", "low", "medium", "high"}


def level(facts: Facts, service: str = "") -> str:
    """Return the security level in force; smtp_use_tls and smtp_enforce_tls count."""
    set_level = facts.value("smtp_tls_security_level", service).lower()
    if set_level or "smtp_tls_security_level" in facts.explicit:
        return set_level
    if facts.yes("smtp_enforce_tls", service):
        return "encrypt"
    return "may" if facts.yes("smtp_use_tls", service) else ""


def policies(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield (place, key, policy) of the TLS policy tables."""
    for table in facts.table_of("smtp_tls_policy_maps"):
        for entry in table.entries or ():
            yield f"{table.reference.path}:{entry.number}: {entry.key}", entry.key or "", entry.value or ""


def _level_of(policy: str) -> str:
    return (policy.split() or [""])[0].lower()


def level_for(route: Route) -> str:
    """Return the security level for a next hop; "" if it is unknown or invalid, which rules of their own report."""
    return "" if route.hop.level == INVALID else route.hop.level


def _wrapped(facts: Facts) -> Iterator[tuple[Route, NextHop, bool]]:
    for route, hop in parsed(facts.routes):
        if not hop.on_this_host or not route.login:
            yield route, hop, route.hop.wrapper


def _setting(facts: Facts, route: Route, name: str) -> str:
    """Return the place that sets a service's parameter: master.cf, or else main.cf."""
    if f"{route.service}/unix/{name}" in facts.master.overrides:
        return f"{facts.master_where(f'{route.service}/unix')} -o {name}"
    return facts.where(name)


def _unwrap(facts: Facts, route: Route, hop: NextHop) -> str:
    if hop.starttls and f"{route.service}/unix/smtp_tls_wrappermode" in facts.master.overrides:
        return remedies.remove_override(facts, route.service, "smtp_tls_wrappermode")
    more = (
        []
        if level(facts, route.service) not in {"", "none", "dane"}
        else [("smtp_tls_security_level", "encrypt")]
    )
    return remedies.assign(facts, ("smtp_tls_wrappermode", "no"), *more)


def _wrapper_on_starttls_port(facts: Facts) -> Iterator[Fault]:
    for route, hop, wrapped in _wrapped(facts):
        if wrapped and hop.starttls and route.login:
            yield Fault(
                _setting(facts, route, "smtp_tls_wrappermode"),
                f"is yes, and {route.next_hop} greets in clear text and offers STARTTLS",
                _unwrap(facts, route, hop),
                hop.servers,
            )


def _wrapper_on_other_route(facts: Facts) -> Iterator[Fault]:
    for route, hop, wrapped in _wrapped(facts):
        # A filter on this host may have any port, and greets in clear text.
        if wrapped and not route.login and (hop.starttls or (hop.on_this_host and not hop.implicit_tls)):
            yield Fault(
                route.where,
                f"goes to {route.next_hop} by {route.service}, which has smtp_tls_wrappermode = yes",
                remedies.edit(
                    facts,
                    f"give {route.next_hop} a service of its own in master.cf with -o smtp_tls_wrappermode=no",
                ),
                hop.servers,
            )


def _wrapper_without_level(facts: Facts) -> Iterator[Fault]:
    seen = set()
    for route, hop, wrapped in _wrapped(facts):
        if wrapped and not hop.starttls and level_for(route) in _WEAK and route.service not in seen:
            seen.add(route.service)
            shown = level_for(route) or "not set"
            yield Fault(
                _setting(facts, route, "smtp_tls_wrappermode"),
                f"is yes, and the security level is {shown}",
                remedies.assign(facts, ("smtp_tls_security_level", "encrypt")),
            )


def _implicit_port_without_wrapper(facts: Facts) -> Iterator[Fault]:
    for route, hop, wrapped in _wrapped(facts):
        if not wrapped and hop.implicit_tls:
            yield Fault(
                route.where,
                f"is {route.next_hop}, a port for implicit TLS, and smtp_tls_wrappermode is no",
                remedies.assign(
                    facts, ("smtp_tls_wrappermode", "yes"), ("smtp_tls_security_level", "encrypt")
                ),
                hop.servers,
            )


def _unknown_level(facts: Facts) -> Iterator[Fault]:
    for place, value in _everywhere(facts, "smtp_tls_security_level"):
        if value.lower() not in {"", *LEVELS}:
            close = difflib.get_close_matches(value.lower(), LEVELS, 1) or ["encrypt"]
            yield Fault(place, f'is "{value}"', _rewrite(facts, place, close[0]))


def _rewrite(facts: Facts, place: str, value: str) -> str:
    """Write another value at a place of `_everywhere`."""
    name = place.rpartition(": ")[2]
    if " -o " in name:
        return remedies.edit(facts, f'write "{value}"')
    return remedies.assign(facts, (name, value))


def _everywhere(facts: Facts, *names: str) -> Iterator[tuple[str, str]]:
    """Yield (place, value) of parameters in main.cf and master.cf."""
    for name in names:
        if name in facts.explicit:
            yield facts.where(name), facts.value(name)
        for key, value in facts.master.overrides.items():
            service, _, parameter = key.rpartition("/")
            if parameter == name and "$" not in value:
                yield f"{facts.master_where(service)} -o {name}", value


def _unknown_policy(facts: Facts) -> Iterator[Fault]:
    for place, next_hop, policy in policies(facts):
        if _level_of(policy) not in LEVELS:
            right = f"write one of: {', '.join(LEVELS)}; then postmap the file"
            yield Fault(
                place,
                f'has the level "{_level_of(policy)}"',
                remedies.edit(facts, right),
                named_servers(next_hop),
            )


def _malformed_policy(facts: Facts) -> Iterator[Fault]:
    for place, next_hop, policy in policies(facts):
        fault = policy_fault(policy) if _level_of(policy) in LEVELS else None
        if fault:
            yield Fault(
                place,
                f"has a policy in which {fault}",
                remedies.edit(facts, f"{_right_policy(policy)}; then postmap the file"),
                named_servers(next_hop),
            )


def _right_policy(policy: str) -> str:
    """Instruct to join a list of protocols or ciphers by colons, or else to remove what Postfix does not know."""
    joined = re.sub(r"(?<=\S)[\s,]+(?=!?[A-Za-z0-9.!+_-]+(?:[\s,]|$))", ":", policy.partition("=")[2])
    right = f"{policy.partition('=')[0]}={joined}"
    return (
        f'write "{right}"' if "=" in policy and not policy_fault(right) else "remove or correct the attribute"
    )


def _unknown_protocols(facts: Facts) -> Iterator[Fault]:
    ranges = facts.version >= (3, 6)
    item = re.compile(rf"(!|{'>=|<=|' if ranges else ''})\s*{_PROTOCOL}", re.IGNORECASE)
    for place, value in _everywhere(facts, "smtp_tls_protocols", "smtp_tls_mandatory_protocols"):
        wrong = [word for word in re.split(r"[\s,:]+", value) if word and not item.fullmatch(word)]
        if wrong:
            right = ">=TLSv1.2" if ranges else "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1"
            yield Fault(place, f'has "{wrong[0]}"', _rewrite(facts, place, right))


def _unknown_grade(facts: Facts) -> Iterator[Fault]:
    for place, value in _everywhere(facts, "smtp_tls_ciphers", "smtp_tls_mandatory_ciphers"):
        if value.lower() not in _GRADES:
            yield Fault(place, f'is "{value}"', _rewrite(facts, place, "medium"))


def _verifying(facts: Facts) -> Iterator[tuple[str, str, frozenset[str]]]:
    """(place, level, servers) of the levels that demand a valid certificate; no servers stand for all."""
    for place, value in _everywhere(facts, "smtp_tls_security_level"):
        if value.lower() in _VERIFIED:
            yield place, value.lower(), frozenset()
    for place, next_hop, policy in policies(facts):
        if _level_of(policy) in _VERIFIED:
            yield place, _level_of(policy), named_servers(next_hop)


def _no_authorities(facts: Facts) -> Iterator[Fault]:
    trusted = ("smtp_tls_CAfile", "smtp_tls_CApath", "smtp_tls_trust_anchor_file")
    if any(facts.value(name) for name in trusted) or facts.yes("tls_append_default_CA"):
        return
    supplied = [
        facts.master_where(key.rpartition("/")[0])
        for key, value in facts.master.overrides.items()
        if value and key.rpartition("/")[2] in trusted
    ]
    for place, demanded, servers in _verifying(facts):
        if any(place.startswith(f"{service} ") for service in supplied):
            continue
        yield Fault(
            place,
            f"is {demanded}, and neither smtp_tls_CAfile nor smtp_tls_CApath is set",
            remedies.assign(facts, ("smtp_tls_CAfile", remedies.ca_file(facts))),
            servers,
        )


def _ca_file_missing(facts: Facts) -> Iterator[Fault]:
    yield from _file_missing(facts, "smtp_tls_CAfile")


def _ca_path_missing(facts: Facts) -> Iterator[Fault]:
    yield from _file_missing(facts, "smtp_tls_CApath")


def _file_missing(facts: Facts, name: str) -> Iterator[Fault]:
    value = facts.value(name)
    known = facts.files.get(value)
    if value and known and not known.exists:
        bundle = remedies.ca_file(facts)
        right = (
            remedies.install(facts, "ca")
            if value == bundle
            else f"{remedies.remove(facts, name)}; {remedies.assign(facts, ('smtp_tls_CAfile', bundle))}"
        )
        yield Fault(facts.where(name), f"is {value}, which does not exist", right)


def _ca_file_empty(facts: Facts) -> Iterator[Fault]:
    value = facts.value("smtp_tls_CAfile")
    known = facts.files.get(value)
    if value and known and known.exists and (known.directory or known.certificates is False):
        what = "a directory" if known.directory else "without any certificate"
        yield Fault(
            facts.where("smtp_tls_CAfile"),
            f"is {value}, which is {what}",
            remedies.assign(facts, ("smtp_tls_CAfile", remedies.ca_file(facts))),
        )


def _ca_path_outside_chroot(facts: Facts) -> Iterator[Fault]:
    path = facts.value("smtp_tls_CApath")
    inside = facts.files.get(f"{facts.value('queue_directory')}{path}")
    chrooted = facts.is_chrooted(facts.default_service)
    if path and chrooted and inside and not inside.entries and not facts.value("smtp_tls_CAfile"):
        for place, demanded, servers in _verifying(facts):
            yield Fault(
                place,
                f"is {demanded}, and {path} is not inside the chroot of smtp(8)",
                remedies.assign(facts, ("smtp_tls_CAfile", remedies.ca_file(facts))),
                servers,
            )


def _client_key_missing(facts: Facts) -> Iterator[Fault]:
    for name in ("smtp_tls_cert_file", "smtp_tls_key_file"):
        value = facts.value(name)
        known = facts.files.get(value)
        if value and known and not known.exists:
            yield Fault(facts.where(name), f"is {value}, which does not exist", remedies.remove(facts, name))


def _dane_without_dnssec(facts: Facts) -> Iterator[Fault]:
    if level(facts).startswith("dane") and facts.value("smtp_dns_support_level") != "dnssec":
        yield Fault(
            facts.where("smtp_tls_security_level"),
            f"is {level(facts)}, and smtp_dns_support_level is not dnssec",
            remedies.assign(facts, ("smtp_dns_support_level", "dnssec")),
        )


def _no_fingerprint(facts: Facts) -> Iterator[Fault]:
    if level(facts) == "fingerprint" and not facts.value("smtp_tls_fingerprint_cert_match"):
        yield Fault(
            facts.where("smtp_tls_security_level"),
            "is fingerprint, and smtp_tls_fingerprint_cert_match is empty",
            remedies.assign(facts, ("smtp_tls_security_level", "encrypt")),
        )


E, W = Severity.ERROR, Severity.WARNING

RULES: tuple[Rule[HostFacts], ...] = (
    Rule(
        id="wrappermode-on-starttls-port",
        severity=E,
        check=_wrapper_on_starttls_port,
        why="Postfix expects TLS, and the relay greets in clear text: no mail leaves (wrong version number, Cannot start TLS).",
    ),
    Rule(
        id="wrappermode-on-other-route",
        severity=E,
        check=_wrapper_on_other_route,
        why="smtp_tls_wrappermode applies to every destination of a service: mail on this route stays in the queue.",
    ),
    Rule(
        id="wrappermode-without-encryption",
        severity=E,
        check=_wrapper_without_level,
        why="Postfix connects only if the level is encrypt or stronger (server unavailable or unable to receive mail).",
    ),
    Rule(
        id="implicit-tls-port-without-wrappermode",
        severity=E,
        check=_implicit_port_without_wrapper,
        why="Postfix waits for a greeting, and the relay for TLS, until a timeout: no mail leaves.",
    ),
    Rule(
        id="tls-level-unknown",
        severity=E,
        check=_unknown_level,
        why="smtp(8) ends with a fatal error, and mail stays in the queue without a reason.",
    ),
    Rule(
        id="tls-policy-level-unknown",
        severity=E,
        check=_unknown_policy,
        why="Mail for that destination is deferred (client TLS configuration problem).",
    ),
    Rule(
        id="tls-policy-malformed",
        severity=E,
        check=_malformed_policy,
        why="White space ends an attribute, and a word without = is a fault: mail for that destination is deferred (client TLS "
        "configuration problem).",
    ),
    Rule(
        id="tls-protocols-unknown",
        severity=E,
        check=_unknown_protocols,
        why="Postfix aborts every TLS session (Invalid TLS protocol list).",
    ),
    Rule(
        id="tls-cipher-grade-unknown",
        severity=E,
        check=_unknown_grade,
        why="Postfix aborts every TLS session (invalid cipher grade).",
    ),
    Rule(
        id="verify-without-authorities",
        severity=E,
        check=_no_authorities,
        why="No certificate can be verified, and all mail is deferred.",
    ),
    Rule(
        id="ca-file-missing",
        severity=E,
        check=_ca_file_missing,
        why="Postfix switches TLS off: mail is deferred, or, at level may, sent without TLS or login.",
    ),
    Rule(
        id="ca-file-without-certificate",
        severity=E,
        check=_ca_file_empty,
        why="Postfix switches TLS off: mail is deferred, or, at level may, sent without TLS or login.",
    ),
    Rule(
        id="ca-path-missing",
        severity=W,
        check=_ca_path_missing,
        why="Certificates of relays cannot be verified.",
    ),
    Rule(
        id="ca-path-outside-chroot",
        severity=E,
        check=_ca_path_outside_chroot,
        why="Postfix reads that directory after it enters the chroot: no certificate can be verified.",
    ),
    Rule(
        id="tls-client-certificate-missing",
        severity=E,
        check=_client_key_missing,
        why="Postfix switches TLS off: mail is deferred, or sent without TLS or login.",
    ),
    Rule(
        id="dane-without-dnssec",
        severity=W,
        check=_dane_without_dnssec,
        why="DANE needs DNSSEC; without it Postfix falls back to opportunistic TLS, or defers.",
    ),
    Rule(
        id="fingerprint-missing",
        severity=E,
        check=_no_fingerprint,
        why="No certificate matches, and all mail is deferred.",
    ),
)

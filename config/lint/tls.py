"""Rules about the SMTP client's TLS: wrapper mode, level, authorities."""

import difflib
import re
from collections.abc import Iterator

from postward.config.lint import remedies
from postward.config.lint.facts import HostFacts, Route
from postward.config.lint.finding import Fault, Rule, Severity
from postward.config.lint.next_hop import NextHop
from postward.config.lint.relayhost import parsed

Facts = HostFacts

# smtp_tls_security_level (postconf(5)); those from "encrypt" on demand TLS, the last two a valid certificate.
LEVELS = ("none", "may", "dane", "encrypt", "dane-only", "fingerprint", "verify", "secure")
_WEAK = {"", "none", "may", "dane"}
_VERIFIED = {"verify", "secure"}
_PROTOCOL = r"(SSLv2|SSLv3|TLSv1(\.[0-3])?|0[xX]?[0-9A-Fa-f]{3,4})"
_GRADES = {"", "null", "export", "low", "medium", "high"}


def level(facts: Facts, service: str = "") -> str:
    """The security level in effect, smtp_use_tls and smtp_enforce_tls included."""
    set_level = facts.value("smtp_tls_security_level", service).lower()
    if set_level or "smtp_tls_security_level" in facts.explicit:
        return set_level
    if facts.yes("smtp_enforce_tls", service):
        return "encrypt"
    return "may" if facts.yes("smtp_use_tls", service) else ""


def policies(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """(place, key, level) of the TLS policy tables."""
    for table in facts.table_of("smtp_tls_policy_maps"):
        for entry in table.entries or ():
            word = ((entry.value or "").split() or [""])[0]
            yield f"{table.reference.path}:{entry.number}: {entry.key}", entry.key or "", word.lower()


def level_for(facts: Facts, route: Route) -> str:
    """The security level for a next hop, its policy included."""
    own = [word for _, key, word in policies(facts) if key.lower() == route.next_hop.lower()]
    return own[0] if own else level(facts, route.service)


def _wrapped(facts: Facts) -> Iterator[tuple[Route, NextHop, bool]]:
    for route, hop in parsed(facts.routes):
        if not hop.on_this_host:
            yield route, hop, facts.yes("smtp_tls_wrappermode", route.service)


def _setting(facts: Facts, route: Route, name: str) -> str:
    """Where a service's parameter is set: in master.cf, or else in main.cf."""
    if f"{route.service}/unix/{name}" in facts.master.overrides:
        return f"{facts.master_where(f'{route.service}/unix')} -o {name}"
    return facts.where(name)


def _unwrap(facts: Facts, route: Route, hop: NextHop) -> str:
    if hop.starttls and f"{route.service}/unix/smtp_tls_wrappermode" in facts.master.overrides:
        return remedies.remove_override(facts, route.service, "smtp_tls_wrappermode")
    more = (
        [] if level(facts, route.service) not in _WEAK - {"may"} else [("smtp_tls_security_level", "encrypt")]
    )
    return remedies.assign(facts, ("smtp_tls_wrappermode", "no"), *more)


def _wrapper_on_starttls_port(facts: Facts) -> Iterator[Fault]:
    for route, hop, wrapped in _wrapped(facts):
        if wrapped and hop.starttls and route.login:
            yield Fault(
                _setting(facts, route, "smtp_tls_wrappermode"),
                f"is yes, and {route.next_hop} greets in clear text and offers STARTTLS",
                _unwrap(facts, route, hop),
            )


def _wrapper_on_other_route(facts: Facts) -> Iterator[Fault]:
    for route, hop, wrapped in _wrapped(facts):
        if wrapped and hop.starttls and not route.login:
            yield Fault(
                route.where,
                f"goes to {route.next_hop} by {route.service}, which has smtp_tls_wrappermode = yes",
                remedies.edit(
                    facts,
                    f"give {route.next_hop} a service of its own in master.cf with -o smtp_tls_wrappermode=no",
                ),
            )


def _wrapper_without_level(facts: Facts) -> Iterator[Fault]:
    seen = set()
    for route, hop, wrapped in _wrapped(facts):
        if wrapped and not hop.starttls and level_for(facts, route) in _WEAK and route.service not in seen:
            seen.add(route.service)
            shown = level_for(facts, route) or "not set"
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
                f"is {route.next_hop}, a port for TLS from the first byte, and smtp_tls_wrappermode is no",
                remedies.assign(
                    facts, ("smtp_tls_wrappermode", "yes"), ("smtp_tls_security_level", "encrypt")
                ),
            )


def _unknown_level(facts: Facts) -> Iterator[Fault]:
    for place, value in _everywhere(facts, "smtp_tls_security_level"):
        if value.lower() not in {"", *LEVELS}:
            close = difflib.get_close_matches(value.lower(), LEVELS, 1) or ["encrypt"]
            yield Fault(place, f'is "{value}"', _rewrite(facts, place, close[0]))


def _rewrite(facts: Facts, place: str, value: str) -> str:
    """Another value, at a place of `_everywhere`."""
    name = place.rpartition(": ")[2]
    if " -o " in name:
        return remedies.edit(facts, f'write "{value}"')
    return remedies.assign(facts, (name, value))


def _everywhere(facts: Facts, *names: str) -> Iterator[tuple[str, str]]:
    """(place, value) in main.cf and master.cf."""
    for name in names:
        if name in facts.explicit:
            yield facts.where(name), facts.value(name)
        for key, value in facts.master.overrides.items():
            service, _, parameter = key.rpartition("/")
            if parameter == name and "$" not in value:
                yield f"{facts.master_where(service)} -o {name}", value


def _unknown_policy(facts: Facts) -> Iterator[Fault]:
    for place, _, word in policies(facts):
        if word not in LEVELS:
            right = f"write one of: {', '.join(LEVELS)}; then postmap the file"
            yield Fault(place, f'has the level "{word}"', remedies.edit(facts, right))


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


def _verifies(facts: Facts) -> list[tuple[str, str]]:
    """(place, level) of what demands a valid certificate."""
    found = [(place, value.lower()) for place, value in _everywhere(facts, "smtp_tls_security_level")]
    found += [(place, word) for place, _, word in policies(facts)]
    return [(place, word) for place, word in found if word in _VERIFIED]


def _no_authorities(facts: Facts) -> Iterator[Fault]:
    trusted = ("smtp_tls_CAfile", "smtp_tls_CApath", "smtp_tls_trust_anchor_file")
    if any(facts.value(name) for name in trusted) or facts.yes("tls_append_default_CA"):
        return
    for place, word in _verifies(facts):
        yield Fault(
            place,
            f"is {word}, and neither smtp_tls_CAfile nor smtp_tls_CApath is set",
            remedies.assign(facts, ("smtp_tls_CAfile", remedies.ca_file(facts))),
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
        what = "a folder" if known.directory else "without any certificate"
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
        for place, word in _verifies(facts):
            yield Fault(
                place,
                f"is {word}, and {path} is not inside the chroot of smtp(8)",
                remedies.assign(facts, ("smtp_tls_CAfile", remedies.ca_file(facts))),
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
        "wrappermode-on-starttls-port",
        E,
        _wrapper_on_starttls_port,
        "Postfix begins with TLS, the relay with a greeting in clear text: no mail leaves (wrong version number, Cannot start TLS).",
    ),
    Rule(
        "wrappermode-on-other-route",
        E,
        _wrapper_on_other_route,
        "smtp_tls_wrappermode holds for every destination of a service: mail on this route stays in the queue.",
    ),
    Rule(
        "wrappermode-without-encryption",
        E,
        _wrapper_without_level,
        "Postfix does not even connect unless the level is encrypt or stronger (server unavailable or unable to receive mail).",
    ),
    Rule(
        "implicit-tls-port-without-wrappermode",
        E,
        _implicit_port_without_wrapper,
        "Postfix waits for a greeting, the relay for TLS, until the time is over: no mail leaves.",
    ),
    Rule(
        "tls-level-unknown",
        E,
        _unknown_level,
        "smtp(8) ends with a fatal error, and mail stays in the queue without a reason.",
    ),
    Rule(
        "tls-policy-level-unknown",
        E,
        _unknown_policy,
        "Mail for that destination is deferred (client TLS configuration problem).",
    ),
    Rule(
        "tls-protocols-unknown",
        E,
        _unknown_protocols,
        "Postfix aborts every TLS session (Invalid TLS protocol list).",
    ),
    Rule(
        "tls-cipher-grade-unknown",
        E,
        _unknown_grade,
        "Postfix aborts every TLS session (invalid cipher grade).",
    ),
    Rule(
        "verify-without-authorities",
        E,
        _no_authorities,
        "No certificate can be verified, and all mail is deferred.",
    ),
    Rule(
        "ca-file-missing",
        E,
        _ca_file_missing,
        "Postfix switches TLS off: mail is deferred, or at level may sent without TLS or login.",
    ),
    Rule(
        "ca-file-without-certificate",
        E,
        _ca_file_empty,
        "Postfix switches TLS off: mail is deferred, or at level may sent without TLS or login.",
    ),
    Rule("ca-path-missing", W, _ca_path_missing, "Certificates of relays cannot be verified."),
    Rule(
        "ca-path-outside-chroot",
        E,
        _ca_path_outside_chroot,
        "Postfix reads that folder after the chroot: no certificate can be verified.",
    ),
    Rule(
        "tls-client-certificate-missing",
        E,
        _client_key_missing,
        "Postfix switches TLS off: mail is deferred, or sent without TLS or login.",
    ),
    Rule(
        "dane-without-dnssec",
        W,
        _dane_without_dnssec,
        "DANE needs DNSSEC; without it Postfix falls back to opportunistic TLS, or defers.",
    ),
    Rule("fingerprint-missing", E, _no_fingerprint, "No certificate matches, and all mail is deferred."),
)

"""Lint: find faults of settings and host before any mail fails.

Pure: settings and the facts of a host → findings, worst first. Each rule is one row in the table of its module, and
the tests have a mistake for each. A rule is silent about absent facts.
"""

from collections.abc import Iterator
from dataclasses import replace

from postward.config.lint import (
    identity,
    local_mail,
    main_cf,
    maps,
    master_cf,
    network,
    passwords,
    relayhost,
    routing,
    sasl,
    settings_rules,
    system,
    tls,
)
from postward.config.lint.facts import HostFacts
from postward.config.lint.finding import Finding, Rule, Severity
from postward.config.lint.settings_rules import Case
from postward.config.settings import Settings

# Subject → its rules, in the order of docs/lint.md.
HOST_RULES: tuple[tuple[str, tuple[Rule[HostFacts], ...]], ...] = (
    ("Next hops", relayhost.RULES),
    ("TLS", tls.RULES),
    ("Logins", sasl.RULES),
    ("Tables of passwords", passwords.RULES),
    ("Lookup tables", maps.RULES),
    ("Routing", routing.RULES),
    ("Local mail", local_mail.RULES),
    ("Names", identity.RULES),
    ("Addresses", network.RULES),
    ("main.cf", main_cf.RULES),
    ("master.cf", master_cf.RULES),
    ("Chroot, files and disk", system.RULES),
)
SETTINGS_RULES = settings_rules.RULES
# Identifiers of the rules about the way of mail to its relays: next hops, TLS, logins, tables and routes.
OF_RELAYS = frozenset(
    rule.id for module in (relayhost, tls, sasl, passwords, maps, routing) for rule in module.RULES
)

__all__ = ["HOST_RULES", "OF_RELAYS", "SETTINGS_RULES", "Finding", "HostFacts", "Severity", "lint"]

_ORDER = list(Severity)


def lint(settings: Settings | None, facts: HostFacts, source: str = "") -> list[Finding]:
    """Return all findings, worst first.

    Args:
        settings: the settings; None without any.
        facts: the facts of the host; HostFacts() if there are none.
        source: the path of the settings file.
    """
    findings = [*_about_settings(settings, facts, source), *_about_host(facts)]
    # Two routes with the same faulty setting yield one finding.
    return sorted(dict.fromkeys(findings), key=lambda finding: _ORDER.index(finding.severity))


def _about_settings(settings: Settings | None, facts: HostFacts, source: str) -> Iterator[Finding]:
    if settings is not None:
        for rule in SETTINGS_RULES:
            yield from rule.findings(Case(settings, facts, source))


# Rules that explain an error message of postconf; they replace refused-by-postfix.
_EXPLAINS_REFUSAL = {
    "missing-equals",
    "macro-loop",
    "inet-interfaces-name",
    "inet-interfaces-not-local",
    "inet-interfaces-without-ipv6",
    "inet-protocols-unknown",
    "master-field-count",
}


def _about_host(facts: HostFacts) -> list[Finding]:
    if not facts.defaults:
        return []
    findings = _found(facts)
    if repaired := main_cf.with_lost_parameters(facts):
        findings = _without_consequences(findings, _found(repaired))
    explained = any(finding.id in _EXPLAINS_REFUSAL for finding in findings)
    return [finding for finding in findings if not (explained and finding.id == "refused-by-postfix")]


def _found(facts: HostFacts) -> list[Finding]:
    return [finding for _, rules in HOST_RULES for rule in rules for finding in rule.findings(facts)]


def _without_consequences(findings: list[Finding], remaining: list[Finding]) -> list[Finding]:
    """Return the findings about indented parameters, and those that remain once they are repaired."""
    kinds = {finding.id for finding in remaining}
    kept = [finding for finding in findings if finding.id in kinds | {"indented-parameter"}]
    if folded := len(set(findings)) - len(set(kept)):
        first = next(place for place, finding in enumerate(kept) if finding.id == "indented-parameter")
        others = f"; {folded} other finding{'s follow' if folded > 1 else ' follows'} from it"
        kept[first] = replace(kept[first], what=f"{kept[first].what}{others}")
    return kept

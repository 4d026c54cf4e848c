"""Lint: what can be known to be wrong before any mail fails.

Pure: settings and a host's facts in, findings out, worst first. Each rule is one row in a table of its module, and
has a mistake in the tests that it finds. A rule is silent about what is not known.
"""

from collections.abc import Iterator

from postward.config.lint import (
    identity,
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

# What the rules are about → the rules, in the order of docs/lint.md.
HOST_RULES: tuple[tuple[str, tuple[Rule[HostFacts], ...]], ...] = (
    ("Next hops", relayhost.RULES),
    ("TLS", tls.RULES),
    ("Logins", sasl.RULES),
    ("Tables of passwords", passwords.RULES),
    ("Lookup tables", maps.RULES),
    ("Routing", routing.RULES),
    ("Names", identity.RULES),
    ("Addresses", network.RULES),
    ("main.cf", main_cf.RULES),
    ("master.cf", master_cf.RULES),
    ("Chroot, files and disk", system.RULES),
)
SETTINGS_RULES = settings_rules.RULES

__all__ = ["HOST_RULES", "SETTINGS_RULES", "Finding", "HostFacts", "Severity", "lint"]

_ORDER = list(Severity)


def lint(settings: Settings | None, facts: HostFacts, source: str = "") -> list[Finding]:
    """Everything that is wrong, worst first.

    Args:
        settings: the settings, if there are any.
        facts: what is known of the host; HostFacts() if nothing is.
        source: the path of the settings file.
    """
    found = [*_about_settings(settings, facts, source), *_about_host(facts)]
    # Two routes by one setting make one finding.
    return sorted(dict.fromkeys(found), key=lambda finding: _ORDER.index(finding.severity))


def _about_settings(settings: Settings | None, facts: HostFacts, source: str) -> Iterator[Finding]:
    if settings is not None:
        for rule in SETTINGS_RULES:
            yield from rule.findings(Case(settings, facts, source))


# Rules that explain why postconf gives up better than its own words do.
_EXPLAIN = {
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
    found = [finding for _, rules in HOST_RULES for rule in rules for finding in rule.findings(facts)]
    explained = any(finding.id in _EXPLAIN for finding in found)
    return [finding for finding in found if not (explained and finding.id == "refused-by-postfix")]

"""The tables of rules: complete, documented, and each row with a mistake that it finds."""

import re
from dataclasses import replace
from pathlib import Path

from postward.config.lint import HOST_RULES, SETTINGS_RULES, HostFacts, lint
from postward.config.lint.facts import Disk
from postward.config.lint.reference import reference
from tests.config.lint.host import Host, ids
from tests.config.lint.mistakes import MISTAKES
from tests.config.lint.settings_mistakes import SETTINGS_MISTAKES

# Found by the tests below: a file cannot bring them about everywhere.
_BY_FACTS = {
    "inet-interfaces-without-ipv6",
    "queue-inodes-used-up",
    "map-type-deprecated",
    "refused-by-postfix",
}


def test_every_rule_has_a_mistake_that_it_finds() -> None:
    """At least forty mistakes, and no rule without one."""
    expected = {found for _, _, row in MISTAKES for found in row} | _BY_FACTS
    wanted = {found for _, _, _, row in SETTINGS_MISTAKES for found in row}

    assert len(MISTAKES) >= 45
    assert {rule.id for _, rules in HOST_RULES for rule in rules} - expected == set()
    assert {rule.id for rule in SETTINGS_RULES} - wanted == set()


def test_identifiers_are_short_and_unique() -> None:
    """Kebab-case, once each, with a reason that is a sentence."""
    rules = [(rule.id, rule.why) for _, group in HOST_RULES for rule in group]
    rules += [(rule.id, rule.why) for rule in SETTINGS_RULES]

    assert len({name for name, _ in rules}) == len(rules)
    for name, why in rules:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert len(name) <= 40
        assert why.endswith((".", ")."))


def test_the_reference_is_made_from_the_tables() -> None:
    """docs/lint.md is what `make docs` writes."""
    assert (Path(__file__).parents[3] / "docs" / "lint.md").read_text() == reference()


def test_nothing_is_known_of_a_host_without_postfix() -> None:
    """Then no rule guesses."""
    assert lint(None, HostFacts()) == []


def test_ipv6_that_the_kernel_does_not_have(host: Host) -> None:
    """Localhost that is ::1 in /etc/hosts stops every command; Postfix' own words are not repeated besides."""
    fault = "fatal: parameter inet_interfaces: no local interface found for ::1"

    assert ids(lint(None, replace(host.facts(), fault=fault))) == {"inet-interfaces-without-ipv6"}


def test_a_fault_that_no_rule_knows(host: Host) -> None:
    """Is told in Postfix' words."""
    (finding,) = lint(None, replace(host.facts(), fault="fatal: something new"))

    assert (finding.id, finding.what) == ("refused-by-postfix", "Postfix says: fatal: something new")


def test_a_disk_without_inodes(host: Host) -> None:
    """A file system that has a fixed number of them, and few left."""
    disk = Disk(free=10**12, size=2 * 10**12, free_inodes=3, inodes=1000)

    assert ids(lint(None, replace(host.facts(), disk=disk))) == {"queue-inodes-used-up"}
    assert lint(None, replace(host.facts(), disk=replace(disk, free_inodes=0, inodes=0))) == []


def test_a_disk_that_is_nearly_full(host: Host) -> None:
    """Less than two percent."""
    disk = Disk(free=10**9, size=10**12, free_inodes=900, inodes=1000)

    assert ids(lint(None, replace(host.facts(), disk=disk))) == {"queue-disk-full"}


def test_berkeley_db_where_it_is_deprecated(host: Host) -> None:
    """From 3.11 on, if another type is the default."""
    facts = host.facts()
    newer = {"mail_version": "3.11.7", "compatibility_level": "0"}
    facts = replace(
        facts,
        defaults={**facts.defaults, **newer},
        expanded={**facts.expanded, "default_database_type": "cdb"},
    )

    assert ids(lint(None, facts)) == {"map-type-deprecated"}

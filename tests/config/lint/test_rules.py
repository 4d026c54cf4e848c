"""The tables of rules are complete and documented, and each rule finds a seeded mistake."""

import re
from dataclasses import replace

from postward.config.lint import HOST_RULES, SETTINGS_RULES, HostFacts, lint
from postward.config.lint.file_facts import Disk
from tests.config.lint.host import LOGIN, RELAY, Host, ids
from tests.config.lint.mistakes import MISTAKES
from tests.config.lint.settings_mistakes import SETTINGS_MISTAKES

# Rules with a test below. Files alone cannot cause their findings on every machine.
_BY_FACTS = {
    "inet-interfaces-without-ipv6",
    "queue-inodes-used-up",
    "map-type-deprecated",
    "refused-by-postfix",
}


def test_every_rule_has_a_mistake_that_it_finds() -> None:
    """There are at least 45 mistakes, and every rule finds one."""
    expected = {found for _, _, row in MISTAKES for found in row} | _BY_FACTS
    wanted = {found for _, _, _, row in SETTINGS_MISTAKES for found in row}

    assert len(MISTAKES) >= 45
    assert {rule.id for _, rules in HOST_RULES for rule in rules} - expected == set()
    assert {rule.id for rule in SETTINGS_RULES} - wanted == set()


def test_identifiers_are_short_and_unique() -> None:
    """Identifiers are in kebab case and have at most 40 characters. Each reason is a sentence."""
    rules = [(rule.id, rule.why) for _, group in HOST_RULES for rule in group]
    rules += [(rule.id, rule.why) for rule in SETTINGS_RULES]

    assert len({name for name, _ in rules}) == len(rules)
    for name, why in rules:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert len(name) <= 40
        assert why.endswith((".", ")."))


def test_a_host_without_postfix_has_no_findings() -> None:
    """Rules are silent about absent facts."""
    assert lint(None, HostFacts()) == []


def test_localhost_is_ipv6_and_the_kernel_has_no_ipv6(host: Host) -> None:
    """If /etc/hosts maps localhost to ::1, every Postfix command fails. Postfix's message is not reported a second time."""
    fault = "fatal: parameter inet_interfaces: no local interface found for ::1"

    assert ids(lint(None, replace(host.facts(), fault=fault))) == {"inet-interfaces-without-ipv6"}


def test_an_unknown_fault_is_quoted(host: Host) -> None:
    """A fault that no rule knows is reported with the message of Postfix."""
    (finding,) = lint(None, replace(host.facts(), fault="fatal: something new"))

    assert (finding.id, finding.what) == ("refused-by-postfix", "Postfix says: fatal: something new")


def test_a_disk_with_few_free_inodes(host: Host) -> None:
    """Only file systems with a fixed number of inodes are checked."""
    disk = Disk(free=10**12, size=2 * 10**12, free_inodes=3, inodes=1000)

    assert ids(lint(None, replace(host.facts(), disk=disk))) == {"queue-inodes-used-up"}
    assert lint(None, replace(host.facts(), disk=replace(disk, free_inodes=0, inodes=0))) == []


def test_a_disk_that_is_nearly_full(host: Host) -> None:
    """Less than two percent of the disk is free."""
    disk = Disk(free=10**9, size=10**12, free_inodes=900, inodes=1000)

    assert ids(lint(None, replace(host.facts(), disk=disk))) == {"queue-disk-full"}


def test_berkeley_db_where_it_is_deprecated(host: Host) -> None:
    """Berkeley DB is reported from Postfix 3.11 on, if the default table type is another one."""
    facts = host.facts()
    newer = {"mail_version": "3.11.7", "compatibility_level": "0"}
    facts = replace(
        facts,
        defaults={**facts.defaults, **newer},
        expanded={**facts.expanded, "default_database_type": "cdb"},
    )

    assert ids(lint(None, facts)) == {"map-type-deprecated"}


def test_findings_that_follow_from_an_indented_block_are_folded(host: Host) -> None:
    """Parameters that an indented block leaves unset have no findings of their own. The block counts them."""
    block = "smtp_tls_session_cache_timeout = 1h\n  smtp_tls_security_level = encrypt\n  smtp_sasl_security_options = noanonymous"
    host.unset("smtp_tls_security_level", "smtp_sasl_security_options").append(block)

    first, second = host.findings()

    assert {first.id, second.id} == {"indented-parameter"}
    assert first.what.endswith("; 2 other findings follow from it")


def test_two_accounts_at_one_relay_need_keys_by_sender(host: Host) -> None:
    """A second login under one key is another account, or a new password of the same one."""
    remedies = {}
    for user in ("relay-user", "other"):
        host.passwords(f"{RELAY} {LOGIN}\n{RELAY} {user}:Gr33n\n")
        (finding,) = host.findings()
        remedies[user] = finding.remedy.partition(",")[0]

    assert remedies == {
        "relay-user": "remove the line with the old password",
        "other": "write the address of each sender as the key of its account",
    }

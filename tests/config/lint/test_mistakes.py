"""Lint finds each seeded mistake, and nothing else, in a configuration directory that the real postconf reads.

Remedies that are commands are run and must repair it.
"""

import pytest

from postward.config.lint import lint
from tests.config.lint.host import SECRETS, Host, ids
from tests.config.lint.mistakes import MISTAKES, Damage
from tests.config.lint.remedies import carry_out, commands


@pytest.mark.parametrize(
    ("damage", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_is_found(host: Host, damage: Damage, expected: set[str]) -> None:
    """Lint reports exactly these findings, each with a place and a remedy, and none with a password."""
    damage(host)
    facts = host.facts()
    findings = lint(None, facts)

    assert ids(findings) == expected, [(finding.where, finding.what) for finding in findings]
    assert all(finding.where and finding.what and finding.remedy for finding in findings)
    for secret in SECRETS:
        assert secret not in repr(findings)
        assert secret not in repr(facts) + repr([table.entries for table in facts.tables])
    assert facts.unread == ()
    todo = [commands(finding.remedy) for finding in findings]
    if all(todo):
        for command in todo:
            carry_out(host, command or [])
        # A relay under another name needs another key in sasl_passwd; only the admin can supply its password.
        assert ids(host.findings()) <= {"password-key-mismatch"}

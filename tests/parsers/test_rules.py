"""Checks on a rule when it is made, and on its pattern when it is compiled."""

import pytest

from postward.parsers.daemons import TABLE
from postward.parsers.events import Attempt, Problem, Removed
from postward.parsers.grammar import DAEMONS
from postward.parsers.rules import rule


def test_groups_must_be_fields() -> None:
    """A group that is not a field of the event is an error."""
    with pytest.raises(ValueError, match="not fields"):
        assert rule(r"(?P<queue>\w+): (?P<reason>.*)", Attempt, "smtp/smtp_trouble.c").pattern


def test_groups_must_come_in_the_fields_order() -> None:
    """Groups out of the fields' order are an error, because values are assigned by position."""
    with pytest.raises(ValueError, match="order"):
        assert rule(r"(?P<reason>\w+): (?P<queue_id>.*)", Attempt, "smtp/smtp_trouble.c").pattern


def test_every_group_needs_a_name() -> None:
    """A group without a name is an error, because it would shift later fields."""
    with pytest.raises(ValueError, match="must have a name"):
        assert rule(r"(?P<queue_id>\w+)(: )(?P<reason>.*)", Attempt, "smtp/smtp_trouble.c").pattern


@pytest.mark.parametrize("printers", [(), ("smtp",)])
def test_a_rule_cites_its_source(printers: tuple[str, ...]) -> None:
    """A rule without a Postfix source file is an error."""
    with pytest.raises(ValueError, match="must cite"):
        rule(r"(?P<queue_id>\w+): (?P<reason>.*)", Attempt, *printers)


def test_fields_without_a_group_are_none() -> None:
    """A field that the pattern has no group for is None."""
    made = rule(r"(?P<queue_id>\w+): removed", Removed, "qmgr/qmgr_active.c")
    match = made.pattern.fullmatch("4C0FFEE001: removed")
    assert match is not None
    assert made.spread is not None
    assert made.spread((*match.groups(), None)) == Removed("4C0FFEE001", None)


def test_an_event_of_one_field_needs_it() -> None:
    """A pattern without the only field of its event is an error."""
    with pytest.raises(ValueError, match="only field"):
        assert rule(r"x", Problem, "smtp/smtp.c").pattern


def test_every_rule_compiles() -> None:
    """Every pattern compiles, with the groups of its event."""
    assert all(rule.pattern for rules in TABLE.values() for rule in rules)


def test_every_daemon_has_rules() -> None:
    """Every daemon that is known by name has at least the rules for the libraries."""
    assert set(TABLE) == DAEMONS
    assert all(TABLE.values())

"""What a rule is checked for when it is made, and its pattern when it is compiled."""

import pytest

from postward.parsers.daemons import TABLE
from postward.parsers.events import Attempt, Problem, Removed
from postward.parsers.grammar import DAEMONS
from postward.parsers.rules import rule


def test_groups_must_be_fields() -> None:
    """A slip in a name is an error."""
    with pytest.raises(ValueError, match="not fields"):
        assert rule(r"(?P<queue>\w+): (?P<reason>.*)", Attempt, "smtp/smtp_trouble.c").pattern


def test_groups_must_come_in_the_fields_order() -> None:
    """Values are put into the event by position."""
    with pytest.raises(ValueError, match="order"):
        assert rule(r"(?P<reason>\w+): (?P<queue_id>.*)", Attempt, "smtp/smtp_trouble.c").pattern


def test_every_group_needs_a_name() -> None:
    """A nameless group would shift the fields after it."""
    with pytest.raises(ValueError, match="name"):
        assert rule(r"(?P<queue_id>\w+)(: )(?P<reason>.*)", Attempt, "smtp/smtp_trouble.c").pattern


@pytest.mark.parametrize("printers", [(), ("smtp",)])
def test_a_rule_cites_its_source(printers: tuple[str, ...]) -> None:
    """Patterns come from the file that prints the line, not from samples."""
    with pytest.raises(ValueError, match="cites"):
        rule(r"(?P<queue_id>\w+): (?P<reason>.*)", Attempt, *printers)


def test_fields_without_a_group_are_none() -> None:
    """A line may say less than its event can hold."""
    made = rule(r"(?P<queue_id>\w+): removed", Removed, "qmgr/qmgr_active.c")
    match = made.pattern.fullmatch("4C0FFEE001: removed")
    assert match is not None
    assert made.spread is not None
    assert made.spread((*match.groups(), None)) == Removed("4C0FFEE001", None)


def test_an_event_of_one_field_needs_it() -> None:
    """Nothing is built from nothing."""
    with pytest.raises(ValueError, match="one field"):
        assert rule(r"x", Problem, "smtp/smtp.c").pattern


def test_every_rule_compiles() -> None:
    """Each pattern has the groups of its event, also of daemons that no other test reads."""
    assert all(rule.pattern for rules in TABLE.values() for rule in rules)


def test_every_daemon_has_rules() -> None:
    """No daemon that is known by its name goes without the lines that any program may log."""
    assert set(TABLE) == DAEMONS
    assert all(TABLE.values())

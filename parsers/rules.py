"""A rule says which text makes which event, and which Postfix source file prints that text.

A pattern's group names must be fields of the event, in the event's order: this is checked when the pattern is
compiled, which the tests do with all of them, so a slip is an error of the first test run and not a shifted field
in production. Fields without a group are None. Patterns are compiled when they are first needed: most logs know
few daemons, and compiling all takes longer than reading a small log.
"""

import re
from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

Severity = Literal["info", "problem"]
Spread = Callable[[tuple[str | None, ...]], tuple[str | None, ...]]

_PRINTER: Final = re.compile(r"[\w-]+/[\w.-]+")


class Rule(NamedTuple):
    """One kind of line: its pattern (always matched in full), the event it makes, and its printers."""

    text: str
    event: type[Any]
    printers: tuple[str, ...]
    severity: Severity

    @property
    def pattern(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return _compile(self)[0]

    @property
    def spread(self) -> Spread | None:
        """How groups become fields; None where they are the same."""
        return _compile(self)[1]


@cache
def _compile(rule: Rule) -> tuple[re.Pattern[str], Spread | None]:
    compiled = re.compile(rule.text, re.DOTALL)
    fields: tuple[str, ...] = rule.event._fields
    names = tuple(compiled.groupindex)
    if len(names) != compiled.groups:
        raise ValueError(f"{rule.event.__name__}: every group needs a name: {rule.text}")
    places = [fields.index(name) if name in fields else -1 for name in names]
    if -1 in places or places != sorted(places):
        raise ValueError(f"{rule.event.__name__}: the groups {names} are not fields in the order of {fields}")
    return compiled, None if names == fields else _spread(fields, names)


def rule(pattern: str, event: type[Any], *printers: str, severity: Severity = "info") -> Rule:
    """A rule; ``severity`` is "problem" for lines that bear a severity label."""
    if not printers or not all(_PRINTER.fullmatch(printer) for printer in printers):
        raise ValueError(
            f"{event.__name__}: a rule cites the source files that print its line, not {printers}"
        )
    return Rule(pattern, event, printers, severity)


def problem(pattern: str, event: type[Any], *printers: str) -> Rule:
    """A rule for a line labelled warning, error, fatal or panic."""
    return rule(pattern, event, *printers, severity="problem")


def _spread(fields: tuple[str, ...], names: tuple[str, ...]) -> Spread:
    """Takes each field's value from the groups' values with a None behind them, in one step."""
    if len(fields) < 2:
        raise ValueError(f"an event of one field needs a group for it: {fields}")
    return itemgetter(*(names.index(name) if name in names else len(names) for name in fields))

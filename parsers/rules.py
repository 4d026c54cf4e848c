"""Rules: a pattern for one kind of line, the event it makes, and the Postfix source files that print it.

A pattern's groups must be named as fields of the event and stand in their order. Compilation checks this, and a test
compiles every rule. Fields without a group are None. Patterns are compiled on first use: most logs contain few daemons,
and compiling all takes longer than reading a small log.
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
    """One kind of line: its pattern (matched against the whole text), its event, and the files that print it."""

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
        """Function from groups to fields; None if they are the same."""
        return _compile(self)[1]


@cache
def _compile(rule: Rule) -> tuple[re.Pattern[str], Spread | None]:
    compiled = re.compile(rule.text, re.DOTALL)
    fields: tuple[str, ...] = rule.event._fields
    names = tuple(compiled.groupindex)
    if len(names) != compiled.groups:
        raise ValueError(f"{rule.event.__name__}: every group must have a name: {rule.text}")
    places = [fields.index(name) if name in fields else -1 for name in names]
    if -1 in places or places != sorted(places):
        raise ValueError(f"{rule.event.__name__}: the groups {names} are not fields in the order of {fields}")
    return compiled, None if names == fields else _spread(fields, names)


def rule(pattern: str, event: type[Any], *printers: str, severity: Severity = "info") -> Rule:
    """Make a rule; `severity` is "problem" for lines with a severity label.

    Raises ValueError if no printer is given or one is not a Postfix source file.
    """
    if not printers or not all(_PRINTER.fullmatch(printer) for printer in printers):
        raise ValueError(
            f"{event.__name__}: a rule must cite the source files that print its line, not {printers}"
        )
    return Rule(pattern, event, printers, severity)


def problem(pattern: str, event: type[Any], *printers: str) -> Rule:
    """Make a rule for a line labelled warning, error, fatal or panic."""
    return rule(pattern, event, *printers, severity="problem")


def _spread(fields: tuple[str, ...], names: tuple[str, ...]) -> Spread:
    """Return a function that picks each field's value from the groups, which a None follows."""
    if len(fields) < 2:
        raise ValueError(f"the only field of an event must have a group: {fields}")
    return itemgetter(*(names.index(name) if name in names else len(names) for name in fields))

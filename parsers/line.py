"""A line to its record and its event: the hot path, walked once for every line of a log.

Promises: linear time, and no exception whatever the line holds. The rules of a daemon are split by severity
once, because a label already tells which of them can match.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from postward.parsers.daemons import TABLE
from postward.parsers.events import Event, Problem
from postward.parsers.record import Record, parse_record
from postward.parsers.rules import Rule, Severity, Spread

if TYPE_CHECKING:
    import re

_Matcher = tuple[Any, type[Any], Spread | None]


class _Matchers:
    """The rules of a severity and a daemon, each made ready when a line comes as far as it.

    What is ready is always the first of them: a tuple that is exchanged, so that threads cannot disagree.
    """

    __slots__ = ("_rules", "ready")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.ready: tuple[_Matcher, ...] = ()
        self._rules = rules

    def more(self, place: int) -> Iterator[_Matcher]:
        """Those from a place on; rules are made ready as far as they are asked for."""
        for number, rule in enumerate(self._rules[place:], place):
            matcher = rule.pattern.fullmatch, rule.event, rule.spread
            ready = self.ready
            if len(ready) == number:
                self.ready = (*ready, matcher)
            yield matcher


class _ByDaemon(dict[str, _Matchers]):
    """The rules of one severity."""

    def __init__(self, severity: Severity) -> None:
        super().__init__()
        self._severity = severity

    def __missing__(self, daemon: str) -> _Matchers:
        rules = tuple(rule for rule in TABLE[daemon] if rule.severity == self._severity)
        matchers = self[daemon] = _Matchers(rules)
        return matchers


# What became of a line: known to a rule, known by its severity label only, Postfix's but unknown, another program's.
OUTCOMES: Final = ("event", "generic", "unrecognised", "foreign")

_new: Final = tuple.__new__
_BLANKS: Final = frozenset({" ", "\t", "\r"})
_INFO: Final = _ByDaemon("info")
_PROBLEM: Final = _ByDaemon("problem")


def parse_event(record: Record) -> Event | None:
    """Return the event of a record's text, or None if no rule knows it."""
    _, _, _, daemon, _, severity, text, _ = record
    matchers = _INFO[daemon] if severity == "info" else _PROBLEM[daemon]
    event = _first(matchers, text)
    if text[-1:] in _BLANKS:  # a copy from a terminal or a forum, which only rules for any text know
        stripped = _first(matchers, text.rstrip())
        if stripped is not None and type(stripped) is not type(event):
            event = stripped
    return Problem(text) if event is None and severity != "info" else event


def _first(matchers: _Matchers, text: str) -> Event | None:
    ready = matchers.ready
    event = _first_of(ready, text)
    return event if event is not None else _first_of(matchers.more(len(ready)), text)


def _first_of(matchers: Iterable[_Matcher], text: str) -> Event | None:
    for fullmatch, event, spread in matchers:
        match: re.Match[str] | None = fullmatch(text)
        if match is not None:
            values = match.groups()
            made: Event = _new(event, values if spread is None else spread((*values, None)))
            return made
    return None


def parse(line: str) -> tuple[Record | None, Event | None]:
    """The line's header and what it says; see the package for the three outcomes."""
    record = parse_record(line)
    if record is None:
        return None, None
    return record, parse_event(record)


def outcome_of(record: Record | None, event: Event | None) -> str:
    """Return the outcome of a line, one of OUTCOMES, from what `parse` returned for it."""
    if record is None:
        return "foreign"
    if event is None:
        return "unrecognised"
    return "generic" if type(event) is Problem else "event"

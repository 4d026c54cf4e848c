"""Parsing of a line into its record and its event: the hot path, which runs once for each line of a log.

Promises: linear time, and no exception for any line. The rules of a daemon are split by severity once, because
the severity label of a line decides which rules can match.
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
    """The rules of one daemon and severity, each compiled when a line first reaches it.

    `ready` holds the compiled rules, which are always the first ones. It is a tuple that is replaced as a whole,
    so that threads see a consistent state.
    """

    __slots__ = ("_rules", "ready")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.ready: tuple[_Matcher, ...] = ()
        self._rules = rules

    def more(self, place: int) -> Iterator[_Matcher]:
        """Yield the matchers from a position on, and compile each rule when it is requested."""
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


# The outcomes of a line: matched by a rule, known by its severity label only, unknown to Postward, not of Postfix.
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
    # A line copied from a terminal or a forum may end in blanks. Only rules that accept any text match it then.
    if text[-1:] in _BLANKS:
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
    """Return a line's record and event; the package's docstring explains the three outcomes."""
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

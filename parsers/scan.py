"""One scan of a block of lines: the frequent kinds as columns, every other line as record and event.

The pattern of a scan is made of the rules' own patterns, in their order, so a line has the same event as by `parse`; a
property test holds that. A line of a frequent kind costs a match and no event: counting takes the columns of all lines of
a kind, and a reader of events in the order of the lines has only the lines parsed that it needs.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from itertools import pairwise, takewhile
from typing import Any, Final, NamedTuple

from postward.parsers import events as ev
from postward.parsers.daemons import TABLE
from postward.parsers.dialects import LEVELS
from postward.parsers.events import Event
from postward.parsers.line import parse
from postward.parsers.record import Record
from postward.parsers.rules import Rule

# The frequent kinds of each daemon. Its first rules must be theirs, because a later rule takes what they leave.
FREQUENT: Final[Mapping[str, tuple[type[Any], ...]]] = {
    "qmgr": (ev.QueueActive, ev.Removed),
    "smtp": (ev.Delivery, ev.TlsEstablished),
    "smtpd": (ev.ClientConnected, ev.ClientDisconnected, ev.ClientAccepted),
    "cleanup": (ev.MessageId,),
    "pickup": (ev.PickedUp,),
    "bounce": (ev.Notification,),
    "postscreen": (ev.Screened,),
    "dnsblog": (ev.DnsListed,),
    "lmtp": (ev.Delivery,),
}
# Kind → the columns that a scan offers, besides those of the header.
Wanted = Mapping[type[Any], Collection[str]]

# As the pattern for most headers in `record.py`, for names of instances that begin with "postfix".
_HEADER: Final = (
    r"([A-Z][a-z]{2} .{11}|[0-9]{4}-[0-9][^ \n]++) "
    rf"(?!(?:{'|'.join(level.upper() for level in LEVELS)}) )([^ \n]++) "
    r"(postfix[^ /\[\]:\n]*+(?:/[^ /\[\]:\n]++(?=/))?+)/"
)
_COLUMNS: Final = {"stamp": 1, "host": 2, "instance": 3}  # the groups of the header
_TAG_END: Final = r"\[[0-9]{1,10}\]: (?!(?:warning|error|fatal|panic): |\[ID |message repeated )"
_LINE_END: Final = r"(?<![ \t\r])\n"  # a line that ends in blanks is left to `parse`
_GROUP: Final = re.compile(r"\(\?P<(\w+)>")
_NEGATED: Final = re.compile(r"(?<!\\)\[\^")

# Kinds with a queue ID, in the order of a message's lines: arrival, Message-ID, all others.
_STAGES: Final = (
    (ev.PickedUp, ev.ClientAccepted),
    (ev.MessageId,),
    (ev.QueueActive, ev.Delivery, ev.Notification, ev.Removed),
)

JOINED: Final = tuple(kind for stage in _STAGES for kind in stage)  # `reuses_queue_ids` reads their queue IDs
_BEGINNINGS: Final = frozenset(_STAGES[0] + _STAGES[1])

_Match = re.Match[str]


class Line(NamedTuple):
    """A line with its record and event, as `parse` returns them, and the place in its block where it ends."""

    end: int
    text: str
    record: Record | None
    event: Event | None


class Scanner:
    """Scans blocks of lines.

    Args:
        wanted: the columns of each kind, besides stamp, host and instance. Each makes a scan slower.
        excerpts: take lines without a stamp for Postfix's; a log that is written has stamps.
    """

    def __init__(self, wanted: Wanted, *, excerpts: bool = False) -> None:
        self._parse = parse if excerpts else _parse_stamped
        self._kinds: dict[int, tuple[type[Any], dict[str, int]]] = {}  # by the empty group that ends a rule
        place, daemons = len(_COLUMNS), []
        for daemon, kinds in FREQUENT.items():
            rules = []
            for rule in takewhile(lambda rule: rule.event in kinds, _plain_rules(daemon)):  # noqa: B023
                text, names = _in_block(rule, wanted.get(rule.event, ()))
                groups = {name: place + number for number, name in enumerate(names, 1)}
                place += len(names) + 1
                self._kinds[place] = (rule.event, _COLUMNS | groups)
                rules.append(f"{text}()")
            daemons.append(rf"{daemon}{_TAG_END}(?:{'|'.join(rules)})")
        self._rest = place + 1
        for (
            kind,
            groups,
        ) in self._kinds.values():  # a field that the line does not have: a group that matched nothing
            for name in wanted.get(kind, ()):
                groups.setdefault(name, self._rest)
        pattern = re.compile(rf"{_HEADER}(?:{'|'.join(daemons)}){_LINE_END}|(.*)\n")
        self._finditer = pattern.finditer

    def scan(self, text: str) -> "Block":
        """Scan whole lines; the last one may lack its line end."""
        if "\r" in text:
            text = text.removesuffix("\r").replace("\r\n", "\n")
        if text and not text.endswith("\n"):
            text += "\n"
        found: dict[int, list[_Match]] = {place: [] for place in (*self._kinds, self._rest)}
        lists = {place: matches.append for place, matches in found.items()}
        for match in self._finditer(text):
            lists[match.lastindex or self._rest](match)
        others = [
            Line(match.end(), match[self._rest], *self._parse(match[self._rest]))
            for match in found.pop(self._rest)
        ]
        return Block(text, self._kinds, found, others)


class Block:
    """The lines of a block.

    Attributes:
        text: the lines, each with its line end.
        others: the lines of no frequent kind, in order.
    """

    def __init__(
        self,
        text: str,
        kinds: Mapping[int, tuple[type[Any], Mapping[str, int]]],
        found: Mapping[int, list[_Match]],
        others: list[Line],
    ) -> None:
        self.text = text
        self.others = others
        self._of: dict[type[Any], list[tuple[Mapping[str, int], list[_Match]]]] = {}
        for place, matches in found.items():
            if matches:
                self.add(*kinds[place], matches)

    def of_instance(self, is_own: Callable[[str], bool], *, foreign: bool) -> "Block":
        """Return the lines of an instance.

        Args:
            is_own: takes the instance of a line.
            foreign: with the lines of other programs.
        """
        others = [
            line for line in self.others if (foreign if line.record is None else is_own(line.record.instance))
        ]
        own = Block(self.text, {}, {}, others)
        for kind, columns in self._of.items():
            kept = [
                (groups, [match for match in matches if is_own(match[groups["instance"]])])
                for groups, matches in columns
            ]
            if kept := [(groups, matches) for groups, matches in kept if matches]:
                own._of[kind] = kept
        return own

    def by_host(self, group_of: Callable[[str], str]) -> "dict[str, Block]":
        """Return the lines of each group of hosts, in order; lines that are not of a host are in the group "".

        Args:
            group_of: returns the group of a host, which the lines name.
        """
        hosts = {
            match[_COLUMNS["host"]]
            for columns in self._of.values()
            for _, found in columns
            for match in found
        }
        hosts.update(line.record.host for line in self.others if line.record is not None)
        groups = {host: group_of(host) for host in hosts}
        if set(groups.values()) <= {""}:
            return {"": self}
        blocks = {group: Block(self.text, {}, {}, []) for group in ("", *groups.values())}
        for line in self.others:
            blocks[groups[line.record.host] if line.record is not None else ""].others.append(line)
        for kind, columns in self._of.items():
            for places, matches in columns:
                of_group: dict[str, list[_Match]] = {}
                for match in matches:
                    of_group.setdefault(groups[match[_COLUMNS["host"]]], []).append(match)
                for group, found in of_group.items():
                    blocks[group].add(kind, places, found)
        return blocks

    def add(self, kind: type[Any], places: Mapping[str, int], matches: list[_Match]) -> None:
        """Add lines of a frequent kind, with the places of their columns."""
        self._of.setdefault(kind, []).append((places, matches))

    @property
    def last_record(self) -> Record | None:
        """The record of the last line that has one."""
        end = max((found[-1].end() for columns in self._of.values() for _, found in columns), default=0)
        later = takewhile(lambda line: line.end > end, reversed(self.others))
        record = next((line.record for line in later if line.record is not None), None)
        return record if record is not None or not end else self.line(end).record

    @property
    def frequent(self) -> int:
        """The number of lines of the frequent kinds."""
        return sum(len(matches) for columns in self._of.values() for _, matches in columns)

    def column(self, kind: type[Any], name: str) -> list[str]:
        """Return a column of the lines of a frequent kind, as printed."""
        return [match[groups[name]] for groups, matches in self._of.get(kind, ()) for match in matches]

    def rows(self, kind: type[Any], *names: str) -> list[tuple[Any, ...]]:
        """Return columns as a tuple for each line of a frequent kind; None where a line lacks the field."""
        if len(names) < 2:
            return [
                tuple(value for _ in names) for value in self.column(kind, names[0] if names else "stamp")
            ]
        rows: list[tuple[Any, ...]] = []
        for groups, matches in self._of.get(kind, ()):
            places = [groups[name] for name in names]
            rows += [match.group(*places) for match in matches]
        return rows

    def ends(self, kind: type[Any]) -> list[int]:
        """Return where each line of a frequent kind ends, in the order of its rows."""
        return [match.end() for _, matches in self._of.get(kind, ()) for match in matches]

    def line(self, end: int) -> Line:
        """Return the line that ends there, with its event."""
        text = self.text[self.text.rfind("\n", 0, end - 1) + 1 : end - 1]
        return Line(end, text, *parse(text))

    @cached_property
    def reuses_queue_ids(self) -> bool:
        """Whether a message begins after other lines with its queue ID, or goes on after its end.

        Rows by kind would mix up two messages.
        """
        last: dict[str, int] = {}  # queue ID → the end of the line with which its message begins
        arrivals = [queue_id for kind in _STAGES[0] for queue_id in self.column(kind, "queue_id")]
        if len(set(arrivals)) < len(arrivals):
            return True
        for stage, later in pairwise(_STAGES):
            last.update(pair for kind in stage for pair in self._queue_ids(kind))
            if any(last.get(queue_id, 0) > end for kind in later for queue_id, end in self._queue_ids(kind)):
                return True
        removed = dict(self._queue_ids(ev.Removed))
        never = len(self.text) + 1
        for kind in _STAGES[-1]:
            if any(removed.get(queue_id, never) < end for queue_id, end in self._queue_ids(kind)):
                return True
        for line in self.others:
            queue_id = getattr(line.event, "queue_id", None)
            if queue_id is not None and (
                type(line.event) in _BEGINNINGS
                or last.get(queue_id, 0) > line.end
                or removed.get(queue_id, never) < line.end
            ):
                return True
        return False

    def _queue_ids(self, kind: type[Any]) -> Iterator[tuple[str, int]]:
        return zip(self.column(kind, "queue_id"), self.ends(kind), strict=True)

    @cached_property
    def all_lines(self) -> list[Line]:
        """All lines, in order, with their events."""
        others = {line.end: line for line in self.others}
        ends = sorted((*others, *(end for kind in self._of for end in self.ends(kind))))
        return [others.get(end) or self.line(end) for end in ends]


def _parse_stamped(text: str) -> tuple[Record | None, Event | None]:
    record, event = parse(text)
    return (record, event) if record is None or record.stamp else (None, None)


def _plain_rules(daemon: str) -> Iterator[Rule]:
    return (rule for rule in TABLE[daemon] if rule.severity == "info")


def _in_block(rule: Rule, wanted: Collection[str]) -> tuple[str, list[str]]:
    """Return the rule's pattern for a line within a block, and the columns that its groups give."""
    names: list[str] = []

    def group(match: _Match) -> str:
        if match[1] not in wanted:
            return "(?:"
        names.append(match[1])
        return "("

    text = _NEGATED.sub(r"[^\\n", _GROUP.sub(group, rule.text))
    return text.replace(r"\Z", r"(?=\n)"), names

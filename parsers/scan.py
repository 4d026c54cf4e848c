"""One scan of a block of lines: the frequent kinds as columns, every other line as record and event.

The compiled matcher (`_scan.c`) runs programs made of the rules' own patterns. Where it is not at hand, one pattern made of
them does the same. A line has the same event as by `parse` either way; property tests hold that. A line of a frequent kind
costs a match and no event: counting takes the columns of all lines of a kind, and a reader of events in the order of the
lines has only the lines parsed that it needs.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from itertools import chain, compress, pairwise, repeat, takewhile
from operator import gt, lt
from typing import Any, Final, NamedTuple

from postward.parsers import events as ev
from postward.parsers.daemons import TABLE
from postward.parsers.dialects import LEVELS
from postward.parsers.events import Event
from postward.parsers.line import parse
from postward.parsers.programs import Program, program_of
from postward.parsers.record import HEADER, LEVEL_NAMES, WRAPPERS, Record, split_tag
from postward.parsers.rules import Rule, Severity

try:
    from postward.parsers import _scan
except ImportError:  # not compiled here
    _scan = None  # type: ignore[assignment]

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
_OF_HEADER: Final = ("stamp", "host", "instance")  # its groups
_PID, _DAEMON = "pid", "daemon"
# Columns beside groups, as in `_scan.c`.
_PLACES: Final = {"stamp": -1, "host": -2, "instance": -3, _DAEMON: -4, _PID: -5}
_END: Final = "end"
_QUEUE_ID: Final = "queue_id"
_TAG_END: Final = r"\[([0-9]{1,10})\]: (?!(?:warning|error|fatal|panic): |\[ID |message repeated )"
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
_new: Final = tuple.__new__
# The lines of a kind, in order, by column; "end" is where each line ends in its block.
Columns = Mapping[str, Sequence[Any]]


class Line(NamedTuple):
    """A line with its record and event, as `parse` returns them, and the place in its block where it ends."""

    end: int
    text: str
    record: Record | None
    event: Event | None


class Scanner:
    """Scans blocks of lines, by the compiled matcher where it is at hand.

    Args:
        wanted: the columns of each kind, besides stamp, host and instance: fields of its event, daemon and pid. Each makes a
            scan slower.
        excerpts: take lines without a stamp for Postfix's; a log that is written has stamps.
        compiled: False scans by `re` alone, with the same result.
    """

    def __init__(self, wanted: Wanted, *, excerpts: bool = False, compiled: bool = True) -> None:
        parse_line = parse if excerpts else _parse_stamped
        is_compiled = compiled and _scan is not None
        self._find = (_Compiled if is_compiled else _ByPattern)(wanted, parse_line)

    def scan(self, text: str) -> "Block":
        """Scan whole lines; the last one may lack its line end."""
        if "\r" in text:
            text = text.removesuffix("\r").replace("\r\n", "\n")
        if text and not text.endswith("\n"):
            text += "\n"
        return Block(text, *self._find(text))


class Block:
    """The lines of a block.

    Args:
        kinds: the lines of the frequent kinds.

    Attributes:
        text: the lines, each with its line end.
        others: the lines of no frequent kind, in order.
    """

    def __init__(self, text: str, kinds: Mapping[type[Any], Columns], others: list[Line]) -> None:
        self.text = text
        self.others = others
        self._kinds = kinds

    def of_instance(self, is_own: Callable[[str], bool], *, foreign: bool) -> "Block":
        """Return the lines of an instance.

        Args:
            is_own: takes the instance of a line.
            foreign: with the lines of other programs.
        """
        others = [
            line for line in self.others if (foreign if line.record is None else is_own(line.record.instance))
        ]
        kinds = {}
        for kind, columns in self._kinds.items():
            own = [is_own(instance) for instance in columns["instance"]]
            if any(own):
                kinds[kind] = {name: list(compress(column, own)) for name, column in columns.items()}
        return Block(self.text, kinds, others)

    def by_host(self, group_of: Callable[[str], str]) -> "dict[str, Block]":
        """Return the lines of each group of hosts, in order; lines that are not of a host are in the group "".

        Args:
            group_of: returns the group of a host, which the lines name.
        """
        hosts = {host for columns in self._kinds.values() for host in columns["host"]}
        hosts.update(line.record.host for line in self.others if line.record is not None)
        groups = {host: group_of(host) for host in hosts}
        if set(groups.values()) <= {""}:
            return {"": self}
        others: dict[str, list[Line]] = {group: [] for group in ("", *groups.values())}
        kinds: dict[str, dict[type[Any], Columns]] = {group: {} for group in others}
        for line in self.others:
            others[groups[line.record.host] if line.record is not None else ""].append(line)
        for kind, columns in self._kinds.items():
            places: dict[str, list[int]] = {}
            for place, host in enumerate(columns["host"]):
                places.setdefault(groups[host], []).append(place)
            for group, its in places.items():
                kinds[group][kind] = _at(columns, its)
        return {group: Block(self.text, kinds[group], others[group]) for group in others}

    @property
    def last_record(self) -> Record | None:
        """The record of the last line that has one."""
        end = max((columns[_END][-1] for columns in self._kinds.values()), default=0)
        later = takewhile(lambda line: line.end > end, reversed(self.others))
        record = next((line.record for line in later if line.record is not None), None)
        return record if record is not None or not end else self.line(end).record

    @property
    def frequent(self) -> int:
        """The number of lines of the frequent kinds."""
        return sum(len(columns[_END]) for columns in self._kinds.values())

    def column(self, kind: type[Any], name: str) -> Sequence[Any]:
        """Return a column of the lines of a frequent kind, in order, as printed; None where a line lacks the field."""
        return self._kinds[kind][name] if kind in self._kinds else ()

    def rows(self, kind: type[Any], *names: str) -> list[tuple[Any, ...]]:
        """Return columns as a tuple for each line of a frequent kind, in order."""
        columns = self._kinds.get(kind)
        if columns is None:
            return []
        return list(zip(*(columns[name] for name in names), strict=True)) or [()] * len(columns[_END])

    def ends(self, kind: type[Any]) -> Sequence[int]:
        """Return where each line of a frequent kind ends, in the order of its rows."""
        return self.column(kind, _END)

    def line(self, end: int) -> Line:
        """Return the line that ends there, with its event."""
        text = self.text[self.text.rfind("\n", 0, end - 1) + 1 : end - 1]
        return Line(end, text, *_line_parser()(text))

    @cached_property
    def reuses_queue_ids(self) -> bool:
        """Whether a message begins after other lines with its queue ID, or goes on after its end.

        Rows by kind would mix up two messages.
        """
        arrivals = [queue_id for kind in _STAGES[0] for queue_id in self.column(kind, _QUEUE_ID)]
        gone = self.column(ev.Removed, _QUEUE_ID)
        if len(set(arrivals)) < len(arrivals) or len(set(gone)) < len(gone):
            return True
        last: dict[str, int] = {}  # queue ID → the end of the line with which its message begins
        for stage, later in pairwise(_STAGES):
            for kind in stage:
                last.update(zip(self.column(kind, _QUEUE_ID), self.ends(kind), strict=True))
            if any(self._precedes(kind, last) for kind in later):
                return True
        removed = dict(zip(gone, self.ends(ev.Removed), strict=True))
        never = len(self.text) + 1
        for kind in _STAGES[-1]:
            if any(map(lt, map(removed.get, self.column(kind, _QUEUE_ID), repeat(never)), self.ends(kind))):
                return True
        for line in self.others:
            queue_id = getattr(line.event, _QUEUE_ID, None)
            if queue_id is not None and (
                type(line.event) in _BEGINNINGS
                or last.get(queue_id, 0) > line.end
                or removed.get(queue_id, never) < line.end
            ):
                return True
        return False

    def _precedes(self, kind: type[Any], last: Mapping[str, int]) -> bool:
        """Return whether a line of a kind comes before the last line with which its message begins."""
        return any(map(gt, map(last.get, self.column(kind, _QUEUE_ID), repeat(0)), self.ends(kind)))

    @cached_property
    def all_lines(self) -> list[Line]:
        """All lines, in order, with their events."""
        others = {line.end: line for line in self.others}
        ends = sorted((*others, *(end for columns in self._kinds.values() for end in columns[_END])))
        return [others.get(end) or self.line(end) for end in ends]


_Parse = Callable[[str], tuple[Record | None, Event | None]]
_Found = tuple[dict[type[Any], Columns], list[Line]]


class _InBlock(NamedTuple):
    """A rule in the pattern of a scan.

    Attributes:
        groups: columns, with the places of their groups.
        others: columns without a group: the daemon, and fields that its lines do not have.
    """

    kind: type[Any]
    daemon: str
    groups: Mapping[str, int]
    others: frozenset[str]


class _ByPattern:
    """Finds the lines of the frequent kinds by one pattern."""

    def __init__(self, wanted: Wanted, parse_line: _Parse) -> None:
        self._parse = parse_line
        self._rules: dict[int, _InBlock] = {}  # by the empty group that ends a rule
        place, daemons = len(_OF_HEADER), []
        for daemon, kinds in FREQUENT.items():
            rules = []
            pid = place = place + 1
            for rule in takewhile(lambda rule: rule.event in kinds, _plain_rules(daemon)):  # noqa: B023
                columns = frozenset(wanted.get(rule.event, ()))
                text, names = _in_block(rule, columns)
                groups = {name: number for number, name in enumerate(_OF_HEADER, 1)}
                groups |= {name: number for number, name in enumerate(names, place + 1)}
                groups |= {_PID: pid} if _PID in columns else {}
                place += len(names) + 1
                self._rules[place] = _InBlock(rule.event, daemon, groups, columns.difference(groups))
                rules.append(f"{text}()")
            daemons.append(rf"{daemon}{_TAG_END}(?:{'|'.join(rules)})")
        pattern = re.compile(rf"{_HEADER}(?:{'|'.join(daemons)}){_LINE_END}|.*\n")
        self._finditer = pattern.finditer

    def __call__(self, text: str) -> _Found:
        found: dict[int, tuple[list[tuple[Any, ...]], list[int], tuple[int, ...]]] = {
            place: ([], [], tuple(rule.groups.values())) for place, rule in self._rules.items()
        }
        others: list[Line] = []
        for match in self._finditer(text):
            place = match.lastindex
            if place is None:
                line = match[0][:-1]
                others.append(Line(match.end(), line, *self._parse(line)))
            else:
                rows, ends, groups = found[place]
                rows.append(match.group(*groups))
                ends.append(match.end())
        kinds: dict[type[Any], list[Columns]] = {}
        for place, (rows, ends, _) in found.items():
            if rows:
                rule = self._rules[place]
                columns: dict[str, Sequence[Any]] = dict(
                    zip(rule.groups, zip(*rows, strict=True), strict=True)
                )
                for name in rule.others:
                    columns[name] = (rule.daemon if name == _DAEMON else None,) * len(rows)
                columns[_END] = ends
                kinds.setdefault(rule.kind, []).append(columns)
        return {kind: _in_order(parts) for kind, parts in kinds.items()}, others


def _in_order(parts: list[Columns]) -> Columns:
    """Join the lines of the same kind by several rules."""
    if len(parts) == 1:
        return parts[0]
    joined = {name: [*chain.from_iterable(part[name] for part in parts)] for name in parts[0]}
    return _at(joined, sorted(range(len(joined[_END])), key=joined[_END].__getitem__))


class _Compiled:
    """Finds the lines of all rules by the compiled matcher; other lines are parsed.

    Args:
        frequent: daemon → the kinds of line that are returned as columns.
    """

    def __init__(
        self,
        wanted: Wanted,
        parse_line: _Parse,
        frequent: Mapping[str, Collection[type[Any]]] = FREQUENT,
    ) -> None:
        self._parse = parse_line
        self._frequent = frequent
        self._kinds = tuple(dict.fromkeys(kind for kinds in frequent.values() for kind in kinds))
        self._names = {
            kind: tuple(dict.fromkeys((*_OF_HEADER, *wanted.get(kind, ())))) for kind in self._kinds
        }
        self._rules: list[Rule] = []  # by number
        self._numbers: dict[tuple[str, Severity], tuple[int, ...]] = {}  # by daemon
        header = program_of(HEADER)
        if header is None:
            raise RuntimeError("the pattern of headers cannot be compiled")
        widths = tuple(map(len, self._names.values()))
        self._scanner = _scan.Scanner(header, widths, self._of_tag, LEVEL_NAMES)

    def __call__(self, text: str) -> _Found:
        found, rows = self._scanner.scan(text)
        kinds: dict[type[Any], Columns] = {}
        for kind, lists in zip(self._kinds, found, strict=True):
            if lists is not None:
                kinds[kind] = dict(zip((_END, *self._names[kind]), lists, strict=True))
        return kinds, [self._line(*row) for row in rows]

    def _line(self, end: int, line: str, *parts: Any) -> Line:
        if not parts:
            return Line(end, line, *self._parse(line))
        stamp, host, instance, daemon, pid, severity, text, number, fields = parts
        record = _new(Record, (stamp, host, instance, daemon, int(pid), severity or "info", text, 1))
        return Line(end, line, record, _new(self._rules[number].event, fields))

    def _of_tag(self, tag: str, has_severity: int) -> tuple[str, str, tuple[int, ...]] | None:
        """Return instance and daemon of a tag, and the numbers of its rules; None if lines with it are left to `parse`."""
        instance, daemon = split_tag(tag)
        if daemon in WRAPPERS:
            return None
        return instance, daemon, self._numbers_of(daemon, "problem" if has_severity else "info")

    def _numbers_of(self, daemon: str, severity: Severity) -> tuple[int, ...]:
        """Return the numbers of a daemon's rules, which are added once for all instances."""
        if (daemon, severity) in self._numbers:
            return self._numbers[daemon, severity]
        numbers = []
        for rule in TABLE[daemon]:
            if rule.severity == severity:
                program = program_of(rule.text)
                if program is None:  # lines of this rule and of later ones are left to `parse`
                    break
                numbers.append(self._add_rule(rule, program, daemon))
        return self._numbers.setdefault((daemon, severity), tuple(numbers))

    def _add_rule(self, rule: Rule, program: Program, daemon: str) -> int:
        groups = {name: number for number, name in enumerate(_GROUP.findall(rule.text), 1)}
        fields = tuple(groups.get(name, 0) for name in rule.event._fields)
        kind = -1
        columns: tuple[int, ...] = ()
        if rule.severity == "info" and rule.event in self._frequent.get(daemon, ()):
            kind = self._kinds.index(rule.event)
            columns = tuple(_PLACES.get(name) or groups.get(name, 0) for name in self._names[rule.event])
        self._rules.append(rule)
        return self._scanner.add(program, fields, columns, kind)


def _at(columns: Columns, places: Iterable[int]) -> Columns:
    pick = list(places)
    return {name: [column[place] for place in pick] for name, column in columns.items()}


@cache
def _line_parser() -> _Parse:
    """Return a function that does what `parse` does."""
    if _scan is None:
        return parse
    find = _Compiled({}, parse, {})

    def parse_line(text: str) -> tuple[Record | None, Event | None]:
        _, [line] = find(text)
        return line.record, line.event

    return parse_line


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

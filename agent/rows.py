"""Parts that count lines as rows: for each kind of line a function, and the columns that it reads.

A block of lines gives all rows of a kind at once (`parsers/scan.py`). A line of no frequent kind is a single row. So each
kind is counted by one function, however its lines arrive.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, ClassVar, Final, NamedTuple, cast

from postward.parsers import Event, Record
from postward.parsers.scan import JOINED, Block, Wanted

Rows = Sequence[tuple[Any, ...]]
_OF_HEADER: Final = ("stamp", "host", "instance", "daemon", "severity")


class Take(NamedTuple):
    """The way in which a part takes the lines of a kind.

    Attributes:
        columns: fields of the event, and stamp, host, instance, daemon and severity.
        take: called with the part, the rows, and how often each of them counts.
    """

    columns: tuple[str, ...]
    take: Callable[[Any, Rows, int], None]


class ByRows:
    """A part that takes rows.

    Attributes:
        takes: event type → how its lines are taken, in this order.
        joins: lines of a message are joined by its queue ID, so a block that reuses one is taken line by line.
    """

    takes: ClassVar[Mapping[type[Any], Take]] = {}
    joins: ClassVar[bool] = False

    @property
    def wanted(self) -> Wanted:
        """The columns that are read, by event type."""
        columns = {kind: take.columns for kind, take in self.takes.items()}
        return union([columns, dict.fromkeys(JOINED, ("queue_id",))]) if self.joins else columns

    def observe_block(self, block: Block) -> None:
        """Take the lines of a block."""
        in_order = self.joins and block.reuses_queue_ids
        if not in_order:
            self.take_rows(block)
        for line in block.all_lines if in_order else block.others:
            self.take_line(line.record, line.event)

    def take_rows(self, block: Block) -> None:
        """Take the lines of the frequent kinds."""
        for kind, take in self.takes.items():
            if rows := block.rows(kind, *take.columns):
                take.take(self, rows, 1)

    def take_line(self, record: Record | None, event: Event | None) -> None:
        """Take one line, as `parsers.parse` returns it."""
        if record is not None and event is not None:
            self.observe(record, event)

    def observe(self, record: Record, event: Event) -> None:
        """Take a recognised line."""
        kind: type[Any] = type(event)
        if (take := self.takes.get(kind)) is not None:
            row = tuple(_values(cast(Hashable, kind), take.columns)((*record, *event)))
            take.take(self, [row], record.repeat)


def union(parts: Iterable[Wanted]) -> dict[type[Any], frozenset[str]]:
    """Return the columns that any of the parts reads."""
    columns: dict[type[Any], frozenset[str]] = {}
    for wanted in parts:
        for kind, names in wanted.items():
            columns[kind] = columns.get(kind, frozenset()).union(names)
    return columns


@cache
def _values(kind: Any, columns: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Iterable[Any]]:
    """Return a function that picks columns from the fields of a record, followed by those of an event."""
    header, fields = Record._fields, kind._fields
    places = [
        header.index(name) if name in _OF_HEADER else len(header) + fields.index(name) for name in columns
    ]
    return itemgetter(*places) if len(places) > 1 else lambda values: [values[place] for place in places]

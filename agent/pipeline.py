"""Bytes → blocks of lines → counts, and the others who want to see them.

The hot path: every line of a log passes here once, whether live or replayed.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from postward.agent.rows import union
from postward.parsers import Record, parse_record
from postward.parsers.scan import Block, Scanner, Wanted


class Observer(Protocol):
    """Takes blocks of lines."""

    @property
    def wanted(self) -> Wanted:
        """The columns that it reads, by event type."""
        ...

    def observe_block(self, block: Block) -> None:
        """Take the lines of a block."""
        ...


class Counter(Observer, Protocol):
    """Counts lines, and the time of the last one."""

    def note_last_line(self, record: Record) -> None:
        """Note the newest line of a block."""
        ...

    def settle(self) -> None:
        """Bring the counts up to date."""
        ...


class Pipeline:
    """Feeds lines to the counting and to the observers.

    Args:
        counting: counts every line. Call `settle` before its tally is read.
        observers: take the lines after it.
    """

    def __init__(self, counting: Counter, observers: Iterable[Observer] = ()) -> None:
        self._counting = counting
        self._observers: Sequence[Observer] = (counting, *observers)
        self._scanner = Scanner(union(observer.wanted for observer in self._observers))

    def feed(self, data: bytes) -> None:
        """Take whole lines, as a source hands them out."""
        if not data:
            return
        block = self._scanner.scan(data.decode("utf-8", "replace"))
        for observer in self._observers:
            observer.observe_block(block)
        if (last := _last_record(block.text)) is not None:
            self._counting.note_last_line(last)

    def settle(self) -> None:
        """Bring the counts up to date."""
        self._counting.settle()


def _last_record(text: str) -> Record | None:
    end = len(text) - 1
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        if (record := parse_record(text[start:end])) is not None:
            return record
        end = start - 1
    return None

"""Bytes → blocks of lines → counts, and the others who want to see them.

The hot path: every line of a log passes here once, whether live or replayed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class OwnLines:
    """The lines of one instance, in a log that several instances write.

    Attributes:
        name: the instance's syslog_name. Services can add to it, as in "postfix/submission".
        foreign: with the lines of other programs, which one of the instances counts.
    """

    name: str
    foreign: bool

    def is_own(self, instance: str) -> bool:
        """Return whether lines of this name are the instance's."""
        return instance == self.name or instance.startswith(f"{self.name}/")


class Pipeline:
    """Feeds lines to the counting and to the observers.

    Args:
        counting: counts every line. Call `settle` before its tally is read.
        observers: take the lines after it.
        own: the lines that are taken; None takes all.
    """

    def __init__(
        self, counting: Counter, observers: Iterable[Observer] = (), own: OwnLines | None = None
    ) -> None:
        self._counting = counting
        self._own = own
        self._observers: Sequence[Observer] = (counting, *observers)
        self._scanner = Scanner(union(observer.wanted for observer in self._observers))

    def feed(self, data: bytes) -> None:
        """Take whole lines, as a source hands them out."""
        if not data:
            return
        block = self._scanner.scan(data.decode("utf-8", "replace"))
        if self._own is not None:
            block = block.of_instance(self._own.is_own, foreign=self._own.foreign)
        for observer in self._observers:
            observer.observe_block(block)
        if (last := _last_record(block.text, self._own)) is not None:
            self._counting.note_last_line(last)

    def settle(self) -> None:
        """Bring the counts up to date."""
        self._counting.settle()


def _last_record(text: str, own: OwnLines | None) -> Record | None:
    end = len(text) - 1
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        record = parse_record(text[start:end])
        if record is not None and (own is None or own.is_own(record.instance)):
            return record
        end = start - 1
    return None

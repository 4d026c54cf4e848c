"""Bytes → blocks of lines → counts, and the others who want to see them.

The hot path: every line of a log passes here once, whether live or replayed.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Generic, Protocol, TypeVar

from postward.agent.rows import union
from postward.parsers import Record
from postward.parsers.scan import Block, Scanner, Wanted

MAX_HOSTS: Final = 200  # each has about 250 series
OTHER: Final = "other"  # stands for further hosts, and for names that no host has
_HOST: Final = re.compile(r"[\w.:-]{1,255}")


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


class Log(Protocol):
    """Takes the lines of a host."""

    @property
    def wanted(self) -> Wanted:
        """The columns that it reads, by event type."""
        ...

    def take(self, block: Block) -> None:
        """Take a block of lines."""
        ...

    def settle(self) -> None:
        """Bring the counts up to date."""
        ...


L = TypeVar("L", bound=Log)


class ByHost(Generic[L]):
    """Splits the lines of a log by host.

    Args:
        make: returns the log of a host that is seen for the first time.
        is_apart: whether the lines of a host are split off.
        limit: number of hosts.

    Attributes:
        logs: host → its log.
        is_apart: see above.
    """

    def __init__(
        self, make: Callable[[str], L], is_apart: Callable[[str], bool], limit: int = MAX_HOSTS
    ) -> None:
        self.logs: dict[str, L] = {}
        self._other = make(OTHER)
        self._unsettled: dict[str, L] = {}
        self._make = make
        self.is_apart = is_apart
        self._limit = limit

    @property
    def wanted(self) -> Wanted:
        """The columns that are read, by event type."""
        return self._other.wanted

    def split(self, block: Block) -> Block:
        """Give each host its lines. Return the others, and the lines that are of no host."""
        blocks = block.by_host(self._group)
        rest = blocks.pop("")
        for host, lines in blocks.items():
            log = self._unsettled[host] = self.log_of(host)
            log.take(lines)
        return rest

    def settle(self) -> None:
        """Bring all counts up to date."""
        for log in self._unsettled.values():
            log.settle()
        self._unsettled.clear()

    def log_of(self, host: str) -> L:
        """Return the log of a host."""
        if host not in self.logs:
            self.logs[host] = self._other if host == OTHER else self._make(host)
        return self.logs[host]

    def _group(self, host: str) -> str:
        if host in self.logs:
            return host
        if not self.is_apart(host):
            return ""
        if _HOST.fullmatch(host) is None or len(self.logs) >= self._limit:
            return OTHER
        self.log_of(host)  # counts for the limit from now on
        return host


class Pipeline:
    """Feeds lines to the counting and to the observers.

    Args:
        counting: counts every line. Call `settle` before its tally is read.
        observers: take the lines after it.
        own: the lines that are taken; None takes all.
        others: takes the lines of other hosts before.
        whole: take all lines, those of other hosts too.
    """

    def __init__(
        self,
        counting: Counter,
        observers: Iterable[Observer] = (),
        own: OwnLines | None = None,
        others: ByHost[Any] | None = None,
        whole: Iterable[Observer] = (),
    ) -> None:
        self._counting = counting
        self._own = own
        self._others = others
        self._whole = tuple(whole)
        self._observers: Sequence[Observer] = (counting, *observers)

    @cached_property
    def wanted(self) -> Wanted:
        """The columns that are read, by event type."""
        of_others = [self._others.wanted] if self._others else []
        return union([*(reader.wanted for reader in (*self._observers, *self._whole)), *of_others])

    @cached_property
    def _scanner(self) -> Scanner:
        return Scanner(self.wanted)

    def feed(self, data: bytes) -> None:
        """Take whole lines, as a source hands them out."""
        if data:
            self.take(self._scanner.scan(data.decode("utf-8", "replace")))

    def take(self, block: Block) -> None:
        """Take a block of lines."""
        for observer in self._whole:
            observer.observe_block(block)
        if self._others is not None:
            block = self._others.split(block)
        if self._own is not None:
            block = block.of_instance(self._own.is_own, foreign=self._own.foreign)
        for observer in self._observers:
            observer.observe_block(block)
        if (last := block.last_record) is not None:
            self._counting.note_last_line(last)

    def settle(self) -> None:
        """Bring the counts up to date."""
        self._counting.settle()
        if self._others is not None:
            self._others.settle()

"""Bytes → lines → records → events → counts, and the others who want to see them.

The hot path: every line of a log passes here once, whether live or replayed.
"""

from collections.abc import Callable, Sequence

from agent.counting import Counting
from parsers import Event, Record, parse

Observer = Callable[[Record, Event], None]


def lines_of(data: bytes) -> list[str]:
    """Whole lines. Only LF ends one; what is not UTF-8 is replaced, so that nothing a stranger sent can raise."""
    lines = data.decode("utf-8", "replace").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


class Pipeline:
    """Feeds lines to the counting and to the observers of recognised events.

    Args:
        counting: what is counted.
        observers: called with each Postfix line that a rule knows.
    """

    def __init__(self, counting: Counting, observers: Sequence[Observer] = ()) -> None:
        self._counting = counting
        self._observers = observers

    def feed(self, data: bytes) -> None:
        """Take whole lines, as a source hands them out."""
        count, observers = self._counting.count, self._observers
        last = None
        for line in lines_of(data):
            record, event = parse(line.removesuffix("\r"))
            count(record, event)
            if record is None:
                continue
            last = record
            if event is not None:
                for observe in observers:
                    observe(record, event)
        if last is not None:
            self._counting.note_last_line(last)

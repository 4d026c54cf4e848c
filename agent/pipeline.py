"""Bytes → lines → records → events → counts, and the others who want to see them.

The hot path: every line of a log passes here once, whether live or replayed.
"""

from collections.abc import Callable, Sequence

from postward.agent.logs.lines import split_lines
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.fast_path import skim
from postward.parsers import Event, Record, parse, parse_record

Observer = Callable[[Record, Event], None]


class Pipeline:
    """Feeds lines to the counting and to the observers of recognised events.

    Args:
        counting: what is counted.
        observers: called with each Postfix line that a rule knows.
        observe_foreign: called with each line of another program.
        skimming: count most lines without making an event, several times as fast; for a plain `Counting` without
            observers, which gets the same counts from it. Call `settle` before the tally is read.
    """

    def __init__(
        self,
        counting: Counting,
        observers: Sequence[Observer] = (),
        observe_foreign: Callable[[str], None] = lambda _line: None,
        *,
        skimming: bool = False,
    ) -> None:
        if skimming and (observers or type(counting) is not Counting):
            raise ValueError("skimming: observers and other countings need every event")
        self._counting = counting
        self._observers = observers
        self._observe_foreign = observe_foreign
        self._skimming = skimming

    def feed(self, data: bytes) -> None:
        """Take whole lines, as a source hands them out."""
        if not data:
            return
        text = data.decode("utf-8", "replace")
        if self._skimming:
            skim(text, self._counting, self._take)
        else:
            for line in split_lines(text):
                self._take(line)
        if (last := _last_record(text)) is not None:
            self._counting.note_last_line(last)
        if not self._skimming:
            self.settle()

    def settle(self) -> None:
        """Bring the tally up to date; `feed` does that itself, but for skimming, where it would take long."""
        self._counting.settle()

    def _take(self, line: str) -> None:
        record, event = parse(line.removesuffix("\r"))
        if record is not None and not record.stamp:  # an excerpt; a log that is written has stamps
            record, event = None, None
        self._counting.count(record, event)
        if record is None:
            self._observe_foreign(line)
        elif event is not None:
            for observe in self._observers:
                observe(record, event)


def _last_record(text: str) -> Record | None:
    end = len(text) - text.endswith("\n")
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        if (record := parse_record(text[start:end].removesuffix("\r"))) is not None:
            return record
        end = start - 1
    return None

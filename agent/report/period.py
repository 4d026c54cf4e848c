"""The time that a report is about: lines from one second of the log's own clock to another.

Promise: a line is taken by its own stamp, never by its neighbours, so a report does not depend on the cut of the logs. A
line without a readable stamp belongs to no period.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

from postward.agent.report.clock import EPOCH, LogClock, prefix_of_hour
from postward.parsers import parse_record

_DAY: Final = timedelta(days=1)
_EARLIER, _WITHIN, _LATER = -1, 0, 1


class Period(NamedTuple):
    """Seconds since 1970 by the log's own clock.

    Attributes:
        since: the first second; None: from the beginning of the log.
        until: the first second after it; None: to the end of the log.
    """

    since: int | None = None
    until: int | None = None

    @classmethod
    def between(cls, since: datetime | None, until: datetime | None) -> Self:
        """Return the period between two moments of the host's local time."""
        return cls(second_of(since) if since else None, second_of(until) if until else None)

    @classmethod
    def yesterday(cls, now: datetime) -> Self:
        """Return the day before today."""
        today = _midnight(now)
        return cls.between(today - _DAY, today)

    @classmethod
    def last_week(cls, now: datetime) -> Self:
        """Return the last whole week, Monday to Sunday."""
        monday = _midnight(now) - now.weekday() * _DAY
        return cls.between(monday - 7 * _DAY, monday)

    def before(self, now: datetime) -> Self | None:
        """Return the period of the same length before this one; None for a period without a beginning."""
        if self.since is None:
            return None
        until = second_of(now) if self.until is None else self.until
        return type(self)(self.since - (until - self.since), self.since)

    @property
    def in_the_journal(self) -> datetime | None:
        """Return the moment from which the journal is read: a day earlier, to see that it reaches back."""
        return None if self.since is None else (EPOCH + timedelta(seconds=self.since) - _DAY).astimezone()

    def place(self, second: int) -> int:
        """Return -1 for a second before the period, 0 for one within it, 1 for one after it."""
        if self.since is not None and second < self.since:
            return _EARLIER
        return _WITHIN if self.until is None or second < self.until else _LATER


def second_of(moment: datetime) -> int:
    """Return the second of a moment, by the clock on the wall."""
    return int((moment.replace(tzinfo=None) - EPOCH).total_seconds())


def _midnight(now: datetime) -> datetime:
    return datetime(now.year, now.month, now.day)  # noqa: DTZ001 -- the clock on the wall


class Within:
    """Keeps the lines of a period.

    Args:
        period: the period.
        clock: of the log.

    Attributes:
        reaches_back: whether a line before the period was read, so that the log contains its beginning.
    """

    def __init__(self, period: Period, clock: LogClock) -> None:
        self._period = period
        self._clock = clock
        self._hours: dict[str, Callable[[str], int]] = {}  # stamp up to the hour → place of a line
        self.reaches_back = False

    def lines(self, text: str) -> str:
        """Return the lines of the period, of a text of whole lines."""
        kept, hours = [], self._hours
        for line in text.split("\n"):
            prefix = prefix_of_hour(line)
            place_of = hours.get(prefix) or self._place_of(prefix)
            place = place_of(line)
            if place == _WITHIN:
                kept.append(line)
            elif place == _EARLIER:
                self.reaches_back = True
        return "".join(f"{line}\n" for line in kept)

    def _place_of(self, prefix: str) -> Callable[[str], int]:
        start = self._clock.hour(prefix)
        if not start:
            return self._by_record
        first, last = self._period.place(start), self._period.place(start + 3599)
        place_of = self._by_stamp if first != last else _ALWAYS[first]
        if len(self._hours) > 4096:
            self._hours.clear()
        self._hours[prefix] = place_of
        return place_of

    def _by_stamp(self, line: str) -> int:
        second = self._clock.second(line[:19] if line[4:5] == "-" else line[:15])
        return self._period.place(second) if second else _LATER

    def _by_record(self, line: str) -> int:
        """Return the place of a line in another form, such as one of the journal."""
        record = parse_record(line) if line else None
        second = self._clock.second(record.stamp) if record is not None else 0
        return self._period.place(second) if second else _LATER


_ALWAYS: Final = {place: lambda _line, place=place: place for place in (_EARLIER, _WITHIN, _LATER)}

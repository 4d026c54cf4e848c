"""How much mail is usual on this host, and whether there is far more of it now. Pure.

The usual amount is that of the last five weeks at this hour of the week. Two windows are compared, since a flood can be
a burst or a steady stream: the present hour and the last 24 hours. Median and median absolute deviation, and the highest
amount of the five weeks, so that neither noise nor a newsletter that was sent before raises an alarm. An hour above its
threshold enters the history as that threshold: a flood does not become usual, and growth does within days.

How it fails: without two weeks of history, no alarm is raised.
"""

from collections.abc import Mapping
from itertools import accumulate
from statistics import median
from typing import Final, NamedTuple

HOUR: Final = 3600  # seconds
_DAY: Final = 24  # hours
_WEEK: Final = 7 * _DAY
_WEEKS: Final = 5
_MIN_WEEKS: Final = 2
_MIN_HOUR, _MIN_DAY = 100, 300  # recipients; fewer are never a flood
_TIMES_USUAL: Final = 3.0
_DEVIATIONS: Final = 8.0
_SIGMA: Final = 1.4826  # of a normal distribution, in median absolute deviations
_OVER_HIGHEST_HOUR: Final = 1.25
_OVER_HIGHEST_DAY: Final = 1.5


class Flood(NamedTuple):
    """An amount far above the usual one.

    Attributes:
        window: "hour" or "day".
        number: recipients in the window.
        usual: the usual number.
    """

    window: str
    number: int
    usual: int


class Volume:
    """Recipients by hour, for five weeks.

    Args:
        hours: hour since 1970 → recipients, as `to_dict` returned them.
    """

    def __init__(self, hours: Mapping[int, int] | None = None) -> None:
        self._hours: dict[int, int] = dict(hours or {})
        self._first = min(self._hours, default=None)
        self._judged: int | None = None  # the hour of the thresholds
        self._usual_hour = self._usual_day = 0.0
        self._max_hour: float | None = None
        self._max_day: float | None = None

    def add(self, second: float, number: int) -> None:
        """Count recipients of a moment."""
        hour = int(second) // HOUR
        self._hours[hour] = self._hours.get(hour, 0) + number
        self._first = hour if self._first is None else min(self._first, hour)

    def flood(self, now: float) -> Flood | None:
        """Return what is far above the usual amount now; None if nothing is, or too little history is known."""
        hour = int(now) // HOUR
        if hour != self._judged:
            self._turn_to(hour)
        number = self._hours.get(hour, 0)
        if self._max_hour is not None and number > self._max_hour:
            return Flood("hour", number, round(self._usual_hour))
        day = self._day_until(hour)
        if self._max_day is not None and day > self._max_day:
            return Flood("day", day, round(self._usual_day))
        return None

    def to_dict(self) -> dict[str, int]:
        """Return the counts by hour as JSON values."""
        return {str(hour): number for hour, number in sorted(self._hours.items())}

    def _turn_to(self, hour: int) -> None:
        """End the hour that was judged last, and set the thresholds of another one."""
        if self._judged is not None and self._max_hour is not None:
            ended = self._hours.get(self._judged, 0)
            if ended > self._max_hour:
                self._hours[self._judged] = round(self._max_hour)
        self._judged = hour
        for old in [known for known in self._hours if known < hour - _WEEKS * _WEEK - 1]:
            del self._hours[old]
        first = hour if self._first is None else max(self._first, hour - _WEEKS * _WEEK)
        if hour - first < _MIN_WEEKS * _WEEK:
            self._max_hour = self._max_day = None
            return
        alike = [
            self._hours.get(other, 0)
            for week in range(1, _WEEKS + 1)
            for other in range(hour - week * _WEEK - 1, hour - week * _WEEK + 2)
            if other >= first
        ]
        usual = median(alike)
        spread = median(abs(number - usual) for number in alike)
        past = [self._hours.get(other, 0) for other in range(first, hour)]
        self._usual_hour = usual
        self._max_hour = max(
            _MIN_HOUR,
            _TIMES_USUAL * usual,
            usual + _DEVIATIONS * _SIGMA * spread,
            _OVER_HIGHEST_HOUR * max(past),
        )
        sums = [0, *accumulate(past)]
        days = [sums[end] - sums[end - _DAY] for end in range(_DAY, len(past) - _DAY + 1)]
        self._usual_day = median(days)
        self._max_day = max(_MIN_DAY, _OVER_HIGHEST_DAY * max(days))

    def _day_until(self, hour: int) -> int:
        return sum(self._hours.get(other, 0) for other in range(hour - _DAY + 1, hour + 1))

"""The log's own clock: stamps as printed → seconds since 1970, without time zones."""

from datetime import datetime
from typing import Final

from postward.parsers import parse_stamp

EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 -- the log's own clock
_MAX_HOURS: Final = 4096  # remembered


def prefix_of_hour(stamp: str) -> str:
    """Return a stamp up to its hour."""
    return stamp[:13] if stamp[4:5] == "-" else stamp[:9]


class LogClock:
    """Converts stamps to seconds since 1970 by the log's own clock.

    Args:
        reference: time near to stamps without a year.
    """

    def __init__(self, reference: datetime) -> None:
        self._reference = reference
        self._hours: dict[str, int] = {}

    def second(self, stamp: str) -> int:
        """Return the second of a stamp; 0 if it cannot be read."""
        hour = prefix_of_hour(stamp)
        minutes = stamp[len(hour) + 1 : len(hour) + 6]
        start = self.hour(hour)
        if start and minutes[2:3] == ":" and minutes[:2].isdecimal() and minutes[3:].isdecimal():
            return start + int(minutes[:2]) * 60 + int(minutes[3:])
        return self._whole(stamp)

    def hour(self, prefix: str) -> int:
        """Return the first second of an hour, given the stamp up to the hour; 0 if it cannot be read."""
        start = self._hours.get(prefix)
        if start is None:
            if len(self._hours) >= _MAX_HOURS:
                self._hours.clear()
            start = self._hours[prefix] = self._whole(f"{prefix}:00:00")
        return start

    def _whole(self, stamp: str) -> int:
        moment = parse_stamp(stamp, self._reference)
        if moment is None:
            return 0
        if stamp.isdecimal():  # the journal's microseconds: no clock was printed
            moment = moment.astimezone(self._reference.tzinfo)
        return max(0, int((moment.replace(tzinfo=None) - EPOCH).total_seconds()))

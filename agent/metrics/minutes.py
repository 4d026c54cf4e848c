"""Stamps of lines → seconds, to the minute: few stamps of a log need to be parsed."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from postward.parsers import parse_stamp

_MAX_STAMPS: Final = 4096  # remembered
TO_THE_MINUTE: Final = 16  # characters of a stamp as RFC 3339 writes it; a traditional one is shorter


class Minutes:
    """The seconds since 1970 of stamps.

    Args:
        local_now: returns the time near which stamps without a year are read.
    """

    def __init__(self, local_now: Callable[[], datetime]) -> None:
        self._local_now = local_now
        self._seconds: dict[str, float | None] = {}  # stamp up to the minute → its second

    def second(self, stamp: str) -> float | None:
        """Return the beginning of a stamp's minute; None if the stamp cannot be read."""
        minute = minute_of(stamp)
        if minute not in self._seconds:
            if len(self._seconds) >= _MAX_STAMPS:
                self._seconds.clear()
            moment = parse_stamp(minute, self._local_now())
            self._seconds[minute] = moment.timestamp() if moment is not None else None
        return self._seconds[minute]


def minute_of(stamp: str) -> str:
    """Return a stamp with the seconds and their fraction at zero."""
    if stamp[4:5] == "-":
        zone = stamp[19:].lstrip(".,0123456789")
        return f"{stamp[:16]}:00{zone}"
    return f"{stamp[:-6]}000000" if stamp.isdecimal() else f"{stamp[:12]}:00"

"""The last day of deliveries in pieces of ten minutes: sent, failed, delays and causes. Pure, bounded, survives a restart.

By the log's own stamps, so that a log that is read late falls into the right piece.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from postward.parsers import Cause, Event, Record, cause_of, parse_stamp
from postward.parsers.cause import DELIVERED
from postward.parsers.events import Delivery

BUCKET = 600  # seconds
BUCKETS = 144
# Upper bounds of delays in seconds, in words for the chart below.
DELAYS = (1.0, 5.0, 30.0, 300.0, 3600.0)
STATUSES = ("sent", "deferred", "bounced")


class Bucket:
    """Ten minutes: counts by status, by delay (of mails that were sent), and by cause."""

    __slots__ = ("causes", "delays", "status")

    def __init__(self) -> None:
        self.status = dict.fromkeys(STATUSES, 0)
        self.delays = [0] * (len(DELAYS) + 1)
        self.causes: dict[str, int] = {}

    def as_json(self) -> list[Any]:
        """For the checkpoint."""
        return [self.status, self.delays, self.causes]

    @classmethod
    def from_json(cls, data: Any) -> "Bucket":
        """Raises ValueError, TypeError, KeyError for what `as_json` did not make."""
        status, delays, causes = data
        piece = cls()
        piece.status = {name: int(status[name]) for name in STATUSES}
        piece.delays = [int(count) for count in delays][: len(DELAYS) + 1]
        piece.causes = {Cause(cause).value: int(count) for cause, count in causes.items()}
        return piece


class DeliveryHistory:
    """The pieces of the last day.

    Args:
        clock: the time that year-less stamps are near to.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._pieces: dict[int, Bucket] = {}
        self._stamp = ("", 0)

    def observe(self, record: Record, event: Event) -> None:
        """Take one line of the log. An observer of the pipeline."""
        if not isinstance(event, Delivery):
            return
        piece = self._piece(self._number(record.stamp))
        if event.status in DELIVERED:
            piece.status["sent"] += record.repeat
            piece.delays[bisect_left(DELAYS, _seconds(event.delay))] += record.repeat
            return
        piece.status["bounced" if event.status == "bounced" else "deferred"] += record.repeat
        cause = (cause_of(event) or Cause.OTHER).value
        piece.causes[cause] = piece.causes.get(cause, 0) + record.repeat

    def pieces(self, now: float) -> list[Bucket]:
        """The last day up to now, oldest first, empty pieces included."""
        last = int(now) // BUCKET
        return [self._pieces.get(number) or Bucket() for number in range(last - BUCKETS + 1, last + 1)]

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {str(number): piece.as_json() for number, piece in self._pieces.items()}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take over what `as_json` gave; what it did not give is left out."""
        for number, row in data.items():
            try:
                self._pieces[int(number)] = Bucket.from_json(row)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
        self._forget()

    def _piece(self, number: int) -> Bucket:
        piece = self._pieces.get(number)
        if piece is None:
            piece = self._pieces[number] = Bucket()
            self._forget()
        return piece

    def _forget(self) -> None:
        # A clock that jumps makes pieces anywhere: the newest stay.
        while len(self._pieces) > BUCKETS + 1:
            del self._pieces[min(self._pieces)]

    def _number(self, stamp: str) -> int:
        if stamp != self._stamp[0]:
            now = self._clock()
            self._stamp = (stamp, int((parse_stamp(stamp, now) or now).timestamp()) // BUCKET)
        return self._stamp[1]


def _seconds(delay: str) -> float:
    try:
        return float(delay)
    except ValueError:
        return 0.0

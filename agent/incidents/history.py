"""The deliveries of the last 24 hours in buckets of ten minutes: sent, failed, delays and causes. Pure and bounded.

Time is that of the log's stamps, so a log that is read late falls into the right bucket.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from postward.agent.metrics.labels import STATUSES, delay_seconds
from postward.agent.metrics.minutes import Minutes
from postward.agent.rows import ByRows, Rows, Take
from postward.agent.stored import Form
from postward.parsers import Cause, cause_of_delivery
from postward.parsers.cause import DELIVERED
from postward.parsers.events import Delivery

BUCKET = 600  # seconds
BUCKETS = 144
_MAX_DELAYS: Final = 4096  # remembered
DELAYS = (1.0, 5.0, 30.0, 300.0, 3600.0)  # upper bounds of delays, in seconds


_FORM: Form[tuple[dict[str, int], list[int], dict[Cause, int]]] = Form(
    tuple[dict[str, int], list[int], dict[Cause, int]]
)


class Bucket:
    """Ten minutes: counts by status, by delay of sent mails, and by cause of failures."""

    __slots__ = ("causes", "delays", "status")

    def __init__(self) -> None:
        self.status = dict.fromkeys(STATUSES, 0)
        self.delays = [0] * (len(DELAYS) + 1)
        self.causes: dict[str, int] = {}

    def to_list(self) -> list[Any]:
        """Return the bucket as JSON values, for the checkpoint."""
        return [self.status, self.delays, self.causes]

    @classmethod
    def from_list(cls, data: Any) -> "Bucket":
        """Return the bucket that `to_list` described. Raises ValueError, TypeError, KeyError for other data."""
        status, delays, causes = _FORM.check(data)
        if len(delays) != len(DELAYS) + 1:
            raise ValueError("delays: must have one count for each bucket")
        bucket = cls()
        bucket.status = {name: status[name] for name in STATUSES}
        bucket.delays = delays
        bucket.causes = {cause.value: count for cause, count in causes.items()}
        return bucket


class DeliveryHistory(ByRows):
    """The buckets of the last 24 hours.

    Args:
        clock: the time that stamps without a year are near to.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._buckets: dict[int, Bucket] = {}
        self._minutes = Minutes(clock)

    def count(self, rows: Rows, times: int) -> None:
        """Count deliveries."""
        buckets: dict[str, Bucket] = {}  # by stamp
        for stamp, status, delay, relay, reason, dsn in rows:
            bucket = buckets.get(stamp)
            if bucket is None:
                bucket = buckets[stamp] = self._bucket(self._number(stamp))
            if status in DELIVERED:
                bucket.status["sent"] += times
                bucket.delays[_place(delay)] += times
                continue
            bucket.status["bounced" if status == "bounced" else "deferred"] += times
            cause = (cause_of_delivery(status, relay, reason, dsn) or Cause.OTHER).value
            bucket.causes[cause] = bucket.causes.get(cause, 0) + times

    def buckets(self, now: float) -> list[Bucket]:
        """Return the last 24 hours, oldest first, empty buckets included."""
        last = int(now) // BUCKET
        return [self._buckets.get(number) or Bucket() for number in range(last - BUCKETS + 1, last + 1)]

    def state(self) -> dict[str, Any]:
        """Return the buckets as JSON values, for the checkpoint."""
        return {str(number): bucket.to_list() for number, bucket in self._buckets.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned; other rows are left out."""
        for number, row in state.items():
            try:
                self._buckets[int(number)] = Bucket.from_list(row)
            except (ValueError, KeyError):
                continue
        self._forget()

    def _bucket(self, number: int) -> Bucket:
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = Bucket()
            self._forget()
        return bucket

    def _forget(self) -> None:
        # A clock that jumps makes buckets at any time: the newest stay.
        while len(self._buckets) > BUCKETS + 1:
            del self._buckets[min(self._buckets)]

    def _number(self, stamp: str) -> int:
        second = self._minutes.second(stamp)
        return int(self._clock().timestamp() if second is None else second) // BUCKET


@lru_cache(_MAX_DELAYS)
def _place(delay: str) -> int:
    return bisect_left(DELAYS, delay_seconds(delay) or 0.0)


DeliveryHistory.takes = {
    Delivery: Take(("stamp", "status", "delay", "relay", "reason", "dsn"), DeliveryHistory.count)
}

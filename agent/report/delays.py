"""Delays as a distribution that merges exactly: how often each printed delay occurred.

Postfix prints two significant digits below 100 seconds; a delay is kept with three, so percentiles are what was printed
below 1000 seconds and within half a percent above. Sums are whole microseconds, so they do not depend on the order.
"""

from collections.abc import Iterable
from typing import Any, Final

_MICROSECONDS: Final = 1_000_000


def microseconds(seconds: float) -> int:
    """Convert seconds to whole microseconds."""
    return round(seconds * _MICROSECONDS)


class Delays:
    """How often each delay was observed, their sum and the longest."""

    def __init__(self) -> None:
        self.times: dict[float, int] = {}
        self.sum = 0  # microseconds
        self.longest = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Add a delay that was printed `times` times."""
        kept = float(f"{seconds:.3g}")
        self.times[kept] = self.times.get(kept, 0) + times
        self.sum += microseconds(seconds) * times
        self.longest = max(self.longest, seconds)

    def merge(self, other: "Delays") -> None:
        """Add another distribution."""
        for seconds, times in other.times.items():
            self.times[seconds] = self.times.get(seconds, 0) + times
        self.sum += other.sum
        self.longest = max(self.longest, other.longest)

    @property
    def number(self) -> int:
        """The number of observations."""
        return sum(self.times.values())

    @property
    def mean(self) -> float | None:
        """The mean in seconds; None without observations."""
        number = self.number
        return round(self.sum / number / _MICROSECONDS, 3) if number else None

    def percentiles(self, percents: Iterable[int]) -> list[float | None]:
        """Return a percentile for each percent (nearest rank)."""
        ordered = sorted(self.times.items())
        number = self.number
        values: list[float | None] = []
        for percent in percents:
            rank = -(-number * percent // 100)  # rounded up
            cumulated = 0
            value: float | None = None
            for seconds, times in ordered:
                cumulated += times
                value = seconds
                if cumulated >= rank:
                    break
            values.append(value)
        return values

    def as_json(self) -> dict[str, Any]:
        """Return plain data in a fixed order."""
        return {"times": sorted(self.times.items()), "sum": self.sum, "longest": self.longest}

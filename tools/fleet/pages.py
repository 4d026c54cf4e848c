"""The page of a real agent as the pages of many hosts, whose counters go on.

Series, labels and text are the agent's. Values differ from host to host: a counter that is not zero grows with the
time, and a time stamp moves with it. Zeros stay, as on a host without failures.
"""

import gzip
import re
from dataclasses import dataclass

_SAMPLE = re.compile(r"(?P<series>[^\s{]+(?:\{[^}]*\})?) (?P<value>\S+)(?P<rest>.*)")
_COUNTER = re.compile(r"[a-z_]+_(?:total|count|bucket|sum)\b")
_AGE = 600.0  # seconds in which a counter doubles


@dataclass(frozen=True, slots=True)
class _Row:
    series: str
    value: float
    rest: str
    moves: str  # "counter", "time" or ""


class Page:
    """A page of metrics in OpenMetrics.

    Args:
        text: the page.

    Attributes:
        series: the number of its samples.
    """

    def __init__(self, text: str) -> None:
        self._lines = [_row(line) for line in text.splitlines()]
        self.series = sum(isinstance(line, _Row) for line in self._lines)

    def of_host(self, number: int, seconds: float) -> str:
        """Return the page of a host, so many seconds after the agent's own."""
        factor = (0.5 + number % 101 / 100) * (1 + seconds / _AGE)
        return "".join(
            f"{line if isinstance(line, str) else _written(line, factor, seconds)}\n" for line in self._lines
        )


def compressed(page: str) -> bytes:
    """Return a page as the agent sends it (`agent/http/scrape_cache.py`)."""
    return gzip.compress(page.encode(), compresslevel=4, mtime=0)


def _row(line: str) -> _Row | str:
    if line.startswith("#") or not (match := _SAMPLE.fullmatch(line)):
        return line
    series, value = match["series"], float(match["value"])
    moves = "counter" if _COUNTER.match(series) else "time" if "_timestamp_seconds" in series else ""
    return _Row(series, value, match["rest"], moves if value else "")


def _written(row: _Row, factor: float, seconds: float) -> str:
    value = row.value
    if row.moves == "counter":
        value = value * factor if "_sum" in row.series else float(int(value * factor))
    elif row.moves == "time":
        value += seconds
    return f"{row.series} {value!r}{row.rest}"

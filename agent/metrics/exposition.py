"""Exposition of a tally: the Prometheus text format, and OpenMetrics with the time of each sample.

prometheus-client is not used here. It takes as long to load as a log of 50 000 lines takes to count, and it cannot
write a history without holding all of it in memory. A test reads the text back with that library and compares.
"""

import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate, chain
from typing import Final

from postward.agent.metrics.catalog import METRICS, Metric
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Labels

Write = Callable[[str], object]
Tallies = Mapping[str, Tally]  # host → its counts; "" for all of a log, without a label
_Series = tuple[str, Labels]  # host, labels

HOST_LABEL: Final = "log_host"  # "host" is a label of many people's targets

_ROWS_IN_MEMORY: Final = 64  # of each series; the others are in a temporary file


def write_text(tallies: Tallies, write: Write) -> None:
    """Write the current counts in the text format."""
    for metric in METRICS:
        write(f"# HELP {metric.name} {_escaped(metric.help)}\n# TYPE {metric.name} {metric.kind}\n")
        for series, values in _points(metric, tallies):
            for name, value in zip(_sample_names(metric, series), values, strict=True):
                write(f"{name} {_number(value)}\n")


class History:
    """Samples of tallies at increasing times, written series by series as OpenMetrics requires.

    A new counter also gets a zero sample one interval earlier, so that its first value is an increase. Samples are kept
    in a temporary file, which `close` removes.
    """

    def __init__(self, tallies: Callable[[], Tallies], interval: int) -> None:
        self._tallies = tallies
        self.interval = interval
        self._series: dict[str, dict[_Series, _Rows]] = {metric.name: {} for metric in METRICS}
        import tempfile  # slow to load, and only a history needs it

        self._file = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as this object

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def sample(self, moment: int) -> None:
        """Record the current counts as samples of this moment, in seconds since the epoch."""
        tallies = self._tallies()
        for metric in METRICS:
            known = self._series[metric.name]
            for series, values in _points(metric, tallies):
                rows = known.get(series)
                if rows is None:
                    rows = known[series] = _Rows(self._file.fileno(), len(values) + 1)
                    if metric.kind != "gauge":
                        rows.add([moment - self.interval, *[0.0] * len(values)])
                rows.add([moment, *values])

    def write(self, write: Write) -> None:
        """Write all samples and the end mark."""
        for metric in METRICS:
            known = self._series[metric.name]
            if not known:
                continue
            family = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
            write(f"# HELP {family} {_escaped(metric.help)}\n# TYPE {family} {metric.kind}\n")
            for series, rows in known.items():
                names = _sample_names(metric, series)
                for moment, *values in rows:
                    for name, value in zip(names, values, strict=True):
                        write(f"{name} {_number(value)} {int(moment)}\n")
        write("# EOF\n")


class _Rows:
    """Rows of numbers of one width: the last ones in memory, the others in a file shared with other series."""

    def __init__(self, file: int, width: int) -> None:
        self._file = file
        self._width = width
        self._last = array("d")
        self._offsets = array("Q")

    def add(self, row: list[float]) -> None:
        self._last.extend(row)
        if len(self._last) >= self._width * _ROWS_IN_MEMORY:
            self._offsets.append(_append(self._file, self._last.tobytes()))
            self._last = array("d")

    def __iter__(self) -> "Iterator[array[float]]":
        size = self._width * _ROWS_IN_MEMORY * self._last.itemsize
        written = (array("d", _read(self._file, size, offset)) for offset in self._offsets)
        for rows in chain(written, (self._last,)):
            for start in range(0, len(rows), self._width):
                yield rows[start : start + self._width]


def _append(file: int, data: bytes) -> int:
    offset = os.lseek(file, 0, os.SEEK_END)
    os.write(file, data)
    return offset


def _read(file: int, size: int, offset: int) -> bytes:
    return os.pread(file, size, offset)


def _points(metric: Metric, tallies: Tallies) -> Iterator[tuple[_Series, list[float]]]:
    """Yield each series with its values; for a histogram the cumulative buckets, the count and the sum."""
    for host, tally in tallies.items():
        if metric.kind == "histogram":
            for labels, (*counts, total) in tally.histograms[metric.name].items():
                buckets = list(accumulate(counts))
                yield (host, labels), [*buckets, buckets[-1], total]
        else:
            group = tally.counters if metric.kind == "counter" else tally.times
            for labels, value in group.get(metric.name, {}).items():
                yield (host, labels), [value]


def _sample_names(metric: Metric, series: _Series) -> list[str]:
    """Return the names, with labels, of the values that `_points` yields."""
    host, labels = series
    pairs = [f'{HOST_LABEL}="{_quoted(host)}"'] if host else []
    pairs += [f'{name}="{_quoted(value)}"' for name, value in zip(metric.labels, labels, strict=True)]
    if metric.kind != "histogram":
        return [_named(metric.name, pairs)]
    bounds = [*map(str, metric.buckets), "+Inf"]
    return [
        *(_named(f"{metric.name}_bucket", [*pairs, f'le="{bound}"']) for bound in bounds),
        _named(f"{metric.name}_count", pairs),
        _named(f"{metric.name}_sum", pairs),
    ]


def _named(name: str, pairs: list[str]) -> str:
    return f"{name}{{{','.join(pairs)}}}" if pairs else name


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")

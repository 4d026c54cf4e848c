"""`postward replay`: count logs with the agent's own pipeline and print the metrics, their history, or JSON.

Memory does not grow with the logs. A file that cannot be read to its end is named, the others are counted, and the exit
status is 1.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from postward.agent.commands.reading import LOG_FILE, progress_bar, relays_of, relays_option
from postward.agent.logs.archive import (
    STANDARD_INPUT,
    LogFileError,
    blocks,
    first_moment,
    last_written,
)
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.exposition import History, write_text
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.pipeline import ByHost, Observer, Pipeline
from postward.agent.text import local_now
from postward.parsers import parse_record, parse_stamp

_MAX_GAP = 86400  # seconds without a line that are filled with samples; a longer gap stays
_PLAIN = re.compile(rb"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]")


@click.command("replay")
@click.argument("files", type=LOG_FILE, nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--metrics", "output", flag_value="metrics", default=True, help="Print Prometheus text (default)."
)
@click.option(
    "--openmetrics",
    "output",
    flag_value="openmetrics",
    help="Print OpenMetrics with times, for `promtool tsdb create-blocks-from openmetrics`.",
)
@click.option("--json", "output", flag_value="json", help="Print the counts as JSON.")
@click.option(
    "--interval",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="With --openmetrics: seconds of the log between two samples.",
)
@relays_option
@click.option(
    "--all", "everything", is_flag=True, help="Count all that the agent counts, not only deliveries; slower."
)
@click.option("--by-host", is_flag=True, help="Count each host of the log apart, with the label log_host.")
@click.option("--deliveries", is_flag=True, help="Print each delivery as a row on standard error.")
def command(
    files: tuple[Path, ...],
    output: str,
    interval: int,
    settings_file: Path | None,
    everything: bool,
    by_host: bool,
    deliveries: bool,
) -> None:
    """Count logs (also .gz, .xz, .bz2, .zst; - is standard input) as the agent would, and print the metrics.

    The files are read in the order of their first stamps.
    """
    names = RelayNames(relays_of(settings_file))
    replay = Replay(names, everything=everything, by_host=by_host, deliveries=deliveries)
    if output == "openmetrics":
        with closing(History(lambda: replay.tallies, interval)) as history:
            failed = replay.read(files, history)
            if not failed or replay.has_lines:
                history.write(sys.stdout.write)
    else:
        failed = replay.read(files)
        if failed and not replay.has_lines:
            sys.exit(1)
        if output == "json":
            import json

            click.echo(json.dumps(replay.as_json()))
        else:
            write_text(replay.tallies, sys.stdout.write)
    sys.exit(1 if failed else 0)


class _Counts(Pipeline):
    """Counts lines in a tally."""

    def __init__(
        self, names: RelayNames, clock: Callable[[], datetime], *, everything: bool, **options: Any
    ) -> None:
        self.tally, kind, observers = Tally(), Counting, list[Observer]()
        if everything:
            from postward.agent.metrics.daemons import DaemonMetrics
            from postward.agent.metrics.exemplars import Exemplars
            from postward.agent.probe.filter import ProbeFilter

            kind = ProbeFilter
            observers.append(DaemonMetrics(self.tally, names, Exemplars()))
        super().__init__(kind(self.tally, names, clock), observers, **options)


class Replay:
    """Counts log files.

    Args:
        names: the relays of the settings.
        everything: count all that the agent counts, and probes apart from users' mail.
        by_host: count each host of the log apart.
        deliveries: print each delivery as a row on standard error.
    """

    def __init__(
        self, names: RelayNames, *, everything: bool = False, by_host: bool = False, deliveries: bool = False
    ) -> None:
        self._written = local_now()  # last write of the current file, which gives stamps their year
        whole: list[Observer] = []
        if deliveries:
            from postward.agent.console import DeliveryRows, terminal

            whole.append(DeliveryRows(terminal(error=True), names))

        def counts(**others: Any) -> _Counts:
            return _Counts(names, lambda: self._written, everything=everything, **others)

        self._hosts = ByHost(lambda _: counts(), lambda _: True) if by_host else None
        self._pipeline = counts(others=self._hosts, whole=whole)

    @property
    def tallies(self) -> dict[str, Tally]:
        """The counts by host, and those of no host under ""."""
        hosts = self._hosts.logs if self._hosts else {}
        return {"": self._pipeline.tally} | {host: counts.tally for host, counts in hosts.items()}

    def as_json(self) -> dict[str, Any]:
        """Return the counts as data for JSON."""
        hosts = {host: tally.as_json() for host, tally in self.tallies.items() if host}
        return self._pipeline.tally.as_json() | ({"hosts": hosts} if self._hosts else {})

    @property
    def has_lines(self) -> bool:
        """Return whether a line was read."""
        return any(
            any(tally.counters["postward_log_lines_total"].values()) for tally in self.tallies.values()
        )

    def read(self, files: tuple[Path, ...], history: History | None = None) -> bool:
        """Count files in the order of their first stamps. Return True if one could not be read to its end."""
        ordered, failed = _in_order(files)
        clock = _Sampler(history) if history is not None else None
        with progress_bar(ordered) as progress:
            for path in ordered:
                self._written = last_written(path)
                try:
                    for block in blocks(path, progress(path)):
                        if clock is None:
                            self._pipeline.feed(block)
                        else:
                            clock.feed(block, self._written, self._pipeline)
                except LogFileError as error:
                    failed = _complain(error)
                self._pipeline.settle()  # before the next file changes the reference of stamps
        if clock is not None:
            clock.finish()
        return failed


def _in_order(files: tuple[Path, ...]) -> tuple[list[Path], bool]:
    """Return the files by their first stamps, those without one last, and whether one cannot be read."""
    failed = False
    dated: list[tuple[float, Path]] = []
    for path in dict.fromkeys(files):
        try:
            known = path != STANDARD_INPUT and len(files) > 1
            moment = first_moment(path) if known else None
        except LogFileError as error:
            failed = _complain(error)
            continue
        dated.append((moment.timestamp() if moment else float("inf"), path))
    dated.sort(key=lambda pair: pair[0])
    if len(dated) > 1:
        click.echo("reading, oldest first:", err=True)
        for first, path in dated:
            since = (
                "no stamp"
                if first == float("inf")
                else f"from {datetime.fromtimestamp(first).astimezone():%F %T}"
            )
            click.echo(f"  {path} ({since})", err=True)
    return [path for _, path in dated], failed


def _complain(error: LogFileError) -> bool:
    click.echo(f"postward: {error}", err=True)
    return True


class _Sampler:
    """Takes a sample wherever the log passes a multiple of the interval."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._interval = history.interval
        self._next: int | None = None  # time of the next sample
        self._minute = b""  # of the line before

    def feed(self, block: bytes, reference: datetime, pipeline: Pipeline) -> None:
        """Count a block, with samples in between."""
        done = 0
        for start, moment in self._moments(block, reference):
            if self._next is None:
                self._next = self._boundary(moment)
            if moment < self._next:  # also where the log steps back
                continue
            pipeline.feed(block[done:start])
            pipeline.settle()
            done = start
            if moment - self._next > _MAX_GAP:
                self._history.sample(self._next)
                self._next = self._boundary(moment)
            while self._next <= moment:
                self._history.sample(self._next)
                self._next += self._interval
        pipeline.feed(block[done:])

    def finish(self) -> None:
        """Take the sample after the last line."""
        if self._next is not None:
            self._history.sample(self._next)

    def _boundary(self, moment: float) -> int:
        return int(moment // self._interval + 1) * self._interval

    def _moments(self, block: bytes, reference: datetime) -> Iterator[tuple[int, float]]:
        """Yield the start and the time of each line that may be in another interval than the line before."""
        start = 0
        for line in block.split(b"\n"):
            minute = line[:16] if line[:1].isdigit() else line[:12]
            # Most lines are of the same minute as the one before; a line behind a prefix does not begin with its minute.
            if minute != self._minute or self._interval % 60 or _PLAIN.match(line) is None:
                record = parse_record(line.decode("utf-8", "replace"))
                moment = parse_stamp(record.stamp, reference) if record is not None else None
                if moment is not None:
                    self._minute = minute
                    yield start, moment.timestamp()
            start += len(line) + 1

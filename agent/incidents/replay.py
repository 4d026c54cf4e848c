"""The incidents of finished logs, for commands that look back."""

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from postward.agent.incidents.context import is_complaint
from postward.agent.incidents.model import Incident
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.logs.archive import STANDARD_INPUT, blocks, last_written
from postward.agent.logs.coverage import Coverage
from postward.agent.logs.lines import lines_of
from postward.agent.metrics.labels import RelayNames
from postward.agent.pipeline import MAX_HOSTS, OTHER
from postward.agent.senders.window import Senders
from postward.parsers import Event, Record, parse, parse_stamp
from postward.parsers.dialects import has_header, repeats_of

_MAX_CLOSED: Final = 1000
_MAX_COMPLAINTS: Final = 20
_MAX_JOINED: Final = 3000  # characters; Postfix cuts its text at 2000 bytes
_UNFINISHED: Final = re.compile(r"\]: \w+: to=<")


class Incidents:
    """The incidents of logs, each host's apart: no mail of one host proves anything about another.

    Args:
        names: the relays of the settings.
        clock: the time that stamps without a year are near to.
    """

    def __init__(self, names: RelayNames, clock: Callable[[], datetime]) -> None:
        self._names = names
        self._clock = clock
        self._last = _Host(names, clock)  # of the line before, to which lines of other programs belong
        self._hosts: dict[str, _Host] = {}

    def observe(self, record: Record, event: Event) -> None:
        """Take a recognised line."""
        name = record.host if record.host in self._hosts or len(self._hosts) < MAX_HOSTS else OTHER
        if name not in self._hosts:
            self._hosts[name] = _Host(self._names, self._clock) if self._hosts else self._last
        self._last = self._hosts[name]
        self._last.observe(record, event)

    def observe_foreign(self, line: str) -> None:
        """Take a line of another program."""
        self._last.tracker.observe_foreign(line)

    def finish(self) -> None:
        """Judge what only the end of the logs shows: the complaints of a host without an incident."""
        for host in self._hosts.values() or [self._last]:
            host.finish()

    @property
    def by_host(self) -> Mapping[str, IncidentTracker]:
        """Host → its incidents; if the logs are of one host, its name is ""."""
        if len(self._hosts) < 2:
            return {"": self._last.tracker}
        return {name: host.tracker for name, host in self._hosts.items()}

    @property
    def open(self) -> list[Incident]:
        """The open incidents, those of a host together."""
        return [incident for tracker in self.by_host.values() for incident in tracker.open]

    @property
    def closed(self) -> list[Incident]:
        """The closed incidents, those of a host together."""
        return [incident for tracker in self.by_host.values() for incident in tracker.closed]


class _Host:
    """The lines of a host."""

    def __init__(self, names: RelayNames, clock: Callable[[], datetime]) -> None:
        # A look back asks about single failures too.
        self._senders = Senders(clock)
        self.tracker = IncidentTracker(
            names, clock, keep_closed=_MAX_CLOSED, suspicion=-math.inf, senders=self._senders
        )
        self._complaints: deque[tuple[Record, Event]] = deque(maxlen=_MAX_COMPLAINTS)

    def observe(self, record: Record, event: Event) -> None:
        self._senders.observe(record, event)
        self.tracker.observe(record, event)
        if is_complaint(record, event):
            self._complaints.append((record, event))

    def finish(self) -> None:
        if not self.tracker.open and not self.tracker.closed:
            self.tracker.observe_excerpt(self._complaints)


def read_logs(
    paths: Iterable[Path],
    names: RelayNames,
    now: datetime,
    *,
    since: datetime | None = None,
    coverage: Coverage | None = None,
    progress: Callable[[Path], Callable[[int], object]] = lambda _: lambda _: None,
) -> Incidents:
    """Return the incidents of logs, read in the order given.

    Args:
        paths: the files; `-` is standard input, `journal` systemd's journal.
        names: the relays of the settings, if there are any.
        now: gives stamps without a year on standard input their year; those of files get it from the last write.
        since: lines written before are left out.
        coverage: counts the lines.
        progress: returns a function for a path that is called with the number of bytes read.

    Raises:
        LogFileError: a file cannot be read, or not to its end.
    """
    reference = now
    incidents = Incidents(names, lambda: reference)
    coverage = coverage or Coverage()
    for path in paths:
        reference = now if path == STANDARD_INPUT else last_written(path)
        for line, record, event in _parsed(_lines(path, progress(path), since)):
            in_time = record is not None and (since is None or _is_since(record, since, reference))
            coverage.add(line, record, event, in_time=in_time)
            if record is None:
                incidents.observe_foreign(line)
            elif event is not None and in_time:
                incidents.observe(record, event)
    incidents.finish()
    return incidents


def _lines(path: Path, progress: Callable[[int], object], since: datetime | None) -> Iterator[str]:
    for block in blocks(path, progress, since):
        for line in lines_of(block):
            yield line.removesuffix("\r")


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, Record | None, Event | None]]:
    """Yield each line with its record and event; "last message repeated N times" has those of the line before."""
    record, event = None, None
    for line in _unwrapped(lines):
        times = repeats_of(line)
        if record is not None and times:
            record = record._replace(repeat=times)
        else:
            record, event = parse(line)
        yield line, record, event


def _unwrapped(lines: Iterable[str]) -> Iterator[str]:
    """Join deliveries that a mail client or a forum wrapped: global/log_adhoc.c ends each with a parenthesis."""
    held = ""
    for line in lines:
        if held and line.strip() and not has_header(line) and len(held) < _MAX_JOINED:
            held = f"{held.rstrip()} {line.strip()}"
            if held.endswith(")"):
                yield held
                held = ""
            continue
        if held:
            yield held
            held = ""
        if not line.endswith(")") and _UNFINISHED.search(line):
            held = line
        else:
            yield line
    if held:
        yield held


def _is_since(record: Record, since: datetime, reference: datetime) -> bool:
    moment = parse_stamp(record.stamp, reference)
    return moment is not None and moment >= since

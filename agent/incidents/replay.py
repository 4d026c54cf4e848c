"""The incidents of finished logs, for commands that look back."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.logs.archive import STANDARD_INPUT, blocks, last_written
from postward.agent.logs.lines import lines_of
from postward.agent.metrics.labels import RelayNames
from postward.parsers import parse, parse_record, parse_stamp

_MAX_CLOSED: Final = 1000


def read_logs(
    paths: Iterable[Path],
    names: RelayNames,
    now: datetime,
    *,
    since: datetime | None = None,
    progress: Callable[[Path], Callable[[int], object]] = lambda _: lambda _: None,
) -> IncidentTracker:
    """Return the incidents of logs, read in the order given. Stamps without a year are near to a file's last write.

    Args:
        paths: the files; `-` is standard input, `journal` systemd's journal.
        names: the relays of the settings, if there are any.
        now: the time that stamps of standard input are near to.
        since: lines written before are left out.
        progress: returns a function for a path that is called with the number of bytes read.

    Raises:
        LogFileError: a file cannot be read, or not to its end.
    """
    reference = now
    tracker = IncidentTracker(names, lambda: reference, keep_closed=_MAX_CLOSED)
    for path in paths:
        reference = now if path == STANDARD_INPUT else last_written(path)
        for line in _lines(path, progress(path), since, reference):
            record, event = parse(line.removesuffix("\r"))
            if record is not None and event is not None:
                tracker.observe(record, event)
            elif record is None:
                tracker.observe_foreign(line)
    return tracker


def _lines(
    path: Path, progress: Callable[[int], object], since: datetime | None, reference: datetime
) -> Iterator[str]:
    for block in blocks(path, progress, since):
        for line in lines_of(block):
            if since is None or _is_since(line, since, reference):
                yield line


def _is_since(line: str, since: datetime, reference: datetime) -> bool:
    record = parse_record(line)
    moment = parse_stamp(record.stamp, reference) if record else None
    return moment is not None and moment >= since

"""Logs → incidents, for a command that looks back: what happened, and what of it goes on."""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from postward.agent.incidents.tracker import Incidents
from postward.agent.logs.archive import STANDARD_INPUT, blocks, last_written
from postward.agent.logs.lines import lines_of
from postward.agent.metrics.labels import RelayNames
from postward.parsers import parse, parse_record, parse_stamp


def read_logs(
    paths: Iterable[Path],
    names: RelayNames,
    now: datetime,
    *,
    since: datetime | None = None,
    progress: Callable[[Path], Callable[[int], object]] = lambda _: lambda _: None,
) -> Incidents:
    """The incidents of logs, in the order given. Year-less stamps are near to when a file was last written.

    Args:
        paths: the files; `-` is standard input, `journal` systemd's journal.
        names: the relays of the settings, if there are any.
        now: the time that lines of standard input are near to.
        since: lines written before are left out.
        progress: is told how many bytes of a file were read.

    Raises:
        LogFileError: a file cannot be read, or not to its end.
    """
    reference = now
    incidents = Incidents(names, lambda: reference, keep_closed=1000)
    for path in paths:
        reference = now if path == STANDARD_INPUT else last_written(path)
        for block in blocks(path, progress(path), since):
            for line in lines_of(block):
                if since is None or _written_since(line, since, reference):
                    _feed(incidents, line)
    return incidents


def _feed(incidents: Incidents, line: str) -> None:
    record, event = parse(line.removesuffix("\r"))
    if record is not None and event is not None:
        incidents.observe(record, event)


def _written_since(line: str, since: datetime, reference: datetime) -> bool:
    record = parse_record(line)
    moment = parse_stamp(record.stamp, reference) if record else None
    return moment is not None and moment >= since

"""Read logs for commands that look back, as blocks of whole lines: plain or compressed files, standard input, the journal.

The compression of a file is recognised by its first bytes, so its name does not matter. One block is in memory at a
time.

How it fails: `LogFileError` names the fault and the remedy. The lines before the damage have been yielded by then.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import IO, Final, cast

from postward.agent.fsutil import reason_of
from postward.agent.logs import codecs
from postward.agent.logs.lines import MAX_LINE, lines_of
from postward.agent.text import local_now
from postward.parsers import parse_record, parse_stamp

# Bytes. The memory of a larger block is returned to the system and allocated again each time.
BLOCK: Final = 1 << 19
STANDARD_INPUT: Final = Path("-")
JOURNAL: Final = "journal"  # as in log.source; a file of that name is ./journal


class LogFileError(Exception):
    """A file cannot be read, or only in part."""


def blocks(
    path: Path, progress: Callable[[int], object] = lambda _: None, since: datetime | None = None
) -> Iterator[bytes]:
    """Yield a log in blocks of whole lines.

    Args:
        path: the file. "-" is standard input, which is not unpacked; "journal" is the mail in the systemd journal, and
            "journal:DIRECTORY" that of the files in a directory.
        progress: called with the number of bytes on disk that have been read.
        since: the journal leaves older entries out; files are read in full.

    Raises:
        LogFileError: the log cannot be read, or is damaged.
    """
    if path == STANDARD_INPUT:
        standard_input = cast(BufferedReader, sys.stdin.buffer)
        yield from _whole_lines(lambda: standard_input.read1(BLOCK))
        return
    if is_journal(path):
        yield from _of_journal(path, since)
        return
    with readable(path), path.open("rb") as file:
        stream = unpacked(file)
        for block in _whole_lines(lambda: stream.read(BLOCK)):
            progress(file.tell())
            yield block


def is_journal(path: Path) -> bool:
    """Return whether a path stands for the systemd journal, or for a directory of its files."""
    return str(path).partition(":")[0] == JOURNAL


def _of_journal(path: Path, since: datetime | None) -> Iterator[bytes]:
    # Imported here: only the journal starts programs.
    from postward.agent.logs.journal import JournalError, read_journal

    directory = str(path).partition(":")[2]
    pieces = read_journal(since, Path(directory) if directory else None)
    try:
        yield from _whole_lines(lambda: next(pieces, b""))
    except JournalError as error:
        raise LogFileError(f"the journal{f' in {directory}' if directory else ''}: {error}") from error


@contextmanager
def readable(path: Path | str) -> Iterator[None]:
    """Convert the errors of reading a file to `LogFileError`.

    Raises:
        LogFileError: the file cannot be read, or is damaged.
    """
    try:
        yield
    except LogFileError as error:
        raise LogFileError(f"{path}: {error}") from error
    except IsADirectoryError as error:
        raise LogFileError(f"{path}: this is a folder; name the log files in it") from error
    except EOFError as error:
        raise LogFileError(
            f"{path}: its compressed data stop too early; the file was truncated, or is still being written"
        ) from error
    except OSError as error:
        damaged = f"its compressed data are damaged ({error}); fetch the file again"
        raise LogFileError(f"{path}: {reason_of(error) if error.strerror else damaged}") from error
    except Exception as error:
        if not codecs.is_damage(error):
            raise
        raise LogFileError(
            f"{path}: its compressed data are damaged ({error}); fetch the file again"
        ) from error


def unpacked(file: IO[bytes]) -> IO[bytes]:
    """Return the unpacked stream of a compressed file, or the file itself if it is plain."""
    start = file.read(6)
    file.seek(0)
    codec = codecs.by_first_bytes(start)
    stream: IO[bytes] = codec.open(file) if codec else file
    return stream


def _whole_lines(read: Callable[[], bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := read():
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
            rest = chunk[end:]
        else:
            rest += chunk
            if len(rest) >= MAX_LINE:
                yield rest
                rest = b""
    if rest:
        yield rest


def last_written(path: Path) -> datetime:
    """Return the time at which a log's lines had been written, which gives timestamps without a year their year.

    That is the file's last change, but not later than now. Rotation and compression keep it. It is now for standard
    input, the journal, and a file that cannot be examined: reading it reports the error.
    """
    now = local_now()
    if path == STANDARD_INPUT or is_journal(path):
        return now
    try:
        return min(now, datetime.fromtimestamp(path.stat().st_mtime).astimezone())
    except OSError:
        return now


def first_moment(path: Path) -> datetime | None:
    """Return the time of a log's first line that has a timestamp; None if no line has one.

    Raises:
        LogFileError: the log cannot be read.
    """
    reference = last_written(path)
    for block in blocks(path):
        for line in lines_of(block):
            record = parse_record(line)
            moment = parse_stamp(record.stamp, reference) if record is not None else None
            if moment is not None:
                return moment
    return None

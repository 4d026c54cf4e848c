"""Log files as they lie about, as blocks of whole lines: plain, compressed, or standard input as it comes; and the journal.

What a file is compressed with is told by its first bytes, so that neither a wrong name nor a missing one matters.
One block is in memory at a time. How it fails: `LogFileError` with what is wrong and what would be right; the lines
before the damage have been handed out by then.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final, cast

from postward.agent.logs import codecs
from postward.parsers import parse_record, parse_stamp

BLOCK: Final = 1 << 19  # bytes; of twice as many the memory is given back and asked for again each time
STANDARD_INPUT: Final = Path("-")
JOURNAL: Final = Path("journal")  # as log.source has it; a file of that name is ./journal
_LONGEST_LINE: Final = 1 << 20  # bytes; what has no line end by then is handed out in pieces
_WORTH_A_BAR: Final = 8 << 20  # bytes on disk


class LogFileError(Exception):
    """A file cannot be read, or not to its end."""


def blocks(
    path: Path, progress: Callable[[int], object] = lambda _: None, since: datetime | None = None
) -> Iterator[bytes]:
    """The lines of a file (or of standard input, as they come) in blocks of whole lines.

    Args:
        path: the file; "-" is standard input, which is taken as it is, "journal" what systemd's journal holds of mail.
        progress: told how many bytes on disk are done.
        since: what was written before is not wanted; the journal leaves it out, files do not.

    Raises:
        LogFileError: it cannot be read, or is damaged.
    """
    if path == STANDARD_INPUT:
        standard_input = cast(BufferedReader, sys.stdin.buffer)
        yield from _whole_lines(lambda: standard_input.read1(BLOCK))
        return
    if path == JOURNAL:
        yield from _of_the_journal(since)
        return
    with readable(path), path.open("rb") as file:
        stream = unpacked(file)
        for block in _whole_lines(lambda: stream.read(BLOCK)):
            progress(file.tell())
            yield block


def _of_the_journal(since: datetime | None) -> Iterator[bytes]:
    from postward.agent.logs.journal import (
        JournalError,
        read_journal,
    )  # what starts programs is for it alone

    pieces = read_journal(since)
    try:
        yield from _whole_lines(lambda: next(pieces, b""))
    except JournalError as error:
        raise LogFileError(f"the journal: {error}") from error


@contextmanager
def readable(path: Path | str) -> Iterator[None]:
    """What goes wrong while a file is read, in words.

    Raises:
        LogFileError: it cannot be read, or is damaged.
    """
    try:
        yield
    except LogFileError as error:
        raise LogFileError(f"{path}: {error}") from error
    except IsADirectoryError as error:
        raise LogFileError(f"{path}: this is a folder; name the log files in it") from error
    except EOFError as error:
        raise LogFileError(
            f"{path}: its compressed data stop too early; it was cut off, or is still being written"
        ) from error
    except OSError as error:
        words = error.strerror or f"its compressed data are damaged ({error}); fetch the file anew"
        raise LogFileError(f"{path}: {words}") from error
    except Exception as error:
        if not codecs.is_damage(error):
            raise
        raise LogFileError(
            f"{path}: its compressed data are damaged ({error}); fetch the file anew"
        ) from error


def unpacked(file: IO[bytes]) -> IO[bytes]:
    """A file's lines, whatever it is compressed with; the file itself if it is plain."""
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
            if len(rest) >= _LONGEST_LINE:
                yield rest
                rest = b""
    if rest:
        yield rest


def last_written(path: Path) -> datetime:
    """Return the time at which a file's lines had been written: its last change, but not later than now.

    Rotation and compression keep the time of the last change.
    """
    now = datetime.now().astimezone()
    if path == JOURNAL:
        return now
    return min(now, datetime.fromtimestamp(path.stat().st_mtime).astimezone())


def first_moment(path: Path, reference: datetime) -> datetime | None:
    """When a file's first line with a stamp was written.

    Raises:
        LogFileError: it cannot be read.
    """
    for block in blocks(path):
        for line in block.decode("utf-8", "replace").split("\n"):
            record = parse_record(line)
            moment = parse_stamp(record.stamp, reference) if record is not None else None
            if moment is not None:
                return moment
    return None


@contextmanager
def ignore_broken_pipe() -> Iterator[None]:
    """End without words where the reader of standard output has seen enough, as in `| head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@contextmanager
def progress_bar(
    paths: Sequence[Path], *, wanted: bool = True
) -> Iterator[Callable[[Path], Callable[[int], object]]]:
    """A bar on standard error while long files are read, if that is a terminal: file → what to tell its bytes."""
    sizes = {path: _size(path) for path in paths}
    if not wanted or not sys.stderr.isatty() or sum(sizes.values()) < _WORTH_A_BAR:
        yield lambda _path: lambda _done: None
        return
    from rich.console import Console  # loaded for a terminal only
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[Path, Any] = {
            path: bar.add_task(path.name, total=size) for path, size in sizes.items() if size
        }

        def of(path: Path) -> Callable[[int], object]:
            return partial(_move, bar, tasks.get(path))

        yield of


def _move(bar: Any, task: Any, done: int) -> None:
    if task is not None:
        bar.update(task, completed=done)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # told when it is read

"""Log files → chunks that can be counted apart: ranges of plain files, and compressed files whole.

A line belongs to the chunk in which it begins, so every line is in exactly one chunk. Lines longer than a megabyte, which
Postfix cannot write, are cut off there.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple

from postward.agent.logs.archive import (
    BLOCK,
    STANDARD_INPUT,
    blocks,
    is_journal,
    last_written,
    readable,
    unpacked,
)
from postward.agent.logs.lines import MAX_LINE

CHUNK: Final = 16 << 20  # bytes

Open = Callable[[], IO[bytes]]


class Chunk(NamedTuple):
    """A piece of a log.

    `end` is None for a file that is read whole: a compressed one, or standard input. `written` is near to stamps
    without a year.
    """

    name: str
    start: int
    end: int | None
    size: int  # bytes on disk
    written: datetime


def chunks_of(paths: Sequence[Path], size: int = CHUNK) -> list[Chunk]:
    """Return the chunks of local files, in the order of the files.

    Raises:
        LogFileError: a file cannot be read.
    """
    found: list[Chunk] = []
    for path in dict.fromkeys(paths):
        if path == STANDARD_INPUT or is_journal(path):
            found.append(Chunk(str(path), 0, None, 0, last_written(path)))
            continue
        with readable(path):
            found += cut(str(path), partial(_open, path), path.stat().st_size, last_written(path), size)
    return found


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def cut(name: str, open_file: Open, length: int, written: datetime, size: int = CHUNK) -> list[Chunk]:
    """Return the chunks of one file of `length` bytes."""
    with open_file() as file:
        whole = unpacked(file) is not file
    if whole or not length:  # a pipe has no length either
        return [Chunk(name, 0, None, length, written)]
    return [
        Chunk(name, start, min(start + size, length), min(size, length - start), written)
        for start in range(0, length, size)
    ]


def blocks_of(chunk: Chunk, open_file: Open | None = None, since: datetime | None = None) -> Iterator[bytes]:
    """Yield the lines of a chunk in blocks of whole lines.

    Args:
        chunk: the chunk.
        open_file: opens the file; None: a local file.
        since: the journal leaves older entries out; files are read in full.

    Raises:
        LogFileError: it cannot be read, or is damaged.
    """
    path = Path(chunk.name)
    if chunk.end is None and open_file is None:
        yield from blocks(path, since=since)
        return
    with readable(chunk.name), open_file() if open_file is not None else path.open("rb") as file:
        if chunk.end is None:
            yield from _lines_from(unpacked(file), 0, None)
        else:
            yield from _lines_from(file, chunk.start, chunk.end)


def _lines_from(file: IO[bytes], start: int, end: int | None) -> Iterator[bytes]:
    """Yield the lines that begin in a range of bytes, in blocks."""
    rest = b""
    if start:
        file.seek(start - 1)  # if a line ends right before the range, the next one begins in it
        start, rest = _next_line(file, start - 1)
    while end is None or start < end:
        data = file.read(BLOCK)
        if not data and not rest:
            return
        more = bool(data)
        data = rest + data
        stop = -1 if end is None else data.find(b"\n", max(0, end - 1 - start)) + 1 or -1
        if stop > 0 or not more:
            yield _shortened(data[:stop] if stop > 0 else data)
            return
        last = data.rfind(b"\n") + 1
        if last:
            yield _shortened(data[:last])
        rest = data[last:]
        start += last
        if len(rest) > MAX_LINE:
            yield rest[:MAX_LINE] + b"\n"
            start, rest = _next_line(file, start + len(rest))


def _next_line(file: IO[bytes], position: int) -> tuple[int, bytes]:
    """Return the start of the next line, and the bytes read from there on."""
    while data := file.read(1 << 16):
        end = data.find(b"\n") + 1
        if end:
            return position + end, data[end:]
        position += len(data)
    return position, b""


def _shortened(data: bytes) -> bytes:
    """Return the lines, each cut to the maximum length."""
    pieces, start = [], 0
    while len(data) - start > MAX_LINE:
        end = data.rfind(b"\n", start, start + MAX_LINE + 1) + 1
        if end:  # all lines up to there are short enough
            pieces.append(data[start:end])
            start = end
        else:
            pieces.append(data[start : start + MAX_LINE])
            end = data.find(b"\n", start)
            start = end if end >= 0 else len(data)
    return b"".join([*pieces, data[start:]]) if pieces else data

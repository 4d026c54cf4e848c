"""Log files → chunks that can be counted apart: ranges of plain files, and compressed files whole.

A line belongs to the chunk in which it begins, so every line is in exactly one, wherever the cuts lie. Of a line longer than
a megabyte, which Postfix cannot write, the first megabyte is taken.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple

from postward.agent.logs.archive import (
    BLOCK,
    JOURNAL,
    STANDARD_INPUT,
    blocks,
    last_written,
    readable,
    unpacked,
)
from postward.agent.text import local_now

CHUNK: Final = 16 << 20  # bytes
LONGEST_LINE: Final = 1 << 20  # bytes

Open = Callable[[], IO[bytes]]


class Chunk(NamedTuple):
    """A piece of a log.

    `end` is None for a file that is read whole: one that is compressed, or standard input. `written` is what year-less
    stamps are near to.
    """

    name: str
    start: int
    end: int | None
    size: int  # bytes on disk
    written: datetime


def chunks_of(paths: Sequence[Path], size: int = CHUNK) -> list[Chunk]:
    """The chunks of local files, in the order of the files.

    Raises:
        LogFileError: a file cannot be read.
    """
    found: list[Chunk] = []
    for path in dict.fromkeys(paths):
        if path in {STANDARD_INPUT, JOURNAL}:
            found.append(Chunk(str(path), 0, None, 0, local_now()))
            continue
        with readable(path):
            found += cut(str(path), partial(_open, path), path.stat().st_size, last_written(path), size)
    return found


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def cut(name: str, open_file: Open, length: int, written: datetime, size: int = CHUNK) -> list[Chunk]:
    """The chunks of one file of so many bytes."""
    with open_file() as file:
        whole = unpacked(file) is not file
    if whole or not length:  # a pipe has no length either
        return [Chunk(name, 0, None, length, written)]
    return [
        Chunk(name, start, min(start + size, length), min(size, length - start), written)
        for start in range(0, length, size)
    ]


def blocks_of(chunk: Chunk, open_file: Open | None = None) -> Iterator[bytes]:
    """The lines of a chunk, in blocks of whole lines.

    Args:
        chunk: which.
        open_file: opens the file; without it, it is a local one.

    Raises:
        LogFileError: it cannot be read, or is damaged.
    """
    path = Path(chunk.name)
    if chunk.end is None and open_file is None:
        yield from blocks(path)
        return
    with readable(chunk.name), open_file() if open_file is not None else path.open("rb") as file:
        if chunk.end is None:
            yield from _lines_from(unpacked(file), 0, None)
        else:
            yield from _lines_from(file, chunk.start, chunk.end)


def _lines_from(file: IO[bytes], start: int, end: int | None) -> Iterator[bytes]:
    """The lines that begin in a range of bytes."""
    rest = b""
    if start:
        file.seek(start - 1)  # where a line ends right before the range, the next one begins in it
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
        if len(rest) > LONGEST_LINE:
            yield rest[:LONGEST_LINE] + b"\n"
            start, rest = _next_line(file, start + len(rest))


def _next_line(file: IO[bytes], position: int) -> tuple[int, bytes]:
    """Where the next line begins, and what has been read of it and what follows."""
    while data := file.read(1 << 16):
        end = data.find(b"\n") + 1
        if end:
            return position + end, data[end:]
        position += len(data)
    return position, b""


def _shortened(data: bytes) -> bytes:
    """Lines without what is too long of them."""
    pieces, start = [], 0
    while len(data) - start > LONGEST_LINE:
        end = data.rfind(b"\n", start, start + LONGEST_LINE + 1) + 1
        if end:  # all lines up to there are short enough
            pieces.append(data[start:end])
            start = end
        else:
            pieces.append(data[start : start + LONGEST_LINE])
            end = data.find(b"\n", start)
            start = end if end >= 0 else len(data)
    return b"".join([*pieces, data[start:]]) if pieces else data

"""Where commands write: standard output whose reader may leave, and files that appear when they are whole.

Promise: `| head` changes no exit status, because output without a reader is discarded. Output that cannot be written
raises an OSError once, which names "standard output" or the file. It is raised before the logs are read, if possible.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class _StandardOutput(io.FileIO):
    is_read = True

    def write(self, data: Any, /) -> int | None:  # type: ignore[override] # the stub has no None
        if self.is_read:
            try:
                return super().write(data)
            except BrokenPipeError:
                self.is_read = False
            except OSError as error:
                self.is_read = False
                raise OSError(error.errno, error.strerror, "standard output") from None
        return memoryview(data).nbytes


def guard_standard_output() -> None:
    """Make `sys.stdout` keep the promise above, unless a test has replaced it."""
    stream = sys.__stdout__
    if stream is not None and stream is sys.stdout:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_StandardOutput(stream.fileno(), "w", closefd=False)),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.isatty(),
        )


def has_reader() -> bool:
    """Return False once the reader of standard output has closed it, so that a long job can end."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return not isinstance(raw, _StandardOutput) or raw.is_read


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Yield the path to write to; the file replaces `path` at the end of the block, unless an exception ends it.

    Devices, pipes, and files in folders that are not writable are written to directly.

    Raises:
        OSError: the file cannot be written.
    """
    path = path.resolve()
    try:
        if path.exists() and not (path.is_file() and os.access(path.parent, os.W_OK)):
            yield path
            return
        part = path.with_name(f".{path.name}.part")
        try:
            part.touch()
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error

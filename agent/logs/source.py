"""The interface of a source of log lines: a file, the journal or standard input.

Promise: the position matches the lines returned so far. A source that is opened at a saved position goes on with the
next line. If that line no longer exists, the gap is counted in `losses`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol


class Source(Protocol):
    """A source of log lines. No method blocks or raises an error; faults are reported in `problem`.

    Attributes:
        name: as in log.source; the key of the position in the checkpoint.
        folder: the folder of the log's files; None for other sources.
    """

    @property
    def problem(self) -> str | None:
        """The reason why the source cannot be read now; None if it can."""

    @property
    def losses(self) -> int:
        """Number of gaps and suppressed lines since the source was opened."""

    @property
    def skipping(self) -> bool:
        """True if the last read skipped bytes that are not lines, and there may be more to read at once."""

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path | None: ...

    @property
    def behind(self) -> bool:
        """True until the lines that existed when the source was opened have been returned.

        If the source cannot be read for about ten seconds, it becomes False too.
        """

    @property
    def position(self) -> Any:
        """The place after the last line returned, as a value for JSON; None if the source has not been read yet."""

    def read(self, limit: int = ...) -> bytes:
        """Return the next whole lines, about `limit` bytes, or nothing if there are none yet."""

    def unread(self) -> int:
        """Return the number of bytes known to be unread."""

    def sync(self) -> Callable[[], None]:
        """Return a function that flushes the lines before the position to disk.

        Call it, in any thread, before saving the position.
        """

    def close(self) -> None:
        """Close all files and processes."""


def nothing_to_sync() -> None:
    """Do nothing, for sources that have nothing to flush."""

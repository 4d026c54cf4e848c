"""What a source of log lines is to the agent, whether a file, the journal or standard input.

Promise: a position and the lines handed out so far belong together. A source that is opened again with its position
hands out the line after the last one, as far as somebody still has it; what nobody has any more is counted in `losses`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol


class Source(Protocol):
    """Where log lines come from. Nothing here waits and nothing here raises: faults are a state.

    Attributes:
        name: as log.source of the settings has it; the checkpoint keeps the position under it.
        folder: its changes are a hint that there is more to read; None if `descriptors` are.
        problem: why nothing can be read now; None if all is well.
        losses: gaps, and lines known to be suppressed, since the source was opened.
    """

    problem: str | None
    losses: int

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path | None: ...

    @property
    def behind(self) -> bool:
        """True until all that was there when it was opened has been handed out, or could not be for a while."""

    @property
    def position(self) -> Any:
        """What may go into JSON: all lines before it have been handed out, none after it. None: nothing was seen yet."""

    def read(self, limit: int = ...) -> bytes:
        """The next whole lines, about so many bytes, or nothing for now."""

    def unread(self) -> int:
        """Bytes that are known to wait."""

    def sync(self) -> Callable[[], None]:
        """What makes the lines before the position survive a power cut: call it, in any thread, before saving that."""

    def descriptors(self) -> Sequence[int]:
        """What becomes readable when there is more; others after each look."""

    def concerns(self, name: str) -> bool:
        """True if a change of this file in `folder` may mean more to read."""

    def close(self) -> None:
        """Let everything go."""


def nothing_to_sync() -> None:
    """For a source that has nothing to make safe."""

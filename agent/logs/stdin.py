"""Standard input as a source: for containers, where Postfix writes its log to standard output (maillog_file).

It has no position: what comes while nobody reads waits in the pipe, what was taken and not yet saved when the agent
is killed is gone. Its end is a problem, and the agent goes on telling what it knows.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from postward.agent.logs.pipe import Pipe
from postward.agent.logs.source import nothing_to_keep

NAME = "-"


class StandardInput:
    """Lines of standard input (or of another descriptor)."""

    name = NAME
    folder: Path | None = None
    behind = False  # nothing comes again
    position = None

    def __init__(self, descriptor: int | None = None) -> None:
        self.problem: str | None = None
        self.losses = 0
        self._pipe = Pipe(sys.stdin.fileno() if descriptor is None else descriptor)

    def read(self, limit: int = 1 << 17) -> bytes:
        """The next whole lines, or nothing for now."""
        try:
            lines = self._pipe.read(limit)
        except OSError as error:
            self.problem = f"standard input: {error.strerror}"
            return b""
        if self._pipe.has_ended:
            self.problem = "standard input has ended: nobody writes the log any more"
            rest = self._pipe.take_rest()
            lines += rest and rest + b"\n"
        return lines

    def unread(self) -> int:
        """Bytes in the pipe."""
        return self._pipe.unread()

    def keeper(self) -> Callable[[], None]:
        """Nothing can be made safe."""
        return nothing_to_keep

    def descriptors(self) -> Sequence[int]:
        """The input, while it lasts."""
        return () if self._pipe.has_ended else (self._pipe.descriptor,)

    def concerns(self, _name: str) -> bool:
        """No file matters."""
        return False

    def close(self) -> None:
        """It is not ours to close."""

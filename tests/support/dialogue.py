"""A command on a terminal of its own, answered as a person would, prompt by prompt."""

import os
import pty
import select
import signal
import time
from collections.abc import Mapping, Sequence

_DEADLINE = 60.0  # seconds until a prompt or the end


class Dialogue:
    """A command on a pseudo-terminal, which is also its controlling terminal.

    Attributes:
        text: all that the command has written, with echoed answers, without carriage returns.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.text = ""
        self._answered = 0  # length of `text` at the last answer
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execve(command[0], list(command), {**os.environ, **env, "TERM": "dumb"})  # noqa: S606

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a prompt that contains a text, and type an answer and Enter."""
        end = time.monotonic() + _DEADLINE
        while not (self._last_line().endswith(": ") and prompt in self._last_line()):
            if not self._read(end):
                raise AssertionError(f"no prompt has {prompt!r}:\n{self.text}")
        self._answered = len(self.text)
        os.write(self._terminal, f"{text}\n".encode())

    def end(self) -> int:
        """Wait until the command ends, and return its exit status."""
        end = time.monotonic() + _DEADLINE
        while self._read(end):
            pass
        if time.monotonic() >= end:
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        os.close(self._terminal)
        if time.monotonic() >= end:
            raise AssertionError(f"the command waits:\n{self.text}")
        return os.waitstatus_to_exitcode(status)

    def _last_line(self) -> str:
        return self.text[self._answered :].rpartition("\n")[2]

    def _read(self, end: float) -> bool:
        """Read more text. Return False at the end of the command and at the deadline."""
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # EIO: the command has ended
            return False
        self.text += data.decode(errors="replace").replace("\r", "")
        return bool(data)

"""Random writes and rotations of a mail log, while an agent reads it, is stopped and is killed.

Promise: a round ends only when the agent has counted exactly the lines written, and no counter ever decreased between
two scrapes. The seed determines everything random, but not how far the agent gets between two steps.
How it fails: AssertionError with the counts, the files of the log and the saved position.
"""

import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from postward.agent.checkpoint import read_checkpoint
from tests.support.postfix import PostfixInstance
from tests.support.product import AgentProcess, write_reading_settings
from tests.support.waiting import wait_for
from tools.soak.log_writer import LogWriter

_HEADER = "2024-06-01T10:00:00.{0:06d}+00:00 mail "
_SENT = (
    "postfix/smtp[77]: {0:010X}: to=<u{0}@example.org>, "
    "relay=relay.example.test[192.0.2.1]:587, delay=0.5, delays=0.1/0.1/0.1/0.2, dsn=2.0.0, "
    "status=sent (250 2.0.0 Ok: queued as {0:010X})"
)
_FOREIGN = "cron[78]: run {0:010X}"
_DEADLINE = 120.0  # seconds; on an idle machine the agent reads a burst in a few
_KEPT = 12  # max. rotated files; a round with more ends by deleting them all


def message(number: int) -> str:
    """Return tag and text of the line with a number: a delivery, or for every fourth a line of another program."""
    return (_SENT if number % 4 else _FOREIGN).format(number)


def _line(number: int) -> str:
    return _HEADER.format(number) + message(number)


class Counts(NamedTuple):
    """Counters in the agent's metrics: log lines and sent deliveries."""

    lines: int
    sent: int


class LogSoak:
    """One log, its writer and an agent, for any number of rounds.

    Attributes:
        steps: the last steps, 200 and those of the current round at most.
        kills: how often the agent was killed with SIGKILL.
        running: the agent was started and not stopped or killed since.
    """

    def __init__(self, folder: Path, seed: int, burst: int) -> None:
        self.seed = seed
        self.steps: list[str] = []
        self.kills = 0
        self._random = random.Random(seed)  # noqa: S311 - the seed makes a run repeatable
        self._burst = burst
        self._seen = Counts(0, 0)
        self._settings = self._write_settings(folder)
        self.agent = AgentProcess(self._settings)
        self.agent.ready_timeout = _DEADLINE
        self.running = False
        self._cut = False
        self._start()  # before the log exists, so that the agent counts all of its lines
        self._open_log()

    def _write_settings(self, folder: Path) -> Path:
        postfix = PostfixInstance(folder)
        self.log = postfix.maillog
        return write_reading_settings(folder, postfix)

    def _open_log(self) -> None:
        self.writer = LogWriter(self.log, _line)

    def close(self) -> None:
        """Kill the agent and close the log."""
        if self.running:
            self._end(signal.SIGKILL)
        self._close_log()

    def _close_log(self) -> None:
        self.writer.close()

    @property
    def written(self) -> int:
        """The number of complete lines so far."""
        return len(self.writer.written)

    def summary(self) -> str:
        """Return the counts of lines and kills as text."""
        return f"{self.written} lines counted, {self.kills} kills"

    # The agent

    def _start(self) -> None:
        if not self.running:
            self.agent.start()
            self.running = True
            self._scrape()

    def _end(self, number: signal.Signals) -> None:
        if self.running:
            self.agent.stop(number)
            self.running = False

    def _stop(self) -> None:
        self._end(signal.SIGTERM)

    def _kill(self) -> None:
        self.kills += self.running
        self._end(signal.SIGKILL)

    def _change_settings(self) -> None:
        """Change a setting, so that the process replaces its agent by a new one."""
        text = re.sub(
            r'username = ".*"', f'username = "user{self._random.randrange(1000)}"', self._settings.read_text()
        )
        beside = self._settings.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self._settings)

    def _kill_at_start(self) -> None:
        """Kill the agent right after its start, while it may still read the lines written before."""
        self._kill()
        self.agent.launch()
        self.running = True
        self._kill()

    def _scrape(self) -> Counts:
        """Return the counters of the agent, and check that none decreased."""
        counts = Counts(
            int(self.agent.value("postward_log_lines_total")),
            int(self.agent.value("postfix_deliveries_total", status="sent")),
        )
        assert counts.lines >= self._seen.lines, f"a counter decreased: {self._seen} → {counts}"
        assert counts.sent >= self._seen.sent, f"a counter decreased: {self._seen} → {counts}"
        self._seen = counts
        return counts

    def _expected(self) -> Counts:
        return Counts(self.written, self.written - self.written // 4)

    def _has_all(self) -> bool:
        return self._scrape() == self._expected()

    def settle(self) -> None:
        """Wait until all lines are counted, then stop the agent, which saves its position."""
        self._wait_for_all()
        self._stop()

    def _wait_for_all(self) -> None:
        self._start()
        try:
            wait_for(self._has_all, timeout=_DEADLINE)
        except AssertionError:
            raise AssertionError(
                f"written {self._expected()}, counted {self._seen}\n{self._describe()}\n"
                f"output of the agent: {self.agent.output()[-500:]}"
            ) from None

    def _describe(self) -> str:
        """Return the files of the log and the saved position as text, for the message of a failure."""
        lines = [
            f"{file.name}: inode {file.stat().st_ino}, {file.stat().st_size} bytes"
            for file in sorted(self.log.parent.glob(f"{self.log.name}*"))
        ]
        checkpoint = read_checkpoint(self._settings.parent / "state" / "checkpoint.json")
        return "\n".join([*lines, *map(str, (checkpoint and checkpoint.positions.get(str(self.log))) or [])])

    # The log

    def _append(self) -> None:
        self.writer.append(self._random.randint(1, 50))

    def _append_much(self) -> None:
        self.writer.append(self._random.randint(1000, self._burst))

    def _begin_line(self) -> None:
        self.writer.begin_line(self._random.randrange(1000))

    def _rename(self) -> None:
        self.writer.rename(create=self._random.random() < 0.7)

    def _copytruncate(self) -> None:
        """Truncate the log, sometimes in the middle of a line.

        The agent can join the halves of such a line only if it saved its position before the truncation.
        """
        if self.writer.amidst_line and self._random.random() < 0.5:
            self.settle()
            self._cut = True
        else:
            self.writer.finish_line()
        self.writer.copytruncate()

    def _compress(self) -> None:
        if self._cut:
            self.writer.finish_line()
            self.settle()
            self._cut = False
        self.writer.compress(self._random.randrange(1000))

    def _delete_log(self) -> None:
        self.writer.finish_line()
        self.settle()
        self.writer.delete_log()

    def _copy_aside(self) -> None:
        self.writer.finish_line()
        self.settle()
        self.writer.copy_aside()

    # Rounds

    def _log_actions(self) -> list[tuple[int, Callable[[], None]]]:
        """Return what happens to the log, each with its weight."""
        return [
            (30, self._append),
            (2, self._append_much),
            (10, self._begin_line),
            (10, self._rename),
            (8, self.writer.reopen),
            (8, self._copytruncate),
            (8, self._compress),
            (1, self._delete_log),
            (1, self._copy_aside),
        ]

    def _finish_writing(self) -> None:
        """Leave no line incomplete, and no writer at a rotated file."""
        self.writer.reopen()

    def _delete_old(self) -> None:
        """Delete rotated files that became too many, once they are counted."""
        if len(self.writer.rotated()) > _KEPT:
            self.settle()
            self.writer.delete_rotated()
            self._wait_for_all()

    def round(self) -> None:
        """Run random steps, then wait until the agent has counted all lines."""
        actions: list[tuple[int, Callable[[], None]]] = [
            *self._log_actions(),
            (6, self._start),
            (2, self._stop),
            (4, self._kill),
            (3, self._change_settings),
            (1, self._kill_at_start),
        ]
        del self.steps[:-200]
        for _ in range(self._random.randint(5, 40)):
            [(_, action)] = self._random.choices(actions, [weight for weight, _ in actions])
            self.steps.append(action.__name__.strip("_"))
            action()
        self._finish_writing()
        self._wait_for_all()
        if self._random.random() < 0.5:
            self._stop()  # otherwise it keeps running, and a kill makes it read the last seconds again
        self._delete_old()

"""Property tests: after random steps of a log's writer and its reader, every line has been counted once."""

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from postward.agent.logs.segment import FilePosition
from postward.agent.logs.tail import FileSource
from tools.soak.log_writer import LogWriter


class Reader:
    """A source, the lines that it returned, and a checkpoint to which a crash returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 0.0
        self.counted: list[bytes] = []
        self.source = FileSource(path, (), clock=lambda: self.now)
        self._saved: tuple[list[FilePosition] | None, int] = ([], 0)

    def read(self, limit: int) -> bytes:
        """Read one batch."""
        data = self.source.read(limit)
        assert data.endswith(b"\n") or not data
        self.counted += data.splitlines(keepends=True)
        return data

    def drain(self) -> None:
        """Read everything that is there."""
        while self.read(4096):
            pass

    def checkpoint(self) -> None:
        """Save the position and the counts."""
        self._saved = self.source.marks(), len(self.counted)

    def crash(self) -> None:
        """Start again from the checkpoint."""
        marks, count = self._saved
        del self.counted[count:]
        self.source.close()
        self.source = FileSource(self.path, marks, clock=lambda: self.now)


def _line(number: int) -> str:
    """Return a unique line. All begin alike, like lines of the same second, and differ near the beginning and at the end."""
    return f"2024-06-01T10:00:00.<{number}>{'x' * (2 * LogWriter.LEAST + number * 37 % 200)}<{number}>"


class World:
    """A writer and a reader of one log."""

    def __init__(self, folder: Path, *, dated: bool) -> None:
        self.writer = LogWriter(folder / "mail.log", _line, dated=dated)
        self.reader = Reader(folder / "mail.log")
        self.has_cut_line = False
        self.settle()

    def settle(self) -> None:
        """Read and save everything, so that a deletion loses no line."""
        self.reader.drain()
        self.reader.checkpoint()

    def restart(self) -> None:
        """Stop cleanly and start."""
        self.reader.checkpoint()
        self.reader.crash()

    def copy_aside(self) -> None:
        """Copy a log of which at least one line was read; another copy looks like a rotated file."""
        self.writer.finish_line()
        self.settle()
        self.writer.copy_aside()

    def copytruncate(self) -> None:
        """Copy and truncate. The reader can join a line that is cut in two only if it saw that the log was truncated."""
        if self.writer.amidst_line:
            self.settle()
            self.has_cut_line = True
        self.writer.copytruncate()

    def compress(self, which: int) -> None:
        """Compress a file. A compressed file does not show whether it was renamed or copied before."""
        if self.has_cut_line:
            self.writer.finish_line()
            self.settle()
            self.has_cut_line = False
        self.writer.compress(which)

    def delete_log(self) -> None:
        """Delete and recreate the log."""
        self.writer.finish_line()
        self.settle()
        self.writer.delete_log()

    def delete_rotated(self) -> None:
        """Delete all rotated files, as logrotate deletes the oldest."""
        self.writer.finish_line()
        self.settle()
        self.writer.delete_rotated()

    def wait(self) -> None:
        """Let 50 seconds pass."""
        self.reader.now += 50.0


_Step = tuple[str, Callable[[World, int], object]]
_STEPS: list[_Step] = [
    ("append", lambda world, n: world.writer.append(1 + n % 40)),
    ("begin_line", lambda world, n: world.writer.begin_line(n)),
    ("rename", lambda world, n: world.writer.rename(create=n % 2 == 0)),
    ("reopen", lambda world, n: world.writer.reopen()),
    ("copytruncate", lambda world, n: world.copytruncate()),
    ("compress", lambda world, n: world.compress(n)),
    ("copy_aside", lambda world, n: world.copy_aside()),
    ("delete_log", lambda world, n: world.delete_log()),
    ("delete_rotated", lambda world, n: world.delete_rotated()),
    ("read", lambda world, n: world.reader.read(1 + n * 8)),
    ("drain", lambda world, n: world.reader.drain()),
    ("checkpoint", lambda world, n: world.reader.checkpoint()),
    ("crash", lambda world, n: world.reader.crash()),
    ("restart", lambda world, n: world.restart()),
    ("wait", lambda world, n: world.wait()),
]
_BY_NAME = dict(_STEPS)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.tuples(st.sampled_from(list(_BY_NAME)), st.integers(0, 255)), max_size=40),
    dated=st.booleans(),
)
@example(
    steps=[("begin_line", 0), ("copytruncate", 0), ("append", 0), ("copytruncate", 0), ("append", 0)],
    dated=False,
)
def test_every_line_is_counted_once(steps: list[tuple[str, int]], dated: bool) -> None:
    """After any steps, the lines counted are the lines written."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), dated=dated)
        for name, number in steps:
            _BY_NAME[name](world, number)
        world.writer.reopen()
        world.reader.drain()
        assert Counter(world.reader.counted) == Counter(world.writer.written)
        world.reader.source.close()
        world.writer.close()


# Calls of the reader before which the writer can run.
_PLACES = (
    "postward.agent.logs.segment.Segment.__init__",
    "postward.agent.logs.segment.Segment.read_at",
    "postward.agent.logs.segment.Segment.size",
    "postward.agent.logs.segment.Segment.was_rewritten",
    "postward.agent.logs.segment.Segment.has_no_name",
    "postward.agent.logs.rotation.list_files",
    "postward.agent.logs.segment.Segment.is_at",
)
_WRITER_STEPS = ("append", "append", "begin_line", "rename", "reopen", "copytruncate", "compress")


class Interruptions:
    """Steps of the writer that run before certain calls of the reader."""

    def __init__(self, writer: LogWriter, steps: list[tuple[int, str, int]]) -> None:
        self._writer = writer
        self._steps = list(reversed(steps))
        self._calls = 0
        self._busy = False

    def step(self) -> None:
        """Run the next step of the writer, if its number of calls is reached."""
        self._calls += 1
        if self._busy or not self._steps or self._calls < self._steps[-1][0]:
            return
        self._busy = True
        self._calls = 0
        _, name, number = self._steps.pop()
        if name in ("copytruncate", "compress"):
            self._writer.finish_line()  # during a survey the reader cannot join a line that is cut in two
        steps: dict[str, Callable[[], None]] = {
            "append": lambda: self._writer.append(1 + number % 5),
            "begin_line": lambda: self._writer.begin_line(number),
            "rename": lambda: self._writer.rename(create=number % 2 == 0),
            "reopen": self._writer.reopen,
            "copytruncate": self._writer.copytruncate,
            "compress": lambda: self._writer.compress(number),
        }
        steps[name]()
        self._busy = False

    @property
    def are_over(self) -> bool:
        """True if no step is left."""
        return not self._steps

    def before(self, function: Callable[..., object]) -> Callable[..., object]:
        """Return the function with a step of the writer before it."""

        def interrupted(*args: object, **kwargs: object) -> object:
            self.step()
            return function(*args, **kwargs)

        return interrupted


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 12), st.sampled_from(_WRITER_STEPS), st.integers(0, 255)), max_size=40
    ),
    dated=st.booleans(),
    crashes=st.integers(0, 3),
)
def test_the_writer_runs_between_any_two_calls_of_the_reader(
    steps: list[tuple[int, str, int]], dated: bool, crashes: int
) -> None:
    """Changes of the log during a read lose and double no line."""
    interrupted(steps, dated=dated, crashes=crashes)


def interrupted(steps: list[tuple[int, str, int]], *, dated: bool, crashes: int) -> None:
    """Read while the steps run, with crashes, then compare the lines."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        world = World(Path(folder), dated=dated)
        interruptions = Interruptions(world.writer, steps)
        for place in _PLACES:
            patch.setattr(place, interruptions.before(resolve_name(place)))
        while not interruptions.are_over:
            world.reader.drain()
            if crashes:
                world.reader.checkpoint()
                world.reader.drain()
                world.reader.crash()
                crashes -= 1
        world.writer.reopen()
        world.reader.drain()
        assert Counter(world.reader.counted) == Counter(world.writer.written)
        world.reader.source.close()
        world.writer.close()

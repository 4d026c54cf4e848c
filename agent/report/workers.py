"""Chunks → one tally: in this process, or on all cores.

Each process takes the next chunk that nobody has, counts into a tally of its own, and hands that over when no chunk is left.
How it fails: a chunk that cannot be read, or not to its end, is named, the others are counted all the same.
"""

import gc
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, Final, NamedTuple

from postward.agent.logs.archive import LogFileError
from postward.agent.report.chunks import Chunk, Open, blocks_of
from postward.agent.report.counter import HostNames, ReportCounting
from postward.agent.report.fast_path import Skimmer
from postward.agent.report.tally import Limits, ReportTally
from postward.parsers import parse

_WORTH_PROCESSES: Final = (
    8 << 20
)  # bytes on disk: starting processes takes as long as counting a few megabytes
_POLL_INTERVAL: Final = 0.2  # seconds between two looks at how far the processes are

Progress = Callable[[int], object]
Relay = tuple[str, int, str]  # host, port, name in the settings


class Job(NamedTuple):
    """How chunks are counted."""

    relays: tuple[Relay, ...] = ()
    limits: Limits = Limits()

    def tally(self) -> ReportTally:
        """An empty one."""
        return ReportTally((name for _, _, name in self.relays), self.limits)


class Counted(NamedTuple):
    """A tally, and what could not be read."""

    tally: ReportTally
    errors: list[str]


def count(job: Job, chunks: Iterable[Chunk], progress: Progress = lambda _: None) -> Counted:
    """Count chunks in this process.

    Args:
        job: how.
        chunks: which.
        progress: told how many bytes on disk more are done.
    """
    counted = Counted(job.tally(), [])
    names = HostNames(job.relays)
    with _without_cycles():
        for chunk in chunks:
            try:
                count_into(counted.tally, names, chunk)
            except LogFileError as error:
                counted.errors.append(str(error))
            progress(chunk.size)
    return counted


@contextmanager
def _without_cycles() -> Iterator[None]:
    """Counting makes no reference cycles, and looking for them over and over takes a fifth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def count_into(
    tally: ReportTally, names: HostNames, chunk: Chunk, open_file: Open | None = None
) -> ReportTally:
    """Count one chunk.

    Raises:
        LogFileError: it cannot be read to its end; what was read is counted.
    """
    counting = ReportCounting(tally, names, chunk.written)
    skimmer = Skimmer(counting, lambda line: counting.count(*parse(line.removesuffix("\r"))))
    try:
        for block in blocks_of(chunk, open_file):
            skimmer.feed(block.decode("utf-8", "replace"))
    finally:
        skimmer.settle()
    return tally


def count_on_all_cores(
    job: Job, chunks: Sequence[Chunk], jobs: int, progress: Progress = lambda _: None
) -> Counted:
    """Count chunks in so many processes, or in this one if that is quicker.

    Raises:
        ChildProcessError: a process ended before its work was done.
    """
    jobs = min(jobs, len(chunks))
    if jobs < 2 or sum(chunk.size for chunk in chunks) < _WORTH_PROCESSES:
        return count(job, chunks, progress)
    context = multiprocessing.get_context("spawn")  # a fork beside a progress bar's thread may hang
    following, done = context.Value("q", 0), context.Value("q", 0)
    ordered = sorted(chunks, key=lambda chunk: -chunk.size)  # so that nobody begins a long one last
    readers: list[Connection] = []
    workers = []
    for _ in range(jobs):
        reader, writer = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(job, ordered, following, done, writer), daemon=True)
        worker.start()
        writer.close()  # else its end is not seen when the process ends
        readers.append(reader)
        workers.append(worker)
    counted = Counted(job.tally(), [])
    for part in _results(readers, done, progress):
        counted.tally.merge(part.tally)
        counted.errors.extend(part.errors)
    for worker in workers:
        worker.join()
    return Counted(counted.tally, sorted(counted.errors))


def _results(readers: list[Connection], done: Any, progress: Progress) -> Iterator[Counted]:
    told = 0
    waiting = list(readers)
    while waiting:
        ready = wait(waiting, _POLL_INTERVAL)
        told, before = done.value, told
        progress(told - before)
        for reader in waiting.copy():
            if reader in ready:
                waiting.remove(reader)
                try:
                    part: Counted = reader.recv()
                except EOFError as error:
                    raise ChildProcessError(
                        "a counting process was ended, perhaps for want of memory; try `--jobs 1`"
                    ) from error
                yield part


def _work(job: Job, chunks: list[Chunk], following: Any, done: Any, writer: Connection) -> None:
    def mine() -> Iterator[Chunk]:
        while True:
            with following.get_lock():
                number = following.value
                following.value += 1
            if number >= len(chunks):
                return
            yield chunks[number]

    def tell(size: int) -> None:
        with done.get_lock():
            done.value += size

    writer.send(count(job, mine(), tell))
    writer.close()

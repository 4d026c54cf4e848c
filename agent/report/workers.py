"""Chunks → one tally: in this process, or on all cores.

Chunks are dealt into batches, and each batch returns one tally. At most `_BATCHES_PER_JOB` tallies for each process exist at
a time, and each is merged when its batch ends.

How it fails: a chunk that cannot be read to its end is named in `errors`; the others are counted.
"""

import gc
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import datetime
from typing import Final, NamedTuple

from postward.agent.logs.archive import LogFileError
from postward.agent.report.chunks import Chunk, Open, blocks_of
from postward.agent.report.counter import HostNames, LineCounter
from postward.agent.report.period import Period, Within
from postward.agent.report.tally import Limits, ReportTally
from postward.parsers.scan import Scanner

# To start a process and to merge its samples takes as much CPU time as to count 30 to 60 MB.
_MIN_BYTES: Final = 64 << 20
_UNPACKED: Final = 8  # bytes of a log for each byte of it that is compressed
_BATCHES_PER_JOB: Final = 8

Progress = Callable[[int], object]
Relay = tuple[str, int, str]  # host, port, name in the settings


class Job(NamedTuple):
    """How chunks are counted."""

    relays: tuple[Relay, ...] = ()
    limits: Limits = Limits()
    period: Period = Period()
    addresses: bool = False

    def tally(self) -> ReportTally:
        """Return an empty tally."""
        known = (name for _, _, name in self.relays)
        return ReportTally(known, self.limits, addresses=self.addresses)

    def before(self, now: datetime) -> "Job | None":
        """Return the same for the period before; None for a period without a beginning."""
        before = self.period.before(now)
        return None if before is None else self._replace(period=before)


class Counted(NamedTuple):
    """A tally, and a message for each chunk that could not be read."""

    tally: ReportTally
    errors: list[str]


def count(job: Job, chunks: Iterable[Chunk], progress: Progress = lambda _: None) -> Counted:
    """Count chunks in this process.

    Args:
        job: relays, limits and period.
        chunks: the chunks.
        progress: called with the bytes on disk of each counted chunk.
    """
    counted = Counted(job.tally(), [])
    names = HostNames(job.relays)
    with _without_garbage_collection():
        for chunk in chunks:
            try:
                count_into(counted.tally, names, chunk, job.period)
            except LogFileError as error:
                counted.errors.append(str(error))
            progress(chunk.size)
    return counted


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable the collector: counting makes no reference cycles, and the search for them takes a fifth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def count_into(
    tally: ReportTally,
    names: HostNames,
    chunk: Chunk,
    period: Period,
    open_file: Open | None = None,
) -> ReportTally:
    """Count one chunk.

    Raises:
        LogFileError: it cannot be read to its end; the lines before are counted.
    """
    counting = LineCounter(tally, names, chunk.written)
    scanner = Scanner(counting.wanted, excerpts=True)
    within = Within(period, counting.clock)
    try:
        for block in blocks_of(chunk, open_file, period.in_the_journal):
            text = block.decode("utf-8", "replace")
            counting.observe_block(scanner.scan(text if period == Period() else within.lines(text)))
    finally:
        counting.settle()
        tally.reaches_back |= within.reaches_back
    return tally


def count_on_all_cores(
    job: Job,
    chunks: Sequence[Chunk],
    jobs: int,
    progress: Progress = lambda _: None,
    *,
    min_bytes: int = _MIN_BYTES,
) -> Counted:
    """Count chunks in `jobs` processes, or in this process if they have fewer than about `min_bytes` of lines.

    Raises:
        ChildProcessError: a process ended before its batch was counted.
    """
    jobs = min(jobs, len(chunks))
    lines = sum(chunk.size if chunk.end is not None else _UNPACKED * chunk.size for chunk in chunks)
    if jobs < 2 or lines < min_bytes:
        return count(job, chunks, progress)
    whole = Counted(job.tally(), [])
    with ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),  # a fork beside a progress bar's thread may hang
        initializer=_end_on_interrupt,
    ) as pool:
        try:
            batches = {
                pool.submit(count, job, batch): batch for batch in _batches(chunks, jobs * _BATCHES_PER_JOB)
            }
            for future in as_completed(batches):
                part = future.result()
                whole.tally.merge(part.tally)
                whole.errors.extend(part.errors)
                progress(sum(chunk.size for chunk in batches.pop(future)))
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a counting process ended early, perhaps for lack of memory; try `--jobs 1`"
            ) from error
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
    return Counted(whole.tally, sorted(whole.errors))


def _end_on_interrupt() -> None:
    """End a worker on Ctrl-C at once and without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _batches(chunks: Sequence[Chunk], number: int) -> list[list[Chunk]]:
    """Deal chunks into batches of similar size, the largest first."""
    batches: list[list[Chunk]] = [[] for _ in range(min(number, len(chunks)))]
    for place, chunk in enumerate(sorted(chunks, key=lambda chunk: -chunk.size)):
        batches[place % len(batches)].append(chunk)
    return batches

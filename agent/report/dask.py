"""Chunks → one tally on a Dask cluster: the same map and the same merge, over any fsspec URL (local, `s3://`, …).

Needs the extra `dask`, here and on the workers, which must reach the files under the same URLs. If a worker dies, another
one counts its chunks again; each chunk is in the result once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import IO, Any, Final, cast

import fsspec
from distributed import Client, as_completed

from postward.agent.logs.archive import LogFileError, readable
from postward.agent.report.chunks import Chunk, cut
from postward.agent.report.counter import HostNames
from postward.agent.report.workers import Counted, Job, Progress, count_into
from postward.agent.text import local_now

_MERGED_AT_ONCE: Final = 8
_TIMEOUT: Final = 20.0  # seconds


class ClusterError(Exception):
    """The cluster cannot be reached, or gave up."""


def count_on_dask(
    address: str,
    job: Job,
    urls: Sequence[str],
    chunk_size: int,
    progress: Progress,
    *,
    timeout: float = _TIMEOUT,
) -> Counted:
    """Count files on a cluster.

    Args:
        address: address of the scheduler, such as tcp://scheduler:8786.
        job: relays and limits.
        urls: the files.
        chunk_size: bytes of a plain file that one task counts.
        progress: called with the bytes on disk of each counted chunk.
        timeout: seconds for the scheduler to answer.

    Raises:
        ClusterError: it cannot be reached, or gave up.
    """
    chunks, errors = _chunks(urls, chunk_size)
    if not chunks:
        return Counted(job.tally(), errors)
    with _client(address, timeout) as client:
        # pure=False: the cluster must not answer a later report from its cache.
        leaves = client.map(partial(_count, job), chunks, pure=False, retries=3)
        sizes = {leaf.key: chunk.size for leaf, chunk in zip(leaves, chunks, strict=True)}
        whole = _merged_on(client, job, leaves)
        for leaf in as_completed(leaves, loop=client.loop):  # type: ignore[no-untyped-call]
            progress(sizes[leaf.key])
        counted = cast(Counted, whole.result())
    return Counted(counted.tally, sorted([*errors, *counted.errors]))


@contextmanager
def _client(address: str, timeout: float) -> Iterator[Any]:
    try:
        with Client(address, timeout=timeout, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            yield client
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}: {error}") from error
    except RuntimeError as error:  # KilledWorker and its like
        raise ClusterError(f"the Dask cluster at {address} gave up: {error}") from error


def _chunks(urls: Sequence[str], size: int) -> tuple[list[Chunk], list[str]]:
    chunks: list[Chunk] = []
    errors: list[str] = []
    for url in urls:
        try:
            with readable(url):
                system, path = fsspec.core.url_to_fs(url)
                length = int(system.info(path)["size"] or 0)
                chunks += cut(url, partial(_open, url), length, _written(system, path), size)
        except LogFileError as error:
            errors.append(str(error))
    return chunks, errors


def _written(system: Any, path: str) -> datetime:
    """Return when a file was last written; the present where the file system does not know."""
    try:
        moment: datetime = system.modified(path)
    except (NotImplementedError, KeyError, TypeError):
        return local_now()
    return moment.astimezone()


def _open(url: str) -> IO[bytes]:
    return cast(IO[bytes], fsspec.open(url, "rb").open())


def _count(job: Job, chunk: Chunk) -> Counted:
    counted = Counted(job.tally(), [])
    try:
        count_into(counted.tally, HostNames(job.relays), chunk, job.period, partial(_open, chunk.name))
    except LogFileError as error:
        counted.errors.append(str(error))
    return counted


def _merged_on(client: Any, job: Job, parts: list[Any]) -> Any:
    """Merge in a tree, so that no worker holds more than a few tallies."""
    while len(parts) > 1:
        groups = [parts[start : start + _MERGED_AT_ONCE] for start in range(0, len(parts), _MERGED_AT_ONCE)]
        parts = [client.submit(_merge, job, group, pure=False, retries=3) for group in groups]
    return parts[0]


def _merge(job: Job, parts: list[Counted]) -> Counted:
    """Merge into a new tally: the parts are needed again if a worker dies."""
    merged = Counted(job.tally(), [])
    for part in parts:
        merged.tally.merge(part.tally)
        merged.errors.extend(part.errors)
    return merged

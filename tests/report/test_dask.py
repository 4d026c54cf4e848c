"""A report counted on a real Dask scheduler with two workers, one of which is killed half-way: the same bytes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from postward.agent.commands.report import command
from postward.agent.report.summary import summarise
from postward.agent.report.workers import Job
from tests.support import wait_for
from tools.bench.lines import log_lines

if not os.environ.get("CI"):
    pytest.importorskip("distributed")
from postward.agent.report.dask import ClusterError, count_on_dask

ROOT = Path(__file__).parents[2]


@contextmanager
def _process(*arguments: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{arguments[0]}.log").open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
            stdout=output,
            stderr=output,
            cwd=ROOT,
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers on the loopback address; its address, and the workers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(
            _process("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", folder=folder)
        )
        workers = [
            stack.enter_context(
                _process(
                    *(
                        "worker",
                        address,
                        "--nthreads",
                        "1",
                        "--no-dashboard",
                        "--no-nanny",
                        "--host",
                        "127.0.0.1",
                    ),
                    *("--local-directory", str(folder), "--memory-limit", "0"),
                    folder=folder,
                )
            )
            for _ in range(2)
        ]
        log = folder / "scheduler.log"
        wait_for(lambda: log.read_text().count("Register worker") >= 2, timeout=90, what="two workers")
        yield address, workers


def test_the_same_bytes_also_when_a_worker_is_killed(tmp_path: Path) -> None:
    """One process, the cluster, and the cluster after one of its workers was killed half-way."""
    log = tmp_path / "mail.log"
    log.write_text("".join(log_lines(20_000)))
    url = f"file://{log}"

    def report(*arguments: str) -> str:
        result = CliRunner().invoke(command, ["--json", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    whole = report("--jobs", "1", str(log))
    with cluster(tmp_path) as (address, workers):
        assert report("--dask", address, "--chunk", "100003", url) == whole

        counted: list[int] = []
        killed: list[int] = []

        def kill_half_way(more: int) -> None:
            counted.append(more)
            if sum(counted) * 2 > log.stat().st_size and not killed:
                workers[0].send_signal(signal.SIGKILL)
                killed.append(workers[0].wait())

        tally = count_on_dask(address, Job(), [url], 50_021, kill_half_way).tally
        assert json.dumps(summarise(tally), ensure_ascii=False) + "\n" == whole
        assert killed == [-signal.SIGKILL]


def test_a_missing_scheduler_is_an_error(tmp_path: Path) -> None:
    """The error names its address."""
    (tmp_path / "mail.log").write_text("x\n")

    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        count_on_dask("tcp://127.0.0.1:1", Job(), [str(tmp_path / "mail.log")], 1000, print, timeout=0.5)

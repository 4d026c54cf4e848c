"""Measure the agent's log reading: delay until a line is counted, scrapes during a backlog, memory after many lines.

A real agent reads a real file. Nothing is asserted. Run `python -m tools.bench.reading [MB of backlog]` in the
repository's root.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.postfix import PostfixInstance
from tests.support.product import AgentProcess, write_reading_settings
from tests.support.waiting import wait_for
from tools.bench.lines import log_lines

_SOON = 100_000  # lines
_ROUNDS = 50
_REST = 0.5  # seconds; longer than the agent caches a page


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[AgentProcess, Path]]:
    """Run an agent and a Postfix. The agent reads another log, so that its lines are known."""
    postfix = PostfixInstance(folder)
    log = folder / "read.log"
    log.touch()
    agent = AgentProcess(write_reading_settings(folder, postfix, source=str(log)))
    agent.ready_timeout = 120.0  # a busy machine may be slow
    with postfix, agent:
        yield agent, log


def latencies(agent: AgentProcess, log: Path) -> list[float]:
    """Return the milliseconds from writing a line until /metrics counts it, sorted."""
    line = next(iter(log_lines(1)))
    samples = []
    seen = _counted(agent)
    for _ in range(_ROUNDS):
        time.sleep(_REST)
        started = time.perf_counter()
        with log.open("a") as file:
            file.write(line)
        while _counted(agent) == seen:
            time.sleep(0.002)
        samples.append((time.perf_counter() - started) * 1000)
        seen += 1
    return sorted(samples)


def _counted(agent: AgentProcess) -> float:
    """Return the number of lines that the agent has counted."""
    rows = agent.get("/metrics")[1].splitlines()
    return sum(float(row.rpartition(" ")[2]) for row in rows if row.startswith("postward_log_lines_total{"))


def scrapes(agent: AgentProcess, lines: float) -> list[float]:
    """Scrape every 0.25 s until `lines` lines are counted; return the milliseconds of each scrape, sorted."""
    samples = []
    counted = 0.0
    while counted < lines:
        started = time.perf_counter()
        counted = _counted(agent)
        samples.append((time.perf_counter() - started) * 1000)
        time.sleep(0.25)
    return sorted(samples)


def memory(agent: AgentProcess) -> float:
    """Return the resident memory in MB."""
    status = Path(f"/proc/{agent.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _say(title: str, values: list[float]) -> None:
    middle, late = values[len(values) // 2], values[int(len(values) * 0.99)]
    sys.stdout.write(
        f"{title:36} p50 {middle:7.1f}  p99 {late:7.1f}  max {values[-1]:7.1f} ms  ({len(values)})\n"
    )
    sys.stdout.flush()


def _load() -> str:
    """Return the load of the machine, which influences all figures."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def main(megabytes: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="reading-") as name, running(Path(name)) as (agent, log):
        _say("a line until it shows", latencies(agent, log))
        total = _counted(agent)
        block = "".join(log_lines(_SOON))
        with log.open("a") as file:
            file.write(block)
        total += _SOON
        wait_for(lambda: _counted(agent) == total, 120)
        before = memory(agent)
        blocks = max(1, (megabytes << 20) // len(block))
        with log.open("a") as file:
            for _ in range(blocks):
                file.write(block)
        total += blocks * _SOON
        started = time.perf_counter()
        times = scrapes(agent, total)
        seconds = time.perf_counter() - started
        _say(f"scrapes during {megabytes} MB of backlog", times)
        after = memory(agent)
        sys.stdout.write(f"{blocks * _SOON / seconds:,.0f} lines/s while scraped; {_load()}\n")
        sys.stdout.write(
            f"memory after {_SOON:,} lines {before:.1f} MB, after {total:,.0f} {after:.1f} MB: {after - before:+.1f} MB\n"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)

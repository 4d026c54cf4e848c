"""Compare `postward report` with pflogsumm on one log: wall and CPU seconds, and memory of all processes.

Nothing is asserted. Run `python -m tools.bench.report [lines]` in the repository's root.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tools.bench.lines import log_lines

_ROUNDS = 3
_POLL_INTERVAL = 0.05  # seconds between two measurements of the memory


class Figures(NamedTuple):
    """The figures of one run."""

    wall: float  # seconds
    cpu: float  # seconds, of all processes
    memory: float  # MB, peak of the sum of all processes


def resident(pid: int) -> int:
    """Return the kilobytes of a process and its children; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return own + sum(resident(int(child)) for child in children)


def measure(command: list[str]) -> Figures:
    """Run a command to its end and return its figures."""
    start, before, peak = time.perf_counter(), os.times(), 0
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None:
        peak = max(peak, resident(child.pid))
        time.sleep(_POLL_INTERVAL)
    if child.returncode:
        sys.exit(f"{' '.join(command)} failed")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Figures(time.perf_counter() - start, cpu, peak / 1024)


def main(lines: int) -> None:
    """Measure and print the best of several rounds, which other processes disturbed least."""
    cores = len(os.sched_getaffinity(0))
    print(f"{lines:,} lines, {cores} cores")  # noqa: T201 -- figures are for the terminal
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "mail.log"
        with log.open("w") as file:
            file.writelines(log_lines(lines))
        ours = [sys.executable, "-m", "tests.commands.postward", "report", str(log)]
        commands = {"report": ours, "report --jobs 1": [*ours, "--jobs", "1"]}
        if shutil.which("pflogsumm"):
            commands["pflogsumm"] = ["pflogsumm", str(log)]
        rounds = _ROUNDS if lines <= 1_000_000 else 1
        figures: dict[str, list[Figures]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                figures[name].append(measure(command))
    best = {name: min(rows) for name, rows in figures.items()}
    print(f"{'':18}{'wall s':>9}{'CPU s':>9}{'MB':>7}{'x report':>10}")  # noqa: T201
    for name, (wall, cpu, memory) in best.items():
        print(f"{name:18}{wall:9.1f}{cpu:9.1f}{memory:7.0f}{wall / best['report'].wall:10.2f}")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)

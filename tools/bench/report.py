"""Compare `postward report` and `replay` with pflogsumm and mtail, as far as installed, on each kind of log.

Printed are wall and CPU seconds, the memory of all processes, and the CPU time over that of `report --jobs 1`. mtail runs
the program for Postfix that it comes with. Nothing is asserted. Run `python -m tools.bench.report [lines]` in the repository's root.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tools.bench.lines import KINDS, log_lines

_ROUNDS = 3
_MTAIL_PROGRAM = Path("/usr/share/doc/mtail/examples/postfix.mtail")
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


def commands(log: Path) -> dict[str, list[str]]:
    """Return the commands that read a log."""
    ours = [sys.executable, "-m", "tests.commands.postward"]
    found = {
        "report --jobs 1": [*ours, "report", str(log), "--jobs", "1"],
        "report": [*ours, "report", str(log)],
        "replay": [*ours, "replay", str(log)],
    }
    if shutil.which("pflogsumm"):
        found["pflogsumm"] = ["pflogsumm", str(log)]
    if shutil.which("mtail") and _MTAIL_PROGRAM.exists():
        found["mtail"] = ["mtail", "-one_shot", "-progs", str(_MTAIL_PROGRAM), "-logs", str(log)]
    return found


def main(lines: int) -> None:
    """Measure and print the best of several rounds, which other processes disturbed least."""
    cores = len(os.sched_getaffinity(0))
    out = sys.stdout.write
    out(f"{lines:,} lines, {cores} cores\n")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "mail.log"
            with log.open("w") as file:
                file.writelines(log_lines(lines, kind))
            figures: dict[str, list[Figures]] = {name: [] for name in commands(log)}
            for _ in range(_ROUNDS if lines <= 1_000_000 else 1):
                for name, command in commands(log).items():
                    figures[name].append(measure(command))
        best = {name: min(rows, key=lambda row: row.cpu) for name, rows in figures.items()}
        out(f"{kind:18}{'wall s':>9}{'CPU s':>9}{'MB':>7}{'x report':>10}\n")
        for name, (wall, cpu, memory) in best.items():
            ratio = cpu / best["report --jobs 1"].cpu
            out(f"  {name:16}{wall:9.1f}{cpu:9.1f}{memory:7.0f}{ratio:10.2f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)

"""Measure `postward replay` including its start: lines per second, CPU seconds and peak memory.

The generated log of a busy host is always the same. Nothing is asserted. Run `python -m tools.bench.replay [lines]` in
the repository's root.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from tools.bench.lines import log_lines

_ROUNDS = 3


def measure(arguments: list[str], log: Path) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak MB of one run."""
    null = os.open(os.devnull, os.O_WRONLY)
    start = time.perf_counter()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "tests.commands.postward", *arguments, str(log)],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)],
    )
    _, status, usage = os.wait4(child, 0)
    os.close(null)
    if status:
        sys.exit(f"{' '.join(arguments)} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main(lines: int) -> None:
    """Measure and print the best of several rounds, which other processes disturbed least."""
    out = sys.stdout.write
    out(f"{lines:,} lines\n{'':28}{'lines/s':>12}{'CPU s / 1M lines':>18}{'peak MB':>9}\n")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "mail.log"
        with log.open("w") as file:
            file.writelines(log_lines(lines))
        for arguments in (
            ["replay"],
            ["replay", "--openmetrics"],
            ["replay", "--all"],
            ["parse", "--json", "-q"],
        ):
            wall, cpu, peak = min(measure(arguments, log) for _ in range(_ROUNDS))
            title = " ".join(arguments)
            out(f"{title:28}{lines / wall:12,.0f}{cpu * 1e6 / lines:18.2f}{peak:9.0f}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)

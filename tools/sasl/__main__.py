"""The SASL plug-in under a fuzzer, under valgrind, and its CPU time.

`python -m tools.sasl fuzz --seconds 600` prints the number of logins; a fault ends it with a trace. `python -m tools.sasl
valgrind` prints what valgrind found in smtp(8). `python -m tools.sasl cpu --seconds 60` prints the CPU time of a mail.
"""

import argparse
import random
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.sasl import build_harness
from tools.sasl.postfix import measure, under_valgrind


def main() -> int:
    """Run one of them, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.sasl")
    parser.add_argument("what", choices=("fuzz", "valgrind", "cpu"), nargs="?", default="fuzz")
    parser.add_argument("--seconds", type=int, default=600, help="duration, in seconds (default: 600)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31), help="seed")
    options = parser.parse_args()
    if options.what == "valgrind":
        return _valgrind()
    if options.what == "cpu":
        return _cpu(options.seconds)
    print(f"seed {options.seed}")  # noqa: T201 -- its output
    with tempfile.TemporaryDirectory(prefix="sasl-") as folder:
        harness = build_harness(Path(folder))
        return subprocess.run(
            [harness, "fuzz", str(options.seconds), str(options.seed)], check=False
        ).returncode


def _valgrind() -> int:
    """Print valgrind's summaries, and its records of the plug-in. Return 1 for a fault.

    A fault is any memory error, or a leak that the plug-in is part of; Postfix and libdb have leaks of their own.
    """
    output = under_valgrind()
    errors = [line for line in output.splitlines() if "ERROR SUMMARY" in line]
    blocks = [part for part in re.split(r"\n==\d+== \n", output) if "libpostward-oauth2" in part]
    print(*blocks, *errors, f"records of the plug-in: {len(blocks)}", sep="\n")  # noqa: T201
    clean = bool(errors) and all("ERROR SUMMARY: 0 errors" in line for line in errors)
    return 0 if clean and not blocks else 1


def _cpu(seconds: float) -> int:
    """Print the CPU time of a mail in each way, and what the plug-in adds to mail that does not use it."""
    measured = measure(seconds)
    for way, times in measured.items():
        shown = ", ".join(f"{value:.2f}" for value in times)
        print(f"{way:30} {statistics.mean(times):6.2f} ms a mail (rounds: {shown})")  # noqa: T201
    without, present, _ = measured.values()
    added = [after - before for before, after in zip(without, present, strict=True)]
    error = statistics.stdev(added) / len(added) ** 0.5
    print(f"the plug-in adds {statistics.mean(added):+.2f} ms, standard error {error:.2f} ms")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())

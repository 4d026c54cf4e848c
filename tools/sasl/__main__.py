"""Fuzz the SASL plug-in: `python -m tools.sasl --seconds 600`. Prints the number of logins; a fault ends it with a trace."""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.sasl import build_harness


def main() -> int:
    """Fuzz, and return the exit status of the harness."""
    parser = argparse.ArgumentParser(prog="python -m tools.sasl")
    parser.add_argument("--seconds", type=int, default=600, help="duration, in seconds (default: 600)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31), help="seed")
    options = parser.parse_args()
    print(f"seed {options.seed}")  # noqa: T201 -- its output
    with tempfile.TemporaryDirectory(prefix="sasl-") as folder:
        harness = build_harness(Path(folder))
        return subprocess.run(
            [harness, "fuzz", str(options.seconds), str(options.seed)], check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())

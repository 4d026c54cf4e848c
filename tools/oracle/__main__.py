"""Compare routing with the real Postfix: `python -m tools.oracle --cases 500 --seed 1`. Prints differences and counts."""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tools.incidents.stage import run_apart
from tools.oracle.compare import differences
from tools.oracle.generate import Generator
from tools.oracle.real import Postfix


def main() -> int:
    """Run the comparison and return the exit status: 1 if there is a difference."""
    parser = argparse.ArgumentParser(prog="python -m tools.oracle")
    parser.add_argument("--cases", type=int, default=500, help="number of configurations (default: 500)")
    parser.add_argument("--mails", type=int, default=10, help="mails a configuration (default: 10)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="seed")
    parser.add_argument(
        "--deliveries", type=int, default=0, help="configurations with real deliveries, as root (default: 0)"
    )
    options = parser.parse_args()
    started, counts = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="oracle-") as name:
        Path(name).chmod(0o755)
        postfix = Postfix(Path(name))
        generator = Generator(options.seed, postfix.config.facts().map_types)
        for number, case in enumerate(generator.cases(options.cases, options.mails), 1):
            for difference in differences(case, postfix, counts):
                _say(f"case {number}: {difference}")
    shown = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    _say(f"seed {options.seed}, {options.cases} configurations: {shown}; {time.monotonic() - started:.0f} s")
    status = int(any(name.endswith("different") for name in counts))
    if options.deliveries:
        done = run_apart("tools.oracle.deliveries", str(options.deliveries), str(options.seed))
        _say(done.stdout.rstrip())
        status |= done.returncode
    return status


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

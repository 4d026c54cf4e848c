"""`python -m tests.soak --rounds 300 --seed 1`: the soak in full. Prints what it proved, or the seed and steps that failed."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.soak import Soak


def main() -> int:
    """Run the rounds; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--burst", type=int, default=20_000, help="the most lines written at once")
    options = parser.parse_args()
    say(f"seed {options.seed}, {options.rounds} rounds")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        Path(folder).chmod(0o755)
        soak = Soak(Path(folder), options.seed, options.burst)
        try:
            for number in range(1, options.rounds + 1):
                soak.round()
                if number % 10 == 0:
                    say(f"round {number}: {len(soak.writer.written)} lines, {soak.kills} kills")
        except AssertionError as error:
            say(f"seed {options.seed}, round {number}: {error}\nits steps: {' '.join(soak.steps)}")
            return 1
        finally:
            soak.close()
    say(
        f"{options.rounds} rounds: {len(soak.writer.written)} lines written and counted, {soak.kills} kills, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0


def say(text: str) -> None:
    """At once, so that a run that is cut off has said how far it came."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

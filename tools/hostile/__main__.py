"""`python -m tools.hostile fuzz --minutes 1 [READER]...`, or `python -m tools.hostile load [--held 1000]`."""

import argparse
import random
import sys

from tools.hostile.fuzz import READERS, fuzz
from tools.hostile.load import load


def main() -> int:
    """Run, print figures, and return the exit status: 1 if a reader failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.hostile")
    kinds = parser.add_subparsers(dest="kind", required=True)
    fuzzing = kinds.add_parser("fuzz", help="give each reader mutated input")
    fuzzing.add_argument(
        "readers", nargs="*", choices=[[], *READERS], metavar="READER", help=", ".join(READERS)
    )
    fuzzing.add_argument("--minutes", type=float, default=1.0, help="minutes for each reader (default: 1)")
    fuzzing.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    loading = kinds.add_parser("load", help="hold connections and guess passwords while scraping")
    loading.add_argument("--held", type=int, default=1000, help="connections to hold (default: 1000)")
    loading.add_argument("--seconds", type=float, default=10.0, help="of each measurement (default: 10)")
    options = parser.parse_args()
    if options.kind == "load":
        load(options.held, options.seconds)
        return 0
    return fuzz(options.readers or list(READERS), options.minutes * 60, options.seed)


if __name__ == "__main__":
    sys.exit(main())

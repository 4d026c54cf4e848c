"""All faults of `pairs.py`, two at a time, with the seconds that it took: `python -m tests.incidents`."""

import sys
import tempfile
from pathlib import Path

from tests.bed import require_postfix
from tests.incidents.pairs import FAULTS, bed, pair


def main() -> None:
    """Print a row for each pair."""
    require_postfix()
    with tempfile.TemporaryDirectory() as folder, bed(Path(folder)) as made:
        _say(f"{'two faults at once':48} explained  closed   (seconds)")
        worst = [0.0, 0.0]
        for first in range(0, len(FAULTS), 2):
            seen = pair(made, first)
            worst = [max(worst[0], seen.explained), max(worst[1], seen.closed)]
            _say(f"{' + '.join(seen.names):48} {seen.explained:9.1f} {seen.closed:7.1f}")
        _say(
            f"{len(FAULTS)} faults: explained after at most {worst[0]:.1f} s, closed after at most {worst[1]:.1f} s"
        )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

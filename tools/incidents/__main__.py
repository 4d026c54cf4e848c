"""Figures: `python -m tools.incidents`.

All faults of `pairs.py`, two at a time, with the seconds until they are explained and over; and how long a browser takes
for the status page.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from tests.support import require_postfix, wait_for
from tests.support.browser import browser
from tools.incidents.pairs import FAULTS, Bed, bed, pair

_LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
_LOADS = 9


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
        _page(made, Path(folder))
        _say(
            f"{len(FAULTS)} faults: explained after at most {worst[0]:.1f} s, closed after at most {worst[1]:.1f} s"
        )


def _page(made: Bed, folder: Path) -> None:
    """How long the page takes, from the navigation's start to the end of its load event."""
    with browser(folder) as page:
        loads: list[float] = []
        for _ in range(_LOADS):
            page.open(f"http://{made.agent._address}/status")
            loads.append(wait_for(lambda: page.run(_LOADED), what="the end of loading"))
    _say(
        f"the status page loads in {statistics.median(loads):.0f} ms (median of {_LOADS}; "
        f"{min(loads):.0f} to {max(loads):.0f})"
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

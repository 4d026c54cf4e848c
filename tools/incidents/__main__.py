"""How soon faults are explained and closed, and how fast the status page loads: `python -m tools.incidents`.

All faults of `pairs.py` are staged on a real Postfix, two at a time.
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
        _print(f"{'two faults at once':48} explained  closed   (seconds)")
        worst = [0.0, 0.0]
        for first in range(0, len(FAULTS), 2):
            timing = pair(made, first)
            worst = [max(worst[0], timing.explained), max(worst[1], timing.closed)]
            _print(f"{' + '.join(timing.names):48} {timing.explained:9.1f} {timing.closed:7.1f}")
        _load_page(made, Path(folder))
        _print(
            f"{len(FAULTS)} faults: explained after at most {worst[0]:.1f} s, closed after at most {worst[1]:.1f} s"
        )


def _load_page(made: Bed, folder: Path) -> None:
    """Print the time from the start of the navigation to the end of the page's load event."""
    with browser(folder) as page:
        loads: list[float] = []
        for _ in range(_LOADS):
            page.open(f"http://{made.agent._address}/status")
            loads.append(wait_for(lambda: page.run(_LOADED), what="the end of loading"))
    _print(
        f"the status page loads in {statistics.median(loads):.0f} ms (median of {_LOADS}; "
        f"{min(loads):.0f} to {max(loads):.0f})"
    )


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

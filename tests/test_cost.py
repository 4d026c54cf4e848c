"""How much a log costs the agent, as function calls by line, of Python and of C: other processes do not change it.

A figure that rises by more than a quarter fails; if the work is worth it, store the new figure. CPU time is measured by
`python -m tools.bench.living`.
"""

import cProfile
import pstats
from importlib.util import find_spec
from typing import Final

import pytest

from postward.agent.pipeline import Pipeline
from tests.support.require import demand
from tests.test_pipeline import Counts
from tools.bench.lines import log_lines

CALLS: Final = {"healthy": 6.8, "mixed": 12.7, "trouble": 33.9, "server": 14.7}  # with the compiled scan
_LINES: Final = 8_000
_BLOCK: Final = 1_000  # lines
_MARGIN: Final = 1.25


@pytest.mark.parametrize("kind", CALLS)
def test_a_log_costs_no_more_calls(kind: str) -> None:
    """Counters, probes, history, senders and incidents, after a first part that fills the caches."""
    demand(
        None
        if find_spec("postward.parsers._scan")
        else "the compiled scan is missing: run .ci/setup with a compiler"
    )
    counts = Counts()
    pipeline = Pipeline(counts.counting, [counts.daemons, counts.history, counts.senders, counts.tracker])
    lines = list(log_lines(2 * _LINES, kind))
    blocks = ["".join(lines[start : start + _BLOCK]).encode() for start in range(0, len(lines), _BLOCK)]
    profile = cProfile.Profile()
    for number, block in enumerate(blocks):
        if number == len(blocks) // 2:
            profile.enable()
        pipeline.feed(block)
    profile.disable()
    calls = pstats.Stats(profile).total_calls / _LINES  # type: ignore[attr-defined]
    assert calls < CALLS[kind] * _MARGIN, f"{kind}: {calls:.2f} calls a line"

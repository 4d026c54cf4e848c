"""The soak in short: a real agent, a log that is abused, kill -9. In full: `python -m tests.soak log`."""

import os
import random
from pathlib import Path

import pytest

from tests.bed.require import require_postfix
from tests.soak.log_soak import LogSoak

_ROUNDS = 12


def test_every_line_is_counted_once_by_an_agent_that_is_killed(tmp_path: Path) -> None:
    """Counters equal the lines written after every round. The seed of a failure is in its message; SOAK_SEED repeats it."""
    require_postfix(sasl=False)
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
    soak = LogSoak(tmp_path, seed, burst=5000)
    try:
        for _ in range(_ROUNDS):
            soak.round()
    except AssertionError as error:
        pytest.fail(f"SOAK_SEED={seed}: {error}; steps: {' '.join(soak.steps)}")
    finally:
        soak.close()

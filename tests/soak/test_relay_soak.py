"""An agent whose relay fails in every way, in short. In full: `python -m tests.soak relay`."""

import os
import random
from pathlib import Path

import pytest

from tests.bed.require import require_postfix
from tests.soak.relay_soak import RelaySoak

_ROUNDS = 2


def test_what_failed_is_well_again_and_all_of_it_is_counted_once(tmp_path: Path) -> None:
    """After every round. The seed of a failure is in its message; SOAK_SEED repeats it."""
    require_postfix()
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
    soak = RelaySoak(tmp_path, seed)
    try:
        for _ in range(_ROUNDS):
            soak.round()
    except AssertionError as error:
        pytest.fail(f"SOAK_SEED={seed}: {error}; steps: {' '.join(soak.steps)}")
    finally:
        soak.close()

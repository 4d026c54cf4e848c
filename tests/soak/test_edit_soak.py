"""Enforcement in short, on a host where everything changes at once. In full: `python -m tests.soak edits`."""

import os
import random
from pathlib import Path

import pytest

from tests.bed.require import require_postfix
from tests.soak.edit_soak import EditSoak

_ROUNDS = 8


def test_what_the_settings_say_comes_back_and_what_others_edit_stays(tmp_path: Path) -> None:
    """After every round. The seed of a failure is in its message; SOAK_SEED repeats it."""
    require_postfix()
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
    soak = EditSoak(tmp_path, seed)
    try:
        for _ in range(_ROUNDS):
            soak.round()
    except AssertionError as error:
        pytest.fail(f"SOAK_SEED={seed}: {error}; steps: {' '.join(soak.steps)}")
    finally:
        soak.close()

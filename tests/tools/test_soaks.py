"""Short runs of the soaks, with a real Postfix and agent. `python -m tools.soak` runs them in full."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.require import require_postfix, required
from tools.soak.edit_soak import EditSoak
from tools.soak.log_soak import LogSoak
from tools.soak.relay_soak import RelaySoak
from tools.soak.rsyslog_soak import RsyslogSoak

_SOAKS: dict[str, tuple[int, Callable[[Path, int], LogSoak | EditSoak | RelaySoak]]] = {
    "every line is counted once": (6, lambda folder, seed: LogSoak(folder, seed, burst=5000)),
    "every line of rsyslogd is counted once": (2, lambda folder, seed: RsyslogSoak(folder, seed, burst=5000)),
    "drift is repaired and other edits are kept": (4, EditSoak),
    "incidents close and every delivery is counted once": (2, RelaySoak),
}


@pytest.mark.parametrize("promise", _SOAKS)
def test_after_every_round(promise: str, tmp_path: Path) -> None:
    """The promise holds after every round. The message of a failure has the seed; SOAK_SEED repeats the run."""
    require_postfix(sasl=not promise.startswith("every line"))
    if "rsyslogd" in promise:
        required("rsyslogd", "rsyslog")
        required("logrotate", "logrotate")
    rounds, make = _SOAKS[promise]
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
    soak = make(tmp_path, seed)
    try:
        for _ in range(rounds):
            soak.round()
    except AssertionError as error:
        pytest.fail(f"SOAK_SEED={seed}: {error}; steps: {' '.join(soak.steps)}")
    finally:
        soak.close()

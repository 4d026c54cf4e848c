"""The state of enforcement in its file, and the announcement of restarts in it."""

from pathlib import Path

import pytest

from postward.agent.enforce.state import (
    Enforcement,
    EnforcementState,
    StateStore,
    enforcement_file,
    read_applied,
    read_enforcement,
    restart_announced,
    restart_under_way,
    write_enforcement,
)
from tests.enforce.enforcing import Clock


def test_a_restart_is_under_way_until_shortly_after_its_end(tmp_path: Path) -> None:
    """An agent that looked at Postfix before the end may read the file after it."""
    clock = Clock()
    with restart_announced(tmp_path, clock):
        assert restart_under_way(tmp_path, clock.now + 30)

    assert restart_under_way(tmp_path, clock.now)
    assert not restart_under_way(tmp_path, clock.now + 10)


def test_a_failed_restart_is_over_at_once(tmp_path: Path) -> None:
    """A Postfix that does not start again is reported as down."""
    clock = Clock()
    with pytest.raises(RuntimeError), restart_announced(tmp_path, clock):
        raise RuntimeError

    assert not restart_under_way(tmp_path, clock.now)


def test_a_killed_restart_hides_a_dead_postfix_for_a_minute(tmp_path: Path) -> None:
    """Its announcement expires, also after the clock was set back."""
    clock = Clock()
    write_enforcement(enforcement_file(tmp_path), Enforcement(restarting_until=clock.now + 60))

    assert restart_under_way(tmp_path, clock.now)
    assert not restart_under_way(tmp_path, clock.now + 60)
    assert not restart_under_way(tmp_path, clock.now - 3600)


def test_a_restart_leaves_the_rest_of_the_state(tmp_path: Path) -> None:
    """The announcement changes one key."""
    write_enforcement(enforcement_file(tmp_path), Enforcement(in_sync=True, conflicts=["relayhost"]))
    with restart_announced(tmp_path):
        pass

    state = read_enforcement(enforcement_file(tmp_path))
    assert state is not None
    assert (state.in_sync, state.conflicts) == (True, ["relayhost"])


def test_an_enforcer_keeps_the_announcement(tmp_path: Path) -> None:
    """It loads its state before a restart and saves it afterwards."""
    clock = Clock()
    store = StateStore(tmp_path)
    with restart_announced(tmp_path, clock):
        store.save()
        assert restart_under_way(tmp_path, clock.now)
    store.save()

    assert restart_under_way(tmp_path, clock.now)


def test_a_damaged_applied_state_is_replaced(tmp_path: Path) -> None:
    """The enforcer begins with an empty state, as on its first run."""
    for text in ("", "[]", '{"key": "no hexadecimal"}', '{"strange": 1}'):
        (tmp_path / "applied.json").write_text(text)
        assert read_applied(tmp_path).applied == ""


def test_without_a_state_nothing_is_exported(tmp_path: Path) -> None:
    """The file is missing, damaged, or of another version."""
    part = EnforcementState(tmp_path)
    assert part.gauges() == {}
    for text in ("", "[]", '{"version": 2}', '{"version": 1, "strange": 1}'):
        enforcement_file(tmp_path).write_text(text)
        assert part.gauges() == {}
        assert not restart_under_way(tmp_path, 0)

    write_enforcement(enforcement_file(tmp_path), Enforcement(in_sync=False, drift=["relayhost"]))
    assert part.gauges()["postward_config_in_sync"] == {(): 0.0}
    assert part.gauges()["postward_config_drift"] == {("relayhost",): 1.0}

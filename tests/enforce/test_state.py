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


def test_a_host_without_an_enforcer_has_no_state(tmp_path: Path) -> None:
    """Nothing is exported, and nothing is wrong."""
    part = EnforcementState(tmp_path)
    assert part.gauges() == {}
    assert part.conditions() == {}


def test_a_state_that_cannot_be_used_is_an_enforcer_that_does_not_work(tmp_path: Path) -> None:
    """The file is damaged or of another version: nothing is known of the configuration."""
    part = EnforcementState(tmp_path)
    for text in ("", "[]", '{"version": 2}', '{"version": 1, "drift": 1}'):
        enforcement_file(tmp_path).write_text(text)
        assert part.gauges()["postward_enforcer_up"] == {(): 0.0}
        assert "postward_config_in_sync" not in part.gauges()
        assert "has not compared" in (part.conditions()["enforcer-silent"] or "")
        assert not restart_under_way(tmp_path, 0)


def test_a_state_is_exported_until_the_next_look_is_overdue(tmp_path: Path) -> None:
    """After that nothing is known of the configuration, and the time of the last look is shown."""
    clock = Clock()
    part = EnforcementState(tmp_path, clock)
    state = Enforcement(in_sync=False, drift=["relayhost"], problem="mode = observe")
    state.note_look(clock.now, clock.now, 60)
    write_enforcement(enforcement_file(tmp_path), state)
    assert part.gauges()["postward_config_in_sync"] == {(): 0.0}
    assert part.gauges()["postward_config_drift"] == {("relayhost",): 1.0}
    assert part.gauges()["postward_enforcer_up"] == {(): 1.0}
    assert part.conditions() == {
        "enforcer-silent": None,
        "config-conflict": None,
        "config-drift": "drift in relayhost: mode = observe",
    }

    clock.now += 151
    assert {"postward_config_in_sync", "postward_config_drift"}.isdisjoint(part.gauges())
    assert part.gauges()["postward_enforcer_up"] == {(): 0.0}
    assert part.gauges()["postward_config_check_timestamp_seconds"] == {(): clock.now - 151}
    assert list(part.conditions()) == ["enforcer-silent"]


def test_a_step_of_the_wall_clock_makes_no_enforcer_silent() -> None:
    """Neither does it make a frozen one work: only the monotonic clock decides."""
    state = Enforcement(in_sync=True)
    state.note_look(1_795_000_000, 500, 60)
    assert state.gauges(560)["postward_enforcer_up"] == {(): 1.0}
    assert state.gauges(651)["postward_enforcer_up"] == {(): 0.0}


def test_the_enforcer_has_time_for_a_first_look_after_a_reboot() -> None:
    """The monotonic clock begins again. A command that looks meanwhile does not replace the enforcer."""
    state = Enforcement(in_sync=True)
    state.note_look(1_795_000_000, 50_000, 60)
    assert state.gauges(20)["postward_enforcer_up"] == {(): 1.0}
    assert state.gauges(91)["postward_enforcer_up"] == {(): 0.0}

    state.note_look(1_795_000_900, 100, None)
    assert state.gauges(101)["postward_enforcer_up"] == {(): 0.0}


def test_a_conflict_is_not_reported_as_drift_too(tmp_path: Path) -> None:
    """One fault has one incident; drift beside the conflict is another fault."""
    state = Enforcement(in_sync=False, drift=["relayhost"], conflicts=["relayhost"], problem="another tool")
    assert state.conditions() == {"config-conflict": "another tool", "config-drift": None}
    state.drift.append("smtp_tls_security_level")
    assert "smtp_tls_security_level" in (state.conditions()["config-drift"] or "")


def test_a_command_that_applies_does_not_hide_a_stopped_enforcer(tmp_path: Path) -> None:
    """It looks once; the next look of the enforcer stays overdue. Without an enforcer, none is missed."""
    clock = Clock()
    state = Enforcement(in_sync=True)
    state.note_look(clock.now, clock.now, None)
    assert "postward_enforcer_up" not in state.gauges(clock.now)
    assert "postward_config_in_sync" not in state.gauges(clock.now + 100)

    state.note_look(clock.now, clock.now, 60)
    clock.now += 1000
    state.note_look(clock.now, clock.now, None)
    assert state.gauges(clock.now)["postward_enforcer_up"] == {(): 0.0}

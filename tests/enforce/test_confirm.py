"""Commit-confirm: which settings are confirmed, which are rolled back, and to which generation."""

import errno
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import pytest

from postward.agent.enforce.apply import exclusively
from postward.agent.enforce.confirm import Decision, decide
from postward.agent.enforce.history import list_generations
from postward.agent.postfix.commands import PostfixError
from postward.agent.postfix.config import Candidate, StagedConfig
from tests.enforce.enforcing import PASSWORD, Clock, enforcer, settings
from tests.support import CA, PostfixInstance, Relay, wait_for
from tests.support.product import POSTWARD, run_postward, write_settings


def table(instance: PostfixInstance) -> str:
    """The contents of the table of logins."""
    return (instance.config_directory / "sasl_passwd").read_text()


@dataclass(frozen=True)
class Probe:
    """The result of a probe."""

    submitted: float
    relayed: bool = True
    conclusive: bool = True
    reason: str = "auth"


@pytest.mark.parametrize(
    ("results", "decision"),
    [
        ([], Decision.WAIT),
        ([None], Decision.WAIT),
        ([Probe(100)], Decision.KEEP),
        ([Probe(100), None], Decision.WAIT),
        ([Probe(100), Probe(101)], Decision.KEEP),
        ([Probe(99)], Decision.WAIT),
        ([Probe(99, relayed=False)], Decision.WAIT),
        ([Probe(100, relayed=False)], Decision.ROLL_BACK),
        ([Probe(100, relayed=False), None], Decision.ROLL_BACK),
        ([Probe(100, relayed=False, conclusive=False)], Decision.WAIT),
    ],
)
def test_probes_decide(results: Iterable[Probe | None], decision: Decision) -> None:
    """Settings applied at second 100 are kept once each route was probed since, and rolled back after one failure."""
    assert decide(100, results) is decision


def apply_confirmed(instance: PostfixInstance, tmp_path: Path) -> None:
    """Apply settings, and confirm them."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    one.confirm(Decision.KEEP)


def test_a_first_apply_that_fails_leaves_the_host_as_before(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """main.cf, master.cf and a table of that name are back byte for byte, and nothing of Postward's is left."""
    logins = instance.config_directory / "sasl_passwd"
    logins.write_text("[old.test]:587 a:b\n")
    logins.chmod(0o640)
    instance.build_table(logins)

    def files() -> dict[str, tuple[bytes, int]]:
        found = [path for path in instance.config_directory.iterdir() if path.is_file()]
        return {path.name: (path.read_bytes(), path.stat().st_mode) for path in found}

    before = files()
    wrong = enforcer(instance, settings(instance, tmp_path))
    for _ in range(2):
        assert wrong.converge()
        assert files() != before
        wrong.confirm(Decision.ROLL_BACK, "auth")
        assert files() == before
        assert wrong.state.applies["rolled_back"] > 0
        assert not wrong.converge()
        assert files() == before
        wrong.forget_failures()


def test_a_rollback_undoes_repairs_too(instance: PostfixInstance, tmp_path: Path) -> None:
    """A repair sets a parameter that had its default before. The roll-back removes it again."""
    main_cf = instance.config_directory / "main.cf"
    before = main_cf.read_bytes()
    wrong = enforcer(instance, settings(instance, tmp_path))
    wrong.converge()
    instance.set(soft_bounce="yes")
    wrong.converge()
    assert b"soft_bounce = no" in main_cf.read_bytes()
    wrong.confirm(Decision.ROLL_BACK, "auth")
    assert main_cf.read_bytes() == before


def test_a_failed_first_apply_keeps_what_others_edited_meanwhile(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """An edit after apply stays; an edit between two tries is part of the state before the second."""
    main_cf = instance.config_directory / "main.cf"
    before = main_cf.read_text()
    wrong = enforcer(instance, settings(instance, tmp_path))
    wrong.converge()
    main_cf.write_text(main_cf.read_text() + "# a note\nbiff = no\n")
    instance.settle()
    wrong.converge()
    wrong.confirm(Decision.ROLL_BACK, "auth")
    after = main_cf.read_text()
    assert after.endswith("# a note\nbiff = no\n")
    assert set(before.splitlines()) < set(after.splitlines())

    again = enforcer(instance, settings(instance, tmp_path, password="another"))
    again.converge()
    again.confirm(Decision.ROLL_BACK, "auth")
    assert main_cf.read_text() == after


def test_a_failed_probe_rolls_back_to_the_confirmed_configuration(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """That is restored, not generation 0, and the settings are refused."""
    first = enforcer(instance, settings(instance, tmp_path))
    first.converge()
    first.confirm(Decision.KEEP)

    second = enforcer(instance, settings(instance, tmp_path, password="another"))
    second.converge()
    second.confirm(Decision.ROLL_BACK, "auth")
    assert second.state.applies["rolled_back"] == 1
    assert "user:s3cret" in (instance.config_directory / "sasl_passwd").read_text()
    assert not second.converge()
    assert "these settings are not applied: no probe was accepted with them (auth)" in (
        second.state.problem or ""
    )
    assert not first.converge()
    assert first.state.in_sync


def test_many_failed_changes_roll_back_to_the_confirmed_one(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """Not to the one before the last, which is not confirmed either; also repeatedly, and after more than are kept."""
    good = settings(instance, tmp_path)
    first = enforcer(instance, good)
    first.converge()
    first.confirm(Decision.KEEP)
    for number in range(12):
        enforcer(instance, settings(instance, tmp_path, password=f"wrong-{number}")).converge()
    for last in ("wrong-at-last", "wrong-once-more"):
        one = enforcer(instance, settings(instance, tmp_path, password=last))
        one.converge()
        one.confirm(Decision.ROLL_BACK, "auth")
        assert f"user:{PASSWORD}\n" in (instance.config_directory / "sasl_passwd").read_text()

    back = enforcer(instance, good)
    assert not back.converge()
    assert (back.state.in_sync, back.state.applies["rolled_back"], back.pending_confirmation) == (
        True,
        2,
        False,
    )
    assert enforcer(instance, settings(instance, tmp_path, password="wrong-once-more")).converge()


def test_a_probe_of_former_settings_says_nothing_about_newer_ones(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """The password file changes while a probe is under way: the old password failed, and the new one is tried."""
    apply_confirmed(instance, tmp_path)
    file = tmp_path / "password"
    file.write_text("old")
    wanted = settings(instance, tmp_path, password_file=str(file))
    clock = Clock()
    one = enforcer(instance, wanted, clock)
    one.converge()
    sent = one.applied_at

    file.write_text("new")
    one.confirm(Decision.ROLL_BACK, "auth", applied_at=sent)
    assert f"user:{PASSWORD}\n" in (instance.config_directory / "sasl_passwd").read_text()
    clock.now += 60
    assert one.converge()
    assert "user:new\n" in (instance.config_directory / "sasl_passwd").read_text()

    one.confirm(Decision.ROLL_BACK, "auth", applied_at=sent)
    assert one.pending_confirmation
    one.confirm(Decision.KEEP, applied_at=one.applied_at)
    assert (one.pending_confirmation, one.state.applies["confirmed"]) == (False, 2)


def test_a_probe_that_failed_because_of_drift_is_ignored(instance: PostfixInstance, tmp_path: Path) -> None:
    """An index is deleted before new settings are confirmed: it is rebuilt, and the settings are probed again."""
    apply_confirmed(instance, tmp_path)
    clock = Clock()
    one = enforcer(instance, settings(instance, tmp_path, smtp_helo_timeout="77s"), clock)
    assert one.converge()
    sent = one.applied_at
    clock.now += 1
    (instance.config_directory / "sasl_passwd.db").unlink()

    one.confirm(Decision.ROLL_BACK, "local_config", applied_at=sent)
    assert one.converge()
    one.confirm(Decision.ROLL_BACK, "local_config", applied_at=sent)
    assert one.state.applies["rolled_back"] == 0
    assert instance.postconf("smtp_helo_timeout") == {"smtp_helo_timeout": "77s"}

    one.confirm(Decision.ROLL_BACK, "relay_down", applied_at=one.applied_at)
    assert one.state.applies["rolled_back"] == 1


def test_settings_that_change_no_file_are_confirmed_with_the_former(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """The settings name Postfix's default: nothing came into force, so nothing is confirmed or rolled back."""
    for password in ("former", PASSWORD):
        one = enforcer(instance, settings(instance, tmp_path, password=password))
        one.converge()
        one.confirm(Decision.KEEP)
    same = enforcer(instance, settings(instance, tmp_path, smtp_helo_timeout="300s"))
    assert not same.converge()
    assert not same.pending_confirmation

    same.confirm(Decision.ROLL_BACK, "relay_down")
    assert same.state.applies["rolled_back"] == 0
    assert f"user:{PASSWORD}\n" in table(instance)


def test_edits_of_other_programs_survive_a_rollback(instance: PostfixInstance, tmp_path: Path) -> None:
    """Only the changes of the failed settings are undone: a parameter changed, one added, a table."""
    apply_confirmed(instance, tmp_path)
    before = instance.postconf("smtp_helo_timeout", "relayhost")
    failing = enforcer(
        instance, settings(instance, tmp_path, password="wrong", smtp_helo_timeout="77s", relay_port=2526)
    )
    failing.converge()
    instance.set(message_size_limit="77000000")
    instance.set_service("smtp/unix/smtp_connect_timeout", "33s")
    failing.confirm(Decision.ROLL_BACK, "auth")

    assert instance.postconf("smtp_helo_timeout", "relayhost") == before
    assert "smtp_helo_timeout" not in (instance.config_directory / "main.cf").read_text()
    assert f"user:{PASSWORD}\n" in table(instance)
    assert instance.postconf("message_size_limit") == {"message_size_limit": "77000000"}
    assert "smtp_connect_timeout=33s" in (instance.config_directory / "master.cf").read_text()


def test_a_probe_sent_before_another_process_applied_is_ignored(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """`postward apply` changes the configuration while a probe of the agent is under way."""
    file = tmp_path / "password"
    file.write_text("old")
    wanted = settings(instance, tmp_path, password_file=str(file))
    clock = Clock()
    running = enforcer(instance, wanted, clock)
    running.converge()
    running.confirm(Decision.KEEP)
    sent = running.applied_at

    file.write_text("new")
    enforcer(instance, wanted).converge()
    clock.now += 1
    running.converge()
    running.confirm(Decision.ROLL_BACK, "auth", applied_at=sent)
    assert "user:new\n" in table(instance)
    assert running.state.applies["rolled_back"] == 0


def test_observing_rolls_nothing_back(instance: PostfixInstance, tmp_path: Path) -> None:
    """With mode = observe nothing is changed, whatever the result of a probe."""
    apply_confirmed(instance, tmp_path)
    enforcer(instance, settings(instance, tmp_path, password="wrong")).converge()
    observing = enforcer(instance, settings(instance, tmp_path, password="wrong", mode="observe"))
    observing.converge()
    observing.confirm(Decision.ROLL_BACK, "auth")

    assert "user:wrong\n" in table(instance)


def test_a_half_done_change_is_not_kept_as_confirmed(
    instance: PostfixInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables are new and main.cf is not: the second try does not keep this mixture as a generation to roll back to."""
    apply_confirmed(instance, tmp_path)
    one = enforcer(instance, settings(instance, tmp_path, password="wrong", smtp_helo_timeout="77s"))
    with monkeypatch.context() as full:
        full.setattr(Candidate, "move", _no_space)
        one.converge()
    assert "some files are changed already" in (one.state.problem or "")
    assert one.pause > 1
    one.converge()
    one.confirm(Decision.ROLL_BACK, "auth")

    assert one.state.applies["rolled_back"] == 1
    assert f"user:{PASSWORD}\n" in table(instance)


def test_a_change_that_cannot_be_moved_into_place_leaves_no_trace(
    instance: PostfixInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk: one failure counted, nothing pending, one generation, and a longer pause before the next try."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    again = enforcer(instance, settings(instance, tmp_path, smtp_helo_timeout="77s"))
    monkeypatch.setattr(Candidate, "move", _no_space)
    for _ in range(3):
        again.converge()

    assert (again.state.applies["failed"], again.pause > 1) == (1, True)
    assert not (tmp_path / "enforce" / "pending").exists()
    assert len(list_generations(tmp_path / "enforce")) == 2
    monkeypatch.undo()
    assert again.converge()
    assert again.pause < 1


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_conflict_does_not_prevent_a_rollback(instance: PostfixInstance, tmp_path: Path) -> None:
    """Drift that is left alone says nothing about the settings, and is not kept as a confirmed configuration."""
    apply_confirmed(instance, tmp_path)
    failing = enforcer(instance, settings(instance, tmp_path, password="wrong"))
    failing.converge()
    for _ in range(4):
        instance.set(smtp_tls_loglevel="3")
        failing.converge()
    assert failing.state.conflicts == ["smtp_tls_loglevel"]

    failing.confirm(Decision.ROLL_BACK, "auth")
    assert f"user:{PASSWORD}\n" in table(instance)


def test_a_probe_accepted_because_of_a_hand_edit_is_ignored(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """A working relay was set by hand; the settings name another one."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    instance.set(relayhost="[working.test]:587")
    one.confirm(Decision.KEEP)

    assert one.pending_confirmation


def test_a_failure_that_is_not_the_settings_fault_is_tried_again(
    instance: PostfixInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postfix refuses main.cf for another parameter, or `postfix check` times out: later, the settings are applied."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.look()
    instance.set(default_process_limit="many")
    assert not one.converge()
    assert "Postfix refuses its configuration as it is, before any change" in (one.state.problem or "")
    assert "default_process_limit = many" in (one.state.problem or "")
    assert "candidate" not in (one.state.problem or "")
    instance.set(default_process_limit="100")

    with monkeypatch.context() as slow:
        slow.setattr(StagedConfig, "check", _too_slow)
        assert not one.converge()
    assert one.converge()


def _too_slow(*_: object) -> str:
    raise PostfixError("postfix check did not end within 30 s")


def test_a_retired_enforcer_changes_nothing(instance: PostfixInstance, tmp_path: Path) -> None:
    """It waited for the lock while other settings came: it must not apply the former ones."""
    former = enforcer(instance, settings(instance, tmp_path, password="former"))
    with ThreadPoolExecutor(1) as threads:
        with exclusively(tmp_path / "enforce"):
            waiting = threads.submit(former.converge)
            assert not wait([waiting], timeout=0.1).done
            former.retire()
        assert not waiting.result()

    assert not (instance.config_directory / "sasl_passwd").exists()


def test_a_file_that_is_being_written_is_waited_for(instance: PostfixInstance, tmp_path: Path) -> None:
    """A main.cf is copied over the old one, slowly: all of it is kept, and the drift in it is repaired."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    main_cf = instance.config_directory / "main.cf"
    text = main_cf.read_text().replace("relayhost = [127.0.0.1]:2525", "relayhost = [other.test]")
    with ThreadPoolExecutor(1) as threads:
        with main_cf.open("w") as file:
            file.write("a line without a value\n# ")
            file.flush()
            looking = threads.submit(one.converge)
            assert not wait([looking], timeout=0.3).done
            file.seek(0)
            file.write(text + "# the end\n")
        looking.result()

    assert main_cf.read_text().endswith("# the end\n")
    assert instance.postconf("relayhost") == {"relayhost": "[127.0.0.1]:2525"}
    assert one.state.in_sync


def test_postward_enforce_confirms_what_it_finds_unconfirmed(tmp_path: Path) -> None:
    """Settings that do not work were applied, and the host was restarted before a probe was conclusive."""
    with (
        Relay(CA(), users={"user": PASSWORD}) as relay,
        PostfixInstance(tmp_path / "postfix") as postfix,
    ):
        file = write_settings(tmp_path, relay, postfix, password=PASSWORD, preflight=False)
        assert run_postward("apply", "--config", str(file)).returncode == 0
        (tmp_path / "password").write_text("wrong")
        assert run_postward("apply", "--no-verify", "--config", str(file)).returncode == 0
        assert "user:wrong" in table(postfix)

        enforcing = subprocess.Popen([POSTWARD, "enforce", "--config", str(file)], stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: f"user:{PASSWORD}\n" in table(postfix), timeout=30, what="the rollback")
        finally:
            enforcing.terminate()
            enforcing.wait(20)

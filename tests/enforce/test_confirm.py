"""New settings and the words of probes on them: what is confirmed, what is taken back, and to what."""

import errno
import subprocess
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from postward.agent.enforce.apply import exclusively
from postward.agent.enforce.history import list_generations
from postward.agent.postfix.candidate import Candidate
from postward.agent.postfix.commands import Postfix, PostfixError
from tests.enforce.enforcing import PASSWORD, Clock, enforcer, settings
from tests.support import CA, PostfixInstance, Relay, wait_for
from tests.support.product import POSTWARD, run_postward, write_settings


def table(instance: PostfixInstance) -> str:
    """The logins."""
    return (instance.config_directory / "sasl_passwd").read_text()


def work(instance: PostfixInstance, tmp_path: Path) -> None:
    """Bring a configuration into force, and have it confirmed by a probe."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    one.confirm(accepted=True)


def test_a_refused_candidate_goes_back_only_to_one_that_worked(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """Without a confirmed configuration a failed probe changes nothing; with one, it comes back."""
    first = enforcer(instance, settings(instance, tmp_path))
    first.converge()
    first.confirm(accepted=False, reason="auth")
    assert (first.state.in_sync, first.state.applies["rolled_back"]) == (True, 0)
    first.confirm(accepted=True)

    second = enforcer(instance, settings(instance, tmp_path, password="another"))
    second.converge()
    second.confirm(accepted=False, reason="auth")
    assert second.state.applies["rolled_back"] == 1
    assert "user:s3cret" in (instance.config_directory / "sasl_passwd").read_text()
    assert not second.converge()
    assert "these settings are not applied: no probe was accepted with them (auth)" in (
        second.state.problem or ""
    )
    assert not first.converge()
    assert first.state.in_sync


def test_a_chain_of_changes_that_fail_goes_back_to_the_one_that_worked(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """Not to the one before the last, which no probe has confirmed either; also after many of them, and again and again."""
    good = settings(instance, tmp_path)
    first = enforcer(instance, good)
    first.converge()
    first.confirm(accepted=True)
    for number in range(12):
        enforcer(instance, settings(instance, tmp_path, password=f"wrong-{number}")).converge()
    for last in ("wrong-at-last", "wrong-once-more"):
        one = enforcer(instance, settings(instance, tmp_path, password=last))
        one.converge()
        one.confirm(accepted=False, reason="auth")
        assert f"user:{PASSWORD}\n" in (instance.config_directory / "sasl_passwd").read_text()

    back = enforcer(instance, good)
    assert not back.converge()
    assert (back.state.in_sync, back.state.applies["rolled_back"], back.pending_confirmation) == (
        True,
        2,
        False,
    )
    assert enforcer(instance, settings(instance, tmp_path, password="wrong-once-more")).converge()


def test_a_word_on_former_settings_is_not_one_on_those_that_follow(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """The password file changes while the probe is under way: what failed is the old password, and the new one is tried."""
    work(instance, tmp_path)
    file = tmp_path / "password"
    file.write_text("old")
    wanted = settings(instance, tmp_path, password_file=str(file))
    clock = Clock()
    one = enforcer(instance, wanted, clock)
    one.converge()
    sent = one.applied_at

    file.write_text("new")
    one.confirm(accepted=False, reason="auth", applied_at=sent)
    assert f"user:{PASSWORD}\n" in (instance.config_directory / "sasl_passwd").read_text()
    clock.now += 60
    assert one.converge()
    assert "user:new\n" in (instance.config_directory / "sasl_passwd").read_text()

    one.confirm(accepted=False, reason="auth", applied_at=sent)
    assert one.pending_confirmation
    one.confirm(accepted=True, applied_at=one.applied_at)
    assert (one.pending_confirmation, one.state.applies["confirmed"]) == (False, 2)


def test_a_probe_that_failed_for_a_departure_is_no_word_on_the_settings(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """New settings, and somebody deletes the index before they are confirmed: it is built, and they are probed again."""
    work(instance, tmp_path)
    clock = Clock()
    one = enforcer(instance, settings(instance, tmp_path, smtp_helo_timeout="77s"), clock)
    assert one.converge()
    sent = one.applied_at
    clock.now += 1
    (instance.config_directory / "sasl_passwd.db").unlink()

    one.confirm(accepted=False, reason="local_config", applied_at=sent)
    assert one.converge()
    one.confirm(accepted=False, reason="local_config", applied_at=sent)
    assert one.state.applies["rolled_back"] == 0
    assert instance.postconf("smtp_helo_timeout") == {"smtp_helo_timeout": "77s"}

    one.confirm(accepted=False, reason="relay_down", applied_at=one.applied_at)
    assert one.state.applies["rolled_back"] == 1


def test_settings_that_change_no_file_are_as_good_as_the_former(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """Postfix's own value is written down: nothing came into force, so nothing is to be confirmed, or taken back."""
    for password in ("former", PASSWORD):
        one = enforcer(instance, settings(instance, tmp_path, password=password))
        one.converge()
        one.confirm(accepted=True)
    same = enforcer(instance, settings(instance, tmp_path, smtp_helo_timeout="300s"))
    assert not same.converge()
    assert not same.pending_confirmation

    same.confirm(accepted=False, reason="relay_down")
    assert same.state.applies["rolled_back"] == 0
    assert f"user:{PASSWORD}\n" in table(instance)


def test_what_others_edited_survives_a_rollback(instance: PostfixInstance, tmp_path: Path) -> None:
    """Only what the failed settings changed is as it was: a parameter set, one added, the table."""
    work(instance, tmp_path)
    before = instance.postconf("smtp_helo_timeout", "relayhost")
    failing = enforcer(
        instance, settings(instance, tmp_path, password="wrong", smtp_helo_timeout="77s", relay_port=2526)
    )
    failing.converge()
    instance.set(message_size_limit="77000000")
    instance.set_service("smtp/unix/smtp_connect_timeout", "33s")
    failing.confirm(accepted=False, reason="auth")

    assert instance.postconf("smtp_helo_timeout", "relayhost") == before
    assert "smtp_helo_timeout" not in (instance.config_directory / "main.cf").read_text()
    assert f"user:{PASSWORD}\n" in table(instance)
    assert instance.postconf("message_size_limit") == {"message_size_limit": "77000000"}
    assert "smtp_connect_timeout=33s" in (instance.config_directory / "master.cf").read_text()


def test_a_word_sent_before_another_process_applied_is_no_word(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """The agent finds in force what `postward apply` has brought there; its probe under way was of what was before."""
    file = tmp_path / "password"
    file.write_text("old")
    wanted = settings(instance, tmp_path, password_file=str(file))
    clock = Clock()
    running = enforcer(instance, wanted, clock)
    running.converge()
    running.confirm(accepted=True)
    sent = running.applied_at

    file.write_text("new")
    enforcer(instance, wanted).converge()
    clock.now += 1
    running.converge()
    running.confirm(accepted=False, reason="auth", applied_at=sent)
    assert "user:new\n" in table(instance)
    assert running.state.applies["rolled_back"] == 0


def test_observing_takes_nothing_back(instance: PostfixInstance, tmp_path: Path) -> None:
    """Mode = observe changes nothing, whatever probes say."""
    work(instance, tmp_path)
    enforcer(instance, settings(instance, tmp_path, password="wrong")).converge()
    observing = enforcer(instance, settings(instance, tmp_path, password="wrong", mode="observe"))
    observing.converge()
    observing.confirm(accepted=False, reason="auth")

    assert "user:wrong\n" in table(instance)


def test_a_mixture_is_not_what_worked(
    instance: PostfixInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables are new and main.cf is not: the second try keeps that, and a failed probe does not go back to it."""
    work(instance, tmp_path)
    one = enforcer(instance, settings(instance, tmp_path, password="wrong", smtp_helo_timeout="77s"))
    with monkeypatch.context() as full:
        full.setattr(Candidate, "move", _no_space)
        one.converge()
    assert "some files are changed already" in (one.state.problem or "")
    assert one.pause > 1
    one.converge()
    one.confirm(accepted=False, reason="auth")

    assert one.state.applies["rolled_back"] == 1
    assert f"user:{PASSWORD}\n" in table(instance)


def test_what_cannot_be_moved_into_place_leaves_no_trace(
    instance: PostfixInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, a read-only mount: told once, nothing to bring into force, one generation, and no hurry to try again."""
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


def test_what_another_tool_fights_over_is_no_reason_to_keep_what_fails(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """A departure that is left alone says nothing for or against the settings; nor is it kept as what worked."""
    work(instance, tmp_path)
    failing = enforcer(instance, settings(instance, tmp_path, password="wrong"))
    failing.converge()
    for _ in range(4):
        instance.set(smtp_tls_loglevel="3")
        failing.converge()
    assert failing.state.conflicts == ["smtp_tls_loglevel"]

    failing.confirm(accepted=False, reason="auth")
    assert f"user:{PASSWORD}\n" in table(instance)


def test_a_probe_that_got_through_by_a_hand_edit_proves_nothing(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """Somebody set the relay that works by hand; the settings name one that does not."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    instance.set(relayhost="[working.test]:587")
    one.confirm(accepted=True)

    assert one.pending_confirmation


def test_what_is_not_the_settings_fault_is_tried_again(
    instance: PostfixInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postfix refuses main.cf for another parameter, or does not come to a judgement: mended, the settings are applied."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.look()
    instance.set(default_process_limit="many")
    assert not one.converge()
    assert "Postfix refuses its configuration as it is, before any change" in (one.state.problem or "")
    assert "default_process_limit = many" in (one.state.problem or "")
    assert "candidate" not in (one.state.problem or "")
    instance.set(default_process_limit="100")

    with monkeypatch.context() as slow:
        slow.setattr(Postfix, "check", _too_slow)
        assert not one.converge()
    assert one.converge()


def _too_slow(*_: object) -> str:
    raise PostfixError("postfix check did not end within 30 s")


def test_a_retired_enforcer_does_no_more(instance: PostfixInstance, tmp_path: Path) -> None:
    """It waited for the lock while other settings came: it must not bring the former ones back."""
    former = enforcer(instance, settings(instance, tmp_path, password="former"))
    with ThreadPoolExecutor(1) as threads:
        with exclusively(tmp_path / "enforce"):
            waiting = threads.submit(former.converge)
            assert not wait([waiting], timeout=0.1).done
            former.retire()
        assert not waiting.result()

    assert not (instance.config_directory / "sasl_passwd").exists()


def test_a_file_that_is_being_written_is_waited_for(instance: PostfixInstance, tmp_path: Path) -> None:
    """Somebody copies a main.cf over the old one, slowly: all of it is there afterwards, and what the settings say."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    main_cf = instance.config_directory / "main.cf"
    text = main_cf.read_text().replace("relayhost = [127.0.0.1]:2525", "relayhost = [other.test]")
    with ThreadPoolExecutor(1) as threads:
        with main_cf.open("w") as file:
            file.write("a line that says nothing\n# ")
            file.flush()
            looking = threads.submit(one.converge)
            assert not wait([looking], timeout=0.3).done
            file.seek(0)
            file.write(text + "# the end\n")
        looking.result()

    assert main_cf.read_text().endswith("# the end\n")
    assert instance.postconf("relayhost") == {"relayhost": "[127.0.0.1]:2525"}
    assert one.state.in_sync


def test_the_enforcer_on_its_own_proves_what_it_finds_unproven(tmp_path: Path) -> None:
    """Settings that no mail goes out with were applied, and the host was restarted before a probe had a word."""
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

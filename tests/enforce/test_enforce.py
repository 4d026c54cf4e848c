"""The enforcer: which drift it repairs, what it leaves alone, and what it reports."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import pytest

from postward.agent.enforce.apply import exclusively
from postward.agent.enforce.confirm import Decision
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.state import read_enforcement
from postward.agent.postfix.commands import Postfix
from postward.config.plan import diff
from tests.enforce.enforcing import PASSWORD, Clock, enforcer, settings
from tests.support import CA, PostfixInstance, Relay, wait_for


def test_new_settings_are_applied_and_wait_for_confirmation(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """The first convergence applies them, the second finds no drift. They are pending until a probe confirms them."""
    one = enforcer(instance, settings(instance, tmp_path))

    assert one.converge()
    assert not one.converge()
    assert (one.state.in_sync, one.state.drift, one.state.applies["applied"]) == (True, [], 1)
    assert one.pending_confirmation
    one.confirm(Decision.KEEP)
    assert not one.pending_confirmation
    assert one.state.applies["confirmed"] == 1


def test_observing_reports_drift_and_changes_nothing(instance: PostfixInstance, tmp_path: Path) -> None:
    """With mode = observe, the drift is named in the state."""
    before = (instance.config_directory / "main.cf").read_bytes()
    one = enforcer(instance, settings(instance, tmp_path, mode="observe"))

    assert not one.converge()
    assert before == (instance.config_directory / "main.cf").read_bytes()
    assert "relayhost" in one.state.drift
    assert one.state.in_sync is False
    assert "mode = observe, so nothing is changed" in (one.state.problem or "")


def test_a_main_cf_that_users_cannot_read_is_repaired(instance: PostfixInstance, tmp_path: Path) -> None:
    """Only the missing permissions are added, without a reload; owners that only root sees are in the state."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    main_cf, content = (
        instance.config_directory / "main.cf",
        (instance.config_directory / "main.cf").read_bytes(),
    )
    queue_manager = one._postfix.last_read()
    main_cf.chmod(0o620)
    (instance.queue_directory / "incoming").chmod(0)
    one.converge()

    assert main_cf.stat().st_mode & 0o777 == 0o664
    assert main_cf.read_bytes() == content
    assert one.state.repairs["main.cf"] == 1
    assert one._postfix.last_read() == queue_manager
    assert one.state.permissions == [f"{instance.queue_directory}/incoming has mode 0000"]
    (instance.queue_directory / "incoming").chmod(0o700)


def test_a_parameter_that_is_set_twice_is_set_once_after_the_repair(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """Every Postfix command would warn of the earlier entry."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    main_cf = instance.config_directory / "main.cf"
    main_cf.write_text(f"{main_cf.read_text()}relayhost = [a.test]\nrelayhost = [b.test]\n")
    one.converge()

    lines = [line for line in main_cf.read_text().splitlines() if line.startswith("relayhost")]
    assert lines == ["relayhost = [127.0.0.1]:2525"]


def test_drift_that_returns_is_a_conflict(instance: PostfixInstance, tmp_path: Path) -> None:
    """After three repairs within an hour a parameter is left alone and reported; an hour later it is repaired again."""
    clock = Clock()
    one = enforcer(instance, settings(instance, tmp_path), clock)
    one.converge()
    for _ in range(3):
        instance.set(relayhost="[other.test]:25")
        one.converge()
        clock.now += 60
    assert instance.postconf("relayhost")["relayhost"] == "[127.0.0.1]:2525"

    instance.set(relayhost="[other.test]:25")
    one.converge()
    assert instance.postconf("relayhost")["relayhost"] == "[other.test]:25"
    assert one.state.conflicts == ["relayhost"]
    assert "another tool keeps changing relayhost" in (one.state.problem or "")
    assert one.state.gauges(time.monotonic())["postward_config_conflict"] == {("relayhost",): 1.0}

    clock.now += 3600
    one.converge()
    assert instance.postconf("relayhost")["relayhost"] == "[127.0.0.1]:2525"
    assert one.state.conflicts == []


def test_an_unreadable_main_cf_is_replaced_by_the_last_readable_one(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """A line without `=` stops every Postfix command: the last readable file is restored, the broken one is kept."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    main_cf = instance.config_directory / "main.cf"
    good = main_cf.read_bytes()
    broken = good + b"relayhost [smtp.relay.test]:587\n"
    main_cf.write_bytes(broken)
    one.converge()

    assert main_cf.read_bytes() == good
    assert (tmp_path / "enforce" / "main.cf.unreadable").read_bytes() == broken
    assert one.state.in_sync
    assert one.state.repairs["main.cf.unreadable"] == 1


def test_settings_that_postfix_refuses_are_not_tried_again(instance: PostfixInstance, tmp_path: Path) -> None:
    """They are reported with Postfix's error and counted once, until they change."""
    one = enforcer(instance, settings(instance, tmp_path, message_size_limit="10MB"))
    for _ in range(3):
        one.converge()

    assert one.state.applies["refused"] == 1
    assert "bad numerical configuration: message_size_limit = 10MB" in (one.state.problem or "")
    assert not (instance.config_directory / "sasl_passwd").exists()
    assert enforcer(instance, settings(instance, tmp_path)).converge()


def test_a_change_that_the_running_postfix_has_not_read_is_drift(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """An edit without a reload is in force for some processes and not for others: Postfix is reloaded."""
    one = enforcer(instance, settings(instance, tmp_path))
    with instance:
        one.converge()
        assert not one.look()[0]
        main_cf = instance.config_directory / "main.cf"
        main_cf.write_text(main_cf.read_text() + "smtp_helo_timeout = 77s\n")
        instance.settle()
        planned, _ = one.look()
        assert [drift.name for drift in planned.drifts] == ["main.cf"]
        assert "not read by the running Postfix" in planned.drifts[0].actual

        one.converge()
        assert not one.look()[0]
        assert "smtp_helo_timeout = 77s" in main_cf.read_text()


@dataclass(frozen=True)
class EditedMeanwhile(Postfix):
    """A Postfix whose main.cf is edited while `read_actual` reads it."""

    instance: PostfixInstance

    def parameters(self, names: Iterable[str]) -> dict[str, str]:
        """Return them as they were before the edit."""
        parameters = Postfix.parameters(self, names)
        if "relayhost" in parameters:
            self.instance.set(smtp_tls_security_level="none")
        return parameters


def test_an_edit_during_a_look_is_repaired_by_the_next(instance: PostfixInstance, tmp_path: Path) -> None:
    """It is not taken for a change that only lacks a reload, which would bring it into force."""
    wanted = settings(instance, tmp_path)
    with instance:
        enforcer(instance, wanted).converge()
        edited = Enforcer(wanted, EditedMeanwhile(instance.config_directory, instance), Clock())
        assert not edited.look()[0]

        after = enforcer(instance, wanted)
        assert [drift.name for drift in after.look()[0].drifts] == ["smtp_tls_security_level"]


def test_a_process_that_holds_the_lock_is_waited_for(
    instance: PostfixInstance,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Beside `postward apply`, a convergence is delayed; after a time-out it is reported and skipped."""
    one = enforcer(instance, settings(instance, tmp_path))
    with ThreadPoolExecutor(1) as threads:
        with exclusively(tmp_path / "enforce"):
            waiting = threads.submit(one.converge)
            assert not wait([waiting], timeout=0.3).done
        assert waiting.result()

    impatient = Enforcer(settings(instance, tmp_path), Postfix(instance.config_directory), lock_timeout=0.1)
    with exclusively(tmp_path / "enforce"):
        assert not impatient.converge()
    assert "another Postward process has been changing the configuration" in caplog.text
    assert (impatient.state.in_sync, impatient.state.applies["failed"]) == (False, 0)
    on_disk = read_enforcement(tmp_path / "enforce" / "enforcement.json")
    assert on_disk is not None
    assert on_disk.in_sync


def test_drift_that_a_user_repairs_is_not_counted(
    instance: PostfixInstance, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A container applies its settings at each start, to a new /etc/postfix: that does not show another tool."""
    one = enforcer(instance, settings(instance, tmp_path))
    one.converge()
    for _ in range(5):
        instance.set(relayhost="[other.test]:25")
        one.converge(on_request=True)
    assert instance.postconf("relayhost") == {"relayhost": "[127.0.0.1]:2525"}
    assert (one.state.conflicts, one.state.repairs) == ([], {})
    assert "repaired relayhost" not in caplog.text


def test_apply_ends_a_conflict_for_the_running_enforcer_too(
    instance: PostfixInstance, tmp_path: Path
) -> None:
    """Two processes share the record of repairs."""
    running = enforcer(instance, settings(instance, tmp_path))
    running.converge()
    for _ in range(4):
        instance.set(relayhost="[other.test]:25")
        running.converge()
    assert running.state.conflicts == ["relayhost"]

    by_hand = enforcer(instance, settings(instance, tmp_path))
    by_hand.forget_failures()
    by_hand.converge()
    instance.set(relayhost="[other.test]:25")
    running.converge()
    assert instance.postconf("relayhost") == {"relayhost": "[127.0.0.1]:2525"}
    assert (running.state.conflicts, running.state.repairs["relayhost"]) == ([], 5)


def test_a_rebuilt_index_is_used_by_all_clients(instance: PostfixInstance, tmp_path: Path) -> None:
    """An smtp(8) process that found no index keeps failing until it ends: the repair ends it by a reload."""
    with Relay(CA(), users={"user": PASSWORD}) as relay, instance:
        one = enforcer(instance, settings(instance, tmp_path, relay_port=relay.port))
        one.converge()
        (instance.config_directory / "sasl_passwd.db").unlink()
        instance.sendmail("bob@dest.test")
        wait_for(lambda: instance.log_lines("maps lookup error"), what="mail to fail for the missing index")
        one.converge()
        failures = len(instance.log_lines("maps lookup error"))
        wait_for(lambda: relay.messages, what="mail to go out")

        assert len(instance.log_lines("maps lookup error")) == failures


def test_a_table_that_is_no_longer_required_is_removed(instance: PostfixInstance, tmp_path: Path) -> None:
    """No former password stays in the directory; a roll-back brings the files back. The admin's table is not touched."""
    former = settings(instance, tmp_path)
    one = enforcer(instance, former)
    one.converge()
    one.confirm(Decision.KEEP)
    directory = instance.config_directory
    before = {name: (directory / name).read_bytes() for name in ("sasl_passwd", "sasl_passwd.db")}
    (directory / "tls_policy").write_text("[b.test]:25 none\n")
    relay = former.relay[0].model_copy(update={"username": "", "password": None})
    two = enforcer(instance, former.model_copy(update={"relay": [relay]}))
    planned, _ = two.look()
    assert "* files are removed: sasl_passwd, sasl_passwd.db" in list(diff(planned))
    two.converge()
    assert [name for name in before if (directory / name).exists()] == []
    assert (directory / "tls_policy").exists()
    assert not two.look()[0]

    two.confirm(Decision.ROLL_BACK, "auth")
    assert {name: (directory / name).read_bytes() for name in before} == before


def test_a_failure_that_repeats_is_counted_once(instance: PostfixInstance, tmp_path: Path) -> None:
    """A missing password file is logged once and counted once."""
    wanted = settings(instance, tmp_path)
    relay = wanted.relay[0].model_copy(update={"password": None, "password_file": "/nonexistent/password"})
    one = enforcer(instance, wanted.model_copy(update={"relay": [relay]}))
    for _ in range(3):
        one.converge()

    assert one.state.applies["failed"] == 1
    assert "/nonexistent/password" in (one.state.problem or "")


def test_the_state_survives_a_restart(instance: PostfixInstance, tmp_path: Path) -> None:
    """Counts continue. enforcement.json is readable by all users, everything else only by root."""
    enforcer(instance, settings(instance, tmp_path)).converge()
    again = enforcer(instance, settings(instance, tmp_path))

    assert again.state.applies["applied"] == 1
    assert (tmp_path / "enforce" / "enforcement.json").stat().st_mode & 0o777 == 0o644
    for name in ("generations", "last-readable"):
        assert (tmp_path / "enforce" / name).stat().st_mode & 0o077 == 0
    assert (tmp_path / "enforce" / "applied.json").stat().st_mode & 0o077 == 0


def test_the_plan_of_a_settled_host_is_empty(instance: PostfixInstance, tmp_path: Path) -> None:
    """Values with the same meaning stay as the admin wrote them, after apply too."""
    written = {
        "myhostname": "mail.example.test",
        "inet_interfaces": "localhost",
        "mydestination": "localhost, localhost.example.test, mail.example.test",
        "mynetworks": "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128",
        "myorigin": "example.test",
        "inet_protocols": "ipv4",
    }
    instance.set(**written)
    one = enforcer(instance, settings(instance, tmp_path))
    planned, _ = one.look()
    assert not written.keys() & {drift.name for drift in planned.drifts}
    one.converge()
    assert not one.look()[0]

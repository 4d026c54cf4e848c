"""Applying a plan: the old or the new configuration is in force at every instant, whatever fails."""

import os
import re
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from postward.agent.enforce.apply import apply, exclusively, read_actual, roll_back
from postward.agent.enforce.state import ApplyError, restart_under_way
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.postfix.config import StagedConfig
from postward.config.desired import DesiredState, desired_state
from postward.config.drift import drift, unknown_parameters
from postward.config.host import Host
from postward.config.plan import Activation, Plan, plan
from postward.config.settings import parse_settings
from tests.support import PostfixInstance, wait_for

PASSWORD = "s3cret-Gr33n-Fern"
RAW: dict[str, Any] = {
    "host": {"profile": "send-only", "myhostname": "mail.example.test", "inet_protocols": "ipv4"},
    "relay": [
        {"name": "demo", "host": "127.0.0.1", "port": 587, "username": "API_USER", "password": PASSWORD}
    ],
}


@pytest.fixture
def postfix(instance: PostfixInstance) -> Postfix:
    """The instance, as the product sees it."""
    return Postfix(instance.config_directory)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose lock is held."""
    with exclusively(tmp_path / "state"):
        yield tmp_path / "state"


def desired(postfix: Postfix, password: str = PASSWORD, **main_cf: str) -> DesiredState:
    """The desired state of `RAW`, with these parameters."""
    host = {name: main_cf.pop(name) for name in list(main_cf) if name in Host.model_fields}
    raw = RAW | {"host": RAW["host"] | host, "main_cf": main_cf}
    return desired_state(parse_settings(raw, "test"), postfix.facts(), {"demo": password})


def planned(postfix: Postfix, wanted: DesiredState) -> Plan:
    """The plan that leads to a desired state."""
    return plan(drift(wanted, read_actual(postfix, wanted)))


def content(postfix: Postfix) -> dict[str, bytes]:
    """The contents of the configuration directory."""
    return {path.name: path.read_bytes() for path in postfix.config_directory.iterdir() if path.is_file()}


def test_apply_leaves_no_drift(postfix: Postfix, state: Path) -> None:
    """After apply the plan is empty, and planning changes no file."""
    wanted = desired(postfix)
    first = planned(postfix, wanted)
    apply(first, postfix, state, keep=True)
    before = content(postfix)

    assert first
    assert not planned(postfix, wanted)
    assert before == content(postfix)


def test_a_symbolic_link_is_kept(postfix: Postfix, state: Path, tmp_path: Path) -> None:
    """If main.cf is a link into a repository, the target is replaced and the link stays."""
    target = tmp_path / "main.cf"
    target.write_bytes(postfix.main_cf.read_bytes())
    postfix.main_cf.unlink()
    postfix.main_cf.symlink_to(target)
    wanted = desired(postfix)
    apply(planned(postfix, wanted), postfix, state, keep=True)

    assert postfix.main_cf.is_symlink()
    assert b"relayhost = [127.0.0.1]:587" in target.read_bytes()


def test_an_unknown_parameter_is_reported_and_not_written(postfix: Postfix, state: Path) -> None:
    """Postconf would write any name; Postward writes none that this release of Postfix does not know."""
    wanted = desired(postfix, smtp_tls_securty_level="may")
    apply(planned(postfix, wanted), postfix, state, keep=True)

    assert unknown_parameters(wanted, read_actual(postfix, wanted)) == ["smtp_tls_securty_level"]
    assert "securty" not in postfix.main_cf.read_text()
    assert not planned(postfix, wanted)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("message_size_limit", "10MB", "bad numerical configuration: message_size_limit = 10MB"),
        ("myorigin", "/nonexistent/mailname", "/nonexistent/mailname: cannot open file"),
    ],
)
def test_settings_that_postfix_check_refuses_are_not_applied(
    name: str, value: str, error: str, postfix: Postfix, state: Path
) -> None:
    """A value that would stop every Postfix command is found on the copy, and Postfix's error is shown."""
    before = content(postfix)
    with pytest.raises(ApplyError, match=error):
        apply(planned(postfix, desired(postfix, **{name: value})), postfix, state, keep=True)

    assert before == content(postfix)


def test_many_unused_parameters_do_not_hide_an_error(postfix: Postfix, state: Path) -> None:
    """`postfix check` repeats its warning of each, more than a terminal holds; its error is still shown."""
    unused = "".join(f"site_parameter_{number} = set\n" for number in range(100))
    postfix.main_cf.write_text(postfix.main_cf.read_text() + unused)
    with pytest.raises(
        ApplyError, match=r"check: \S+ fatal: bad numerical configuration: message_size_limit"
    ):
        apply(planned(postfix, desired(postfix, message_size_limit="10MB")), postfix, state, keep=False)
    wanted = desired(postfix)
    apply(planned(postfix, wanted), postfix, state, keep=False)

    assert unused in postfix.main_cf.read_text()
    assert not planned(postfix, wanted)


def test_a_missing_postmap_leaves_the_old_configuration(
    postfix: Postfix, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No partial table is left, and no main.cf that names a missing table."""
    before = content(postfix)
    todo = planned(postfix, desired(postfix))

    def missing(*_: object) -> None:
        raise PostfixError("postmap is not installed; install the package postfix")

    monkeypatch.setattr(Postfix, "build_index", missing)
    with pytest.raises(ApplyError, match="postmap is not installed"):
        apply(todo, postfix, state, keep=True)
    after = content(postfix)

    assert before == {name: data for name, data in after.items() if not name.startswith(".")}


def test_secrets_are_readable_only_by_root_from_their_first_byte(
    postfix: Postfix, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With umask 0 too, no file with the password is ever readable by others."""
    opened: list[tuple[str, int]] = []
    original = os.open

    def spy(path: str | Path, flags: int, mode: int = 0o777, **more: int) -> int:
        descriptor = original(path, flags, mode, **more)
        if flags & os.O_CREAT:
            opened.append((str(path), stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return descriptor

    monkeypatch.setattr(os, "open", spy)
    former = os.umask(0)
    try:
        apply(planned(postfix, desired(postfix)), postfix, state, keep=True)
    finally:
        os.umask(former)
    written = [mode for path, mode in opened if "sasl_passwd" in path]

    assert written
    assert {0o600} == set(written)
    exposed = [
        path
        for folder in (postfix.config_directory, state)
        for path in folder.rglob("*")
        if path.is_file() and PASSWORD.encode() in path.read_bytes() and path.stat().st_mode & 0o077
    ]
    assert exposed == []


def test_rolling_back_restores_the_former_files(postfix: Postfix, state: Path) -> None:
    """main.cf and tables are restored byte by byte."""
    apply(planned(postfix, desired(postfix)), postfix, state, keep=True)
    before = content(postfix)
    apply(
        planned(postfix, desired(postfix, "another", relay_destination_rate_delay="1s")),
        postfix,
        state,
        keep=True,
    )
    former = roll_back(postfix, state)

    assert former.number == 1
    assert before == content(postfix)
    assert not planned(postfix, desired(postfix))


def test_rolling_back_without_a_generation_is_an_error(postfix: Postfix, state: Path) -> None:
    """The error says so, and nothing changes."""
    before = content(postfix)
    with pytest.raises(ApplyError, match="no former configuration is kept"):
        roll_back(postfix, state)

    assert before == content(postfix)


def test_ten_generations_are_kept(postfix: Postfix, state: Path) -> None:
    """Older ones are removed, except generation 0, which is what was there before Postward."""
    for number in range(12):
        apply(planned(postfix, desired(postfix, f"password-{number}")), postfix, state, keep=True)
    kept = sorted(int(path.name) for path in (state / "generations").iterdir())

    assert [0, *range(2, 12)] == kept


def test_two_processes_never_change_the_configuration_at_once(tmp_path: Path) -> None:
    """The second waits for the lock, and gives up after a time-out."""
    with (
        exclusively(tmp_path / "state"),
        pytest.raises(ApplyError, match="another Postward process has been changing the configuration"),
        exclusively(tmp_path / "state", timeout=0.1),
    ):
        pass


def test_only_listeners_need_a_restart(postfix: Postfix, state: Path) -> None:
    """inet_interfaces needs stop and start, other parameters need a reload, tables need nothing."""
    apply(planned(postfix, desired(postfix)), postfix, state, keep=True)
    assert Activation.RELOAD is planned(postfix, desired(postfix, smtp_helo_timeout="60s")).activation
    assert Activation.NONE is planned(postfix, desired(postfix, "another")).activation
    changed = {**RAW, "host": {**RAW["host"], "inet_interfaces": "127.0.0.1"}}
    wanted = desired_state(parse_settings(changed, "test"), postfix.facts(), {"demo": PASSWORD})

    assert Activation.RESTART is planned(postfix, wanted).activation


def test_a_running_postfix_loads_a_change(instance: PostfixInstance, postfix: Postfix, state: Path) -> None:
    """Apply restarts Postfix for a listener, and reloads it for other parameters."""
    with instance:
        master = instance.master_pid()
        apply(planned(postfix, desired(postfix)), postfix, state, keep=True)

        assert instance.is_running()
        assert master != instance.master_pid()
        again = instance.master_pid()
        apply(planned(postfix, desired(postfix, smtp_helo_timeout="60s")), postfix, state, keep=True)
        assert again == instance.master_pid()


def test_a_restart_is_announced(
    instance: PostfixInstance, postfix: Postfix, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While apply stops and starts Postfix, the state file says so: the agent does not report that Postfix is down."""
    announced: list[bool] = []
    restart = Postfix.restart

    def observed(restarted: Postfix) -> None:
        announced.append(restart_under_way(state, time.time()))
        restart(restarted)

    monkeypatch.setattr(Postfix, "restart", observed)
    with instance:
        apply(planned(postfix, desired(postfix)), postfix, state, keep=True)

    assert announced == [True]


def test_an_edit_while_the_copy_is_checked_is_kept(
    instance: PostfixInstance, postfix: Postfix, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """main.cf is saved after the copy was made: another copy is made, and it has both changes."""
    original = StagedConfig.check

    def check(copy: StagedConfig) -> str:
        problem = original(copy)
        if instance.postconf("smtp_helo_timeout") != {"smtp_helo_timeout": "77s"}:
            instance.set(smtp_helo_timeout="77s")
        return problem

    monkeypatch.setattr(StagedConfig, "check", check)
    wanted = desired(postfix)
    apply(planned(postfix, wanted), postfix, state, keep=True)

    assert instance.postconf("smtp_helo_timeout") == {"smtp_helo_timeout": "77s"}
    assert not planned(postfix, wanted)
    assert len(list((state / "generations").iterdir())) == 1


def test_a_file_that_changes_all_the_time_is_left_alone(
    instance: PostfixInstance, postfix: Postfix, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apply gives up with an error, and does not undo the edits."""
    edits: list[str] = []

    def check(_: StagedConfig) -> str:
        edits.append(f"{len(edits) + 1}s")
        instance.set(smtp_helo_timeout=edits[-1])
        return ""

    monkeypatch.setattr(StagedConfig, "check", check)
    with pytest.raises(ApplyError, match=r"main\.cf changes all the time; stop what edits it"):
        apply(planned(postfix, desired(postfix)), postfix, state, keep=True)

    assert instance.postconf("smtp_helo_timeout") == {"smtp_helo_timeout": edits[-1]}


def test_no_edit_of_postconf_is_lost_beside_repairs(
    instance: PostfixInstance, postfix: Postfix, state: Path
) -> None:
    """A script sets one parameter after the other while a managed one is repaired again and again."""
    wanted = desired(postfix)
    apply(planned(postfix, wanted), postfix, state, keep=False)
    repairs = 0

    def wait_for_repair(number: int) -> None:
        wait_for(lambda: repairs == number, what="the repair of the level")

    def script() -> None:
        for batch in range(5):
            instance.set(smtp_tls_security_level="none")
            for number in range(8):
                instance.set(**{f"site_parameter_{batch}_{number}": "set"})
            wait_for_repair(batch + 1)

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(script)
        while not running.done():
            if todo := planned(postfix, wanted):
                apply(todo, postfix, state, keep=False)
                repairs += 1
        running.result()

    assert len(re.findall(r"^site_parameter_\d_\d = set$", postfix.main_cf.read_text(), re.MULTILINE)) == 40
    assert not planned(postfix, wanted)

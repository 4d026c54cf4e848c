"""After a kill at any point, the configuration is exactly the old or the new, and the next start completes the change.

A child process applies a change. The files are copied before each of its file system calls, in the state in which a kill
at that call would leave them.
"""

import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from postward.agent.enforce.apply import read_actual, roll_back
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.config import StagedConfig
from postward.config.desired import DesiredState
from postward.config.drift import drift
from postward.config.plan import plan
from tests.enforce.killing import KILLED, converge, desired_for, states_when_killed
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Postfix, Path, DesiredState, DesiredState]:
    """A Postfix with the old settings, its state directory, and the old and the new desired state."""
    require_postfix()
    # Two of Postfix's scripts change nothing and take most of the time; other tests run them.
    monkeypatch.setattr(StagedConfig, "check", lambda _: "")
    monkeypatch.setattr(Postfix, "is_running", lambda _: False)
    instance = PostfixInstance(tmp_path / "postfix")
    postfix, state = Postfix(instance.config_directory), tmp_path / "state"
    old, new = desired_for(postfix, 587, "old-password"), desired_for(postfix, 2525, "new-password")
    converge(postfix, state, old)
    return postfix, state, old, new


def put(state: Path, folders: Mapping[str, Path]) -> None:
    """Put a kept state in place."""
    for name, folder in folders.items():
        shutil.rmtree(folder)
        shutil.copytree(state / name, folder)


def test_apply_can_be_killed_at_every_call(
    host: tuple[Postfix, Path, DesiredState, DesiredState], tmp_path: Path
) -> None:
    """Postfix can read the files, they are the old or the new ones, and the next convergence completes the change."""
    postfix, state, old, new = host
    folders = {"etc": postfix.config_directory, "state": state}
    hop = {old.parameters["relayhost"]: "old-password", new.parameters["relayhost"]: "new-password"}
    in_force = Counter[str]()
    for killed in states_when_killed(lambda: converge(postfix, state, new), folders, tmp_path / "killed"):
        put(killed, folders)
        relayhost = postfix.parameters(["relayhost"])["relayhost"]
        in_force[relayhost] += 1
        # The login of the next hop in force is in the table.
        login = postfix.look_up("hash", postfix.config_directory / "sasl_passwd", [relayhost])
        assert login == {relayhost: f"user:{hop[relayhost]}"}, killed

        converge(postfix, state, new)
        assert not plan(drift(new, read_actual(postfix, new))), killed
        assert not (state / "pending").exists()
        strays = [path.name for path in postfix.config_directory.iterdir() if path.name.endswith(".postward")]
        assert strays == [], killed

    assert in_force.total() > 20
    assert in_force.keys() == hop.keys()


def test_a_roll_back_can_be_killed_at_every_call(
    host: tuple[Postfix, Path, DesiredState, DesiredState], tmp_path: Path
) -> None:
    """Postfix can read the files, and finds the login of the next hop in force. Another roll-back completes the first."""
    postfix, state, old, new = host
    former = {path.name: path.read_bytes() for path in postfix.config_directory.iterdir() if path.is_file()}
    converge(postfix, state, new)
    folders = {"etc": postfix.config_directory, "state": state}
    hop = {old.parameters["relayhost"]: "old-password", new.parameters["relayhost"]: "new-password"}
    in_force = Counter[str]()
    for killed in states_when_killed(lambda: roll_back(postfix, state), folders, tmp_path / "killed"):
        put(killed, folders)
        relayhost = postfix.parameters(["relayhost"])["relayhost"]
        in_force[relayhost] += 1
        login = postfix.look_up("hash", postfix.config_directory / "sasl_passwd", [relayhost])
        assert login == {relayhost: f"user:{hop[relayhost]}"}, killed

        roll_back(postfix, state)
        restored = {
            path.name: path.read_bytes() for path in postfix.config_directory.iterdir() if path.is_file()
        }
        assert restored == former, killed

    assert in_force.total() > 15
    assert in_force.keys() == hop.keys()


@contextmanager
def sending(postfix: PostfixInstance) -> Iterator[Counter[str]]:
    """Send mail all the time, by SMTP and by sendmail. Yields the recipients of the mails that Postfix accepted."""
    accepted: Counter[str] = Counter()
    over = threading.Event()
    problems: list[BaseException] = []

    def send() -> None:
        try:
            while not over.is_set():
                recipient = f"user{accepted.total()}@dest.test"
                if accepted.total() % 2:
                    postfix.sendmail(recipient)
                else:
                    postfix.inject([recipient])
                accepted[recipient] += 1
        except BaseException as problem:
            problems.append(problem)
            raise

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield accepted
    finally:
        over.set()
        thread.join()
    assert problems == []


def test_no_mail_is_lost_when_apply_is_killed(tmp_path: Path) -> None:
    """Relays are exchanged again and again, each change killed at another call: all mail is accepted and arrives once."""
    require_postfix()
    users = {"user": "old-password"}, {"user": "new-password"}
    with (
        Relay(CA(), users=users[0]) as old,
        Relay(CA(), users=users[1]) as new,
        PostfixInstance(tmp_path / "postfix") as instance,
    ):
        postfix, state = Postfix(instance.config_directory), tmp_path / "state"
        sides = [(relay.port, login["user"]) for relay, login in zip((old, new), users, strict=True)]
        converge(postfix, state, desired_for(postfix, *sides[0]))
        killed = 0
        with sending(instance) as accepted:
            for turn, number in enumerate(range(3, 60, 10), 1):
                port, password = sides[turn % 2]
                child = [
                    sys.executable,
                    "-m",
                    "tests.enforce.killing",
                    str(instance.config_directory),
                    str(state),
                ]
                done = subprocess.run([*child, str(port), password, str(number)], check=False)
                killed += done.returncode == KILLED
                converge(postfix, state, desired_for(postfix, port, password))
        instance.sendmail("last@dest.test")  # pickup(8) then scans all of maildrop
        accepted["last@dest.test"] += 1

        def arrived() -> Counter[str]:
            return Counter(mail.rcpt_tos[0] for relay in (old, new) for mail in relay.messages)

        wait_for(lambda: not accepted - arrived(), what="all mail at the relays")
        assert accepted == arrived()
        assert killed > 3
        assert {bool(relay.messages) for relay in (old, new)} == {True}
        assert [line for line in instance.log_lines() if "status=bounced" in line] == []

"""Killed at any point, the configuration is exactly the old or the new, and the next start brings the rest.

A child process applies a change and is ended, without any clean-up, at its Nth call into the file system; N runs
through all of them.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.enforcing.apply import apply, complete, exclusively, read_actual
from agent.postfix import Postfix
from config.desired import DesiredState, desired_state
from config.drift import drift
from config.plan import plan
from config.settings import parse_settings
from tests.bed import PostfixInstance, require_postfix

_CALLS = (
    "open",
    "replace",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "fchmod",
    "chmod",
    "fchown",
    "utime",
    "fsync",
)
_KILLED = 137


def wanted(postfix: Postfix, port: int, password: str) -> DesiredState:
    """The desired state for a relay on this port."""
    raw = {
        "host": {"myhostname": "mail.example.test", "inet_protocols": "ipv4"},
        "relay": [
            {"name": "demo", "host": "127.0.0.1", "port": port, "username": "user", "password": password}
        ],
    }
    return desired_state(parse_settings(raw, "test"), postfix.facts(), {"demo": password})


def converge(postfix: Postfix, state: Path, desired: DesiredState) -> None:
    """What the enforcer does at each look."""
    with exclusively(state):
        complete(postfix, state)
        planned = plan(drift(desired, read_actual(postfix, desired)))
        if planned:
            apply(planned, postfix, state, keep=True)


def killed_at(number: int, job: Callable[[], None]) -> bool:
    """Run a job in a child that dies at its Nth file-system call; True if it died before its end."""
    child = os.fork()
    if child == 0:
        left = number

        def counted(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **keywords: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    os._exit(_KILLED)
                return original(*arguments, **keywords)

            return call

        for name in _CALLS:
            setattr(os, name, counted(getattr(os, name)))
        subprocess.Popen.__init__ = counted(subprocess.Popen.__init__)  # type: ignore[method-assign]
        try:
            job()
        except BaseException:  # a child of a test must not go on as the test
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, _KILLED}
    return code == _KILLED


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Postfix, Path, DesiredState, DesiredState]:
    """A Postfix that has the old settings, its state folder, and the old and the new desired state."""
    require_postfix()
    # Two of Postfix's scripts, which change nothing and take most of the time; other tests run them.
    monkeypatch.setattr(Postfix, "check", lambda _: None)
    monkeypatch.setattr(Postfix, "is_running", lambda _: False)
    instance = PostfixInstance(tmp_path / "postfix")
    postfix, state = Postfix(instance.config_directory), tmp_path / "state"
    old, new = wanted(postfix, 587, "old-password"), wanted(postfix, 2525, "new-password")
    converge(postfix, state, old)
    return postfix, state, old, new


def test_every_call_of_apply_killed_once(
    host: tuple[Postfix, Path, DesiredState, DesiredState], tmp_path: Path
) -> None:
    """Whatever the call: Postfix can read what is there, it is the old or the new, and the next look completes it."""
    postfix, state, old, new = host
    backup = tmp_path / "backup"
    shutil.copytree(postfix.config_directory, backup / "etc")
    shutil.copytree(state, backup / "state")
    seen = {"old": 0, "new": 0}
    number = 0
    while True:
        number += 1
        if not killed_at(number, lambda: converge(postfix, state, new)):
            break
        relayhost = postfix.parameters(["relayhost"])["relayhost"]
        seen["old" if relayhost == old.parameters["relayhost"] else "new"] += 1
        assert relayhost in {old.parameters["relayhost"], new.parameters["relayhost"]}
        # The login for the next hop in force is there, whichever that is.
        hop = {old.parameters["relayhost"]: "old-password", new.parameters["relayhost"]: "new-password"}
        login = postfix.look_up("hash", postfix.config_directory / "sasl_passwd", [relayhost])
        assert login == {relayhost: f"user:{hop[relayhost]}"}, f"killed at call {number}"

        converge(postfix, state, new)
        assert not plan(drift(new, read_actual(postfix, new))), f"killed at call {number}"
        assert not (state / "pending").exists()
        strays = [path.name for path in postfix.config_directory.iterdir() if path.name.endswith(".postward")]
        assert strays == [], f"killed at call {number}"

        for folder, kept in ((postfix.config_directory, backup / "etc"), (state, backup / "state")):
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)

    assert number > 40
    assert seen["old"] > 0
    assert seen["new"] > 0

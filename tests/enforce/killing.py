"""Applies a change in a process that exits, without any clean-up, at its Nth file system call.

Tests with other threads run it as a program:
`python -m tests.enforce.killing CONFIG_DIRECTORY STATE PORT PASSWORD N`.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from postward.agent.enforce.apply import apply, complete, exclusively, read_actual
from postward.agent.postfix.commands import Postfix
from postward.config.desired import DesiredState, desired_state
from postward.config.drift import drift
from postward.config.plan import plan
from postward.config.settings import parse_settings

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
KILLED = 137


def desired_for(postfix: Postfix, port: int, password: str) -> DesiredState:
    """The desired state for a relay on this port."""
    raw = {
        "host": {"profile": "send-only", "myhostname": "mail.example.test", "inet_protocols": "ipv4"},
        "relay": [
            {"name": "demo", "host": "127.0.0.1", "port": port, "username": "user", "password": password}
        ],
    }
    return desired_state(parse_settings(raw, "test"), postfix.facts(), {"demo": password})


def converge(postfix: Postfix, state: Path, desired: DesiredState) -> None:
    """Converge as the enforcer does."""
    with exclusively(state):
        complete(postfix, state)
        planned = plan(drift(desired, read_actual(postfix, desired)))
        if planned:
            apply(planned, postfix, state, keep=True)


def die_at(number: int) -> None:
    """Exit this process at its Nth file system call or child process from now on."""
    left = number

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(KILLED)
            return original(*arguments, **keywords)

        return call

    for name in _CALLS:
        setattr(os, name, counted(getattr(os, name)))
    subprocess.Popen.__init__ = counted(subprocess.Popen.__init__)  # type: ignore[method-assign]


def killed_at(number: int, job: Callable[[], object]) -> bool:
    """Run a job in a child that exits at its Nth call. Return True if it did not get to its end."""
    child = os.fork()
    if child == 0:
        die_at(number)
        try:
            job()
        except BaseException:  # a child must not continue as the test
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, KILLED}
    return code == KILLED


def main(config_directory: str, state: str, port: str, password: str, number: str) -> None:
    """Converge, and exit on the way."""
    postfix = Postfix(Path(config_directory))
    desired = desired_for(postfix, int(port), password)
    die_at(int(number))
    converge(postfix, Path(state), desired)


if __name__ == "__main__":
    main(*sys.argv[1:])

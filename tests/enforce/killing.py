"""Applies a change in a process that exits, without any clean-up, at its Nth file system call.

Tests with other threads run it as a program:
`python -m tests.enforce.killing CONFIG_DIRECTORY STATE PORT PASSWORD N`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
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


def _before_each_call(act: Callable[[], None]) -> None:
    """Call `act` before each file system call and child process of this process from now on."""
    nested = False

    def observed(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal nested
            if not nested:
                nested = True
                act()
                nested = False
            return original(*arguments, **keywords)

        return call

    for name in _CALLS:
        setattr(os, name, observed(getattr(os, name)))
    subprocess.Popen.__init__ = observed(subprocess.Popen.__init__)  # type: ignore[method-assign]


def die_at(number: int) -> None:
    """Exit this process at its Nth file system call or child process from now on."""
    left = number

    def act() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(KILLED)

    _before_each_call(act)


def states_when_killed(job: Callable[[], object], folders: Mapping[str, Path], kept: Path) -> Iterator[Path]:
    """Run a job in a child, and yield a copy of the folders for each state in which a kill at a call leaves them.

    Kills at several calls leave the same files, and what follows depends on the files alone.

    Args:
        job: what is killed.
        folders: name → folder.
        kept: where the copies are, one folder for each state, with a copy of each folder under its name.
    """
    kept.mkdir()
    child = os.fork()
    if child == 0:
        try:
            _before_each_call(partial(_keep_state, folders, kept, seen=set()))
            job()
        except BaseException:  # a child must not continue as the test
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    yield from sorted(kept.iterdir(), key=lambda path: int(path.name))


def _keep_state(folders: Mapping[str, Path], kept: Path, seen: set[str]) -> None:
    digest = hashlib.sha256()
    for folder in folders.values():
        for path in sorted(folder.rglob("*")):
            status = path.lstat()
            digest.update(f"{path} {status.st_mode} {status.st_uid}".encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
    if digest.hexdigest() not in seen:
        seen.add(digest.hexdigest())
        for name, folder in folders.items():
            shutil.copytree(folder, kept / str(len(seen)) / name)


def main(config_directory: str, state: str, port: str, password: str, number: str) -> None:
    """Converge, and exit on the way."""
    postfix = Postfix(Path(config_directory))
    desired = desired_for(postfix, int(port), password)
    die_at(int(number))
    converge(postfix, Path(state), desired)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`postward apply`, `plan` and the enforcer on a host that receives: nothing ends inbound mail unasked."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent.enforce.enforcer import Enforcer
from postward.agent.postfix.commands import Postfix
from postward.config.settings import load_settings
from tests.support import CA, PostfixInstance, Relay
from tests.support.product import POSTWARD, run_postward, write_settings
from tests.support.require import require_postfix

LISTENING = {"inet_interfaces": "all", "mydestination": "example.test, localhost"}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[PostfixInstance, Path]]:
    """A Postfix that receives, and settings with `profile = "send-only"`."""
    require_postfix(sasl=False)
    instance = PostfixInstance(tmp_path / "postfix", LISTENING)
    with Relay(CA()) as relay:
        yield instance, write_settings(tmp_path, relay, instance, password="s3cret", preflight=False)


def answer(text: str, settings: Path) -> int:
    """Run apply on a terminal, type an answer, and return the exit status."""
    terminal, child = pty.openpty()
    os.write(terminal, f"{text}\n".encode())
    command = [POSTWARD, "apply", "--config", str(settings), "--no-verify"]
    try:
        return subprocess.run(command, stdin=child, capture_output=True, check=False).returncode
    finally:
        os.close(terminal)
        os.close(child)


def test_inbound_mail_ends_only_by_agreement(host: tuple[PostfixInstance, Path]) -> None:
    """Without a terminal apply refuses; Enter means no; the plan says what ends; `--allow` agrees."""
    instance, settings = host
    before = (instance.config_directory / "main.cf").read_bytes()
    refused = run_postward("apply", "--config", str(settings), "--no-verify")
    assert refused.returncode == 1
    assert (
        "! mail for example.test is no longer accepted here (mydestination) (end-inbound)" in refused.stdout
    )
    assert (
        "nothing was changed: the changes end inbound mail; to agree: --allow end-inbound" in refused.stderr
    )
    assert answer("", settings) == 1
    assert (instance.config_directory / "main.cf").read_bytes() == before

    planned = json.loads(run_postward("plan", "--config", str(settings), "--json").stdout)
    assert {one["allow"] for one in planned["consequences"]} == {"end-inbound", None}
    agreed = run_postward("apply", "--config", str(settings), "--no-verify", "--allow", "end-inbound")
    assert agreed.returncode == 0, agreed.stderr
    assert instance.postconf("inet_interfaces") == {"inet_interfaces": "loopback-only"}


def test_a_yes_on_the_terminal_agrees(host: tuple[PostfixInstance, Path]) -> None:
    """The listener ends."""
    instance, settings = host
    assert answer("y", settings) == 0
    assert instance.postconf("inet_interfaces") == {"inet_interfaces": "loopback-only"}


def test_the_enforcer_waits_for_an_agreement_and_then_keeps_to_it(
    host: tuple[PostfixInstance, Path],
) -> None:
    """It applies nothing and says what to run. After that, a listener that is opened by hand is drift like any other."""
    instance, path = host
    postfix = Postfix(instance.config_directory)
    service = Enforcer(load_settings(path), postfix)
    assert not service.converge()
    assert instance.postconf("inet_interfaces") == {"inet_interfaces": "all"}
    assert str(service.state.problem).startswith(
        "these settings are not applied, because they end inbound mail: other hosts can no longer connect"
    )
    assert str(service.state.problem).endswith("To agree: postward apply --allow end-inbound")

    run_postward("apply", "--config", str(path), "--no-verify", "--allow", "end-inbound")
    instance.set(inet_interfaces="all")
    service.converge()
    assert instance.postconf("inet_interfaces") == {"inet_interfaces": "loopback-only"}

"""`postward status --format check` and `checkmk`: the grammars, the states, and a host whose agent answers or not."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postward.agent.incidents.render import summary
from postward.agent.status.check import as_local_check, as_plugin, check_of, unknown
from tests.status.sample import incident, sample
from tests.support import require_postfix
from tests.support.postfix import PostfixInstance
from tests.support.product import POSTWARD, AgentProcess, run_postward, write_reading_settings

# Monitoring Plugins Development Guidelines, "Plugin Output for Nagios" and "Performance data": one line of text, then `|` and
# 'label'=value[UOM];[warn];[crit];[min];[max], separated by spaces. A label has no = and no quote.
_VALUE = r"-?[0-9]+(?:\.[0-9]+)?"
_DATUM = rf"'[^=']+'=(?:{_VALUE})(?:s|us|ms|%|B|KB|MB|TB|c)?(?:;[^;\s]*){{0,2}}(?:;(?:{_VALUE})?){{0,2}}"
PLUGIN = re.compile(rf"POSTWARD (OK|WARNING|CRITICAL|UNKNOWN): [^|\n]+(?: \| ({_DATUM}(?: {_DATUM})*))?")
# Checkmk, "Local checks": state, service, metrics or -, text; metrics are name=value separated by |.
_METRIC = rf"[a-zA-Z0-9_-]+={_VALUE}"
LOCAL = re.compile(rf'[0-3] "Postward" (?:-|{_METRIC}(?:\|{_METRIC})*) [^|\n\\]+')


def test_the_output_has_the_form_that_the_guidelines_ask_for() -> None:
    """With open incidents and performance data; what is not known now has no value."""
    line = as_plugin(check_of(sample()))
    match = PLUGIN.fullmatch(line)

    assert match, line
    assert match[1] == "CRITICAL"
    assert line.startswith("POSTWARD CRITICAL: mail waits: the relay refuses this login (main)")
    data = dict(datum.split("=") for datum in match[2].split(" "))
    assert data["'queue_deferred'"] == "20;;;0"
    assert data["'oldest_mail'"] == "5000s;;;0"
    assert data["'main_last_sent'"] == "6000s;;;0"
    assert data["'main_probe'"] == "0;;;0"
    assert "'second_last_sent'" not in data
    assert len(line) < 1024, "NRPE passes on 1024 bytes"
    assert LOCAL.fullmatch(as_local_check(check_of(sample())))


@pytest.mark.parametrize(
    ("effect", "state"),
    [("lost", 2), ("delayed", 2), ("blind", 3), ("degraded", 1), ("rejected", 0), ("note", 0)],
)
def test_states(effect: str, state: int) -> None:
    """Mail that is lost or waits is critical. Mail returned for its own fault says nothing against the host."""
    check = check_of(sample() | {"effect": effect})

    assert check.state == state
    assert as_local_check(check).startswith(f'{state} "Postward" ')


def test_a_summary_names_the_worst_incidents_first_and_counts_the_rest() -> None:
    """Closed incidents and notes are not named. An agent that has not caught up says how far it is."""
    effects = ("degraded", "lost", "delayed", "note", "delayed")
    rows: list[Any] = [incident(effect, 1) | {"title": effect} for effect in effects]
    rows.append(incident("lost", 1, closed=1.0) | {"title": "closed"})

    assert summary("lost", rows, None) == (
        "mail is being lost: lost (main); delayed (main); delayed (main); 1 more"
    )
    assert summary("blind", [], "12 MB are unread") == "not known whether mail goes out: 12 MB are unread"
    assert summary("note", [], None) == "mail goes out"


@given(st.text(min_size=1))
def test_no_text_breaks_the_forms(text: str) -> None:
    """A summary with the formats' own characters, line breaks and control characters."""
    for check in (check_of(sample() | {"summary": text}), unknown(text)):
        assert PLUGIN.fullmatch(as_plugin(check)), as_plugin(check)
        assert LOCAL.fullmatch(as_local_check(check)), as_local_check(check)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent of a host without incidents, whose files every user can reach."""
    require_postfix(sasl=False)
    with (
        PostfixInstance(tmp_path) as postfix,
        AgentProcess(write_reading_settings(postfix.folder, postfix)) as agent,
    ):
        yield agent


def test_any_user_can_run_the_plugin(agent: AgentProcess) -> None:
    """By the endpoint; as a member of the agent's group, by its socket. The state is that of the host."""
    as_user = (
        "setpriv",
        "--clear-groups",
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
    )
    command = (POSTWARD, "status", "--config", str(agent.settings_file), "--format", "check")
    for user in (("--reuid=65534", "--regid=65534"), ("--reuid=65534", "--regid=0")):
        done = subprocess.run(
            [*as_user, *user, *command], capture_output=True, text=True, timeout=60, check=False
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert PLUGIN.fullmatch(done.stdout.rstrip("\n")), done.stdout
        assert done.stdout.startswith("POSTWARD OK: mail goes out | 'incidents'=0;;;0 ")


def test_a_frozen_or_stopped_agent_is_unknown_in_time(agent: AgentProcess) -> None:
    """Status 3 within ten seconds and the start of Python. For Checkmk, the state is in the line."""
    config = ("status", "--config", str(agent.settings_file), "--format")
    agent.freeze()
    try:
        began = time.monotonic()
        frozen = run_postward(*config, "check")
        took = time.monotonic() - began
    finally:
        agent.wake()
    agent.stop()
    stopped, checkmk = run_postward(*config, "check"), run_postward(*config, "checkmk")

    assert (frozen.returncode, stopped.returncode, checkmk.returncode) == (3, 3, 0)
    assert "no answer within 8 s" in frozen.stdout
    assert took < 30
    assert "Connection refused" in stopped.stdout or "No such file" in stopped.stdout
    for done in (frozen, stopped):
        assert PLUGIN.fullmatch(done.stdout.rstrip("\n")), done.stdout
        assert done.stderr == ""
    assert LOCAL.fullmatch(checkmk.stdout.rstrip("\n")), checkmk.stdout
    assert checkmk.stdout.startswith("3 ")


def test_a_settings_file_that_never_answers_holds_no_check_up(tmp_path: Path) -> None:
    """A FIFO without a writer stands for a file system that is away."""
    fifo = tmp_path / "postward.toml"
    os.mkfifo(fifo)
    done = run_postward("status", "--config", str(fifo), "--format", "check")

    assert done.returncode == 3
    assert "no answer within 9 s" in done.stdout


def test_one_line_is_not_json(tmp_path: Path) -> None:
    """Usage."""
    done = run_postward("status", "--config", str(tmp_path / "x"), "--format", "check", "--json")

    assert done.returncode == 2
    assert "leave out --json and --watch" in done.stderr


def test_the_worst_instance_decides() -> None:
    """On a host with several instances of Postfix, each is named, and its values have its name."""
    other = sample() | {"instance": "postfix-out", "effect": "delayed", "summary": "mail waits"}
    main = sample() | {"instance": "postfix", "effect": "blind", "summary": "not known", "instances": [other]}
    check = check_of(main)

    assert check.state == 2
    assert check.text == "postfix: not known; postfix-out: mail waits"
    assert {"queue_deferred", "postfix-out_queue_deferred"} <= {metric.label for metric in check.metrics}

"""An agent that is stopped or frozen, as the commands show it: what it last saved says nothing of the present."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import require_postfix, wait_for
from tests.support.postfix import PostfixInstance
from tests.support.product import AgentProcess, run_postward, write_reading_settings


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent of a host without incidents."""
    require_postfix(sasl=False)
    with (
        PostfixInstance(tmp_path) as postfix,
        AgentProcess(write_reading_settings(tmp_path, postfix)) as agent,
    ):
        wait_for((tmp_path / "state" / "checkpoint.json").exists, what="a checkpoint")
        yield agent


def test_a_stopped_agent_is_not_reported_as_well(agent: AgentProcess) -> None:
    """Both commands say so, name a remedy, and exit with 4."""
    config = ("--config", str(agent.settings_file))
    agent.stop(signal.SIGKILL)
    status, why = run_postward("status", *config), run_postward("why", *config, "--json")

    assert (status.returncode, why.returncode) == (4, 4)
    for text in (status.stdout, why.stderr):
        assert "not known whether mail goes out" in text
        assert "the agent does not answer" in text
        assert "remedy: " in text
    assert "mail goes out " not in status.stdout.replace("whether mail goes out", "")
    assert "nothing keeps mail back" not in why.stderr
    assert "Connection refused" in json.loads(why.stdout)["unknown"]


def test_a_frozen_agent_is_not_reported_as_well(agent: AgentProcess) -> None:
    """Its socket still accepts connections, and nothing answers there."""
    agent.freeze()
    try:
        status = run_postward("status", "--config", str(agent.settings_file))
    finally:
        agent.wake()

    assert status.returncode == 4
    assert "no answer within" in status.stdout


def test_settings_with_an_error_and_a_state_that_cannot_be_saved_are_incidents(agent: AgentProcess) -> None:
    """They show in the status, in the metrics, and in `postward doctor`, and end with the repair."""

    def open_() -> set[str]:
        rows = json.loads(agent.get("/api/status")[1])["incidents"]
        return {row["symptom"] for row in rows if row["closed"] is None}

    file, config = agent.settings_file, ("--config", str(agent.settings_file))
    good, in_the_way = file.read_text(), file.with_name("state") / ".checkpoint.json.postward"
    in_the_way.mkdir()
    file.write_text(good.replace("[web]", "[wep]"))
    wait_for(lambda: open_() == {"settings-not-in-force", "state-unwritable"}, what="both incidents")
    assert agent.value("postward_incident_open", effect="degraded") == 2
    file.write_text(good)
    wait_for(lambda: open_() == {"state-unwritable"}, what="the end of the first incident")
    status, doctor = run_postward("status", *config), run_postward("doctor", *config, "--no-relay", "--json")
    in_the_way.rmdir()
    wait_for(lambda: not open_(), what="the end of the second incident")

    assert status.returncode == 3
    assert "Postward does not do all of its work" in status.stdout
    assert "state-unwritable" in {row["id"] for row in json.loads(doctor.stdout)["findings"]}

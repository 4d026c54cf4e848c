"""The running agent: two faults at once, restarts, facts of the host, and the commands that show incidents."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Fault, require_postfix, wait_for
from tests.support.product import run_postward
from tools.incidents.pairs import FAULTS, Bed, bed, pair

_PAIRS = [f"{row[0]} + {more[0]}" for row, more in zip(FAULTS[::2], FAULTS[1::2], strict=True)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """One bed for all tests; each test repairs what it breaks."""
    require_postfix()
    with bed(tmp_path_factory.mktemp("incidents")) as made:
        yield made


@pytest.mark.parametrize("first", range(0, len(FAULTS), 2), ids=_PAIRS)
def test_two_faults_at_once_are_both_explained_and_both_close(made: Bed, first: int) -> None:
    """Both incidents open within ten seconds, and both resolve within ten seconds of the repair."""
    pair(made, first)


def test_an_open_incident_survives_a_restart(made: Bed) -> None:
    """The incident keeps its start, and the first success after the restart resolves it."""
    key = ("first", "login-refused")
    with made.relays[0].failing(Fault(step="auth", reply="535 5.7.8 no")):
        made.mail(0)
        wait_for(lambda: key in made.open(), what="the incident")
        before = made.open()[key]
        made.agent.stop()
        made.agent.start()
        wait_for(lambda: key in made.open(), what="the incident after the restart")
        after = made.open()[key]
    made.postfix.flush()
    wait_for(lambda: not made.open(), what="the end of the incident")

    assert after["first"] == before["first"]
    assert after["attempts"] >= before["attempts"]


def test_the_offer_of_the_relay_is_a_fact(made: Bed) -> None:
    """With PLAIN and LOGIN offered and no fault on the host, a refused login means wrong credentials."""

    def offered() -> object:
        return json.loads(made.agent.get("/api/incidents")[1])["relays"]["first"]["mechanisms"]

    wait_for(lambda: offered() == ["LOGIN", "PLAIN"], what="a conversation with the relay")
    with made.relays[0].failing(Fault(step="auth", reply="535 5.7.8 no")):
        made.mail(0)
        wait_for(lambda: ("first", "login-refused") in made.open(), what="the incident")
        why = json.loads(run_postward("why", "--config", str(made.agent.settings_file), "--json").stdout)
        wait_for(lambda: made.open()["first", "login-refused"]["certainty"] == "likely", what="the facts")
    made.postfix.flush()
    wait_for(lambda: not made.open(), what="the end of the incident")
    (row,) = (row for row in why["incidents"] if row["closed"] is None)

    assert (row["certainty"], [cause["id"] for cause in row["causes"]]) == (
        "likely",
        ["password-wrong"],
    )


def test_why_shows_cause_setting_and_remedy(made: Bed) -> None:
    """From the agent: exit status 3 while mail waits and 0 after; addresses are masked by default."""
    config = ("--config", str(made.agent.settings_file))
    with made.relays[1].failing(
        Fault(step="mail", reply="553 5.7.1 Sender address rejected: not owned by user")
    ):
        made.mail(1)
        wait_for(lambda: ("second", "sender-rejected") in made.open(), what="the incident")
        why = run_postward("why", *config)
        as_json = json.loads(run_postward("why", *config, "--json").stdout)
        status = run_postward("status", *config)
        # The endpoint masks addresses; the checkpoint does not.
        wait_for(lambda: "bob@dest" in run_postward("why", *config, "--addresses").stdout, what="an address")
    made.mail(1)
    wait_for(lambda: not made.open(), what="the end of the incident")
    after = run_postward("why", *config)

    assert why.returncode == 3
    assert "MAIL IS LOST" in why.stdout
    assert "setting: host.rewrite_sender" in why.stdout
    assert "<…@dest.example.test>" in why.stdout
    assert "bob@" not in why.stdout
    assert as_json["incidents"][0]["symptom"] == "sender-rejected"
    assert status.returncode == 3
    assert "relay second" in status.stdout
    assert "failing" in status.stdout
    assert "going out" in status.stdout  # the other relay
    assert after.returncode == 0, after.stdout
    assert "OVER" in after.stdout


def test_facts_of_the_host_decide(made: Bed) -> None:
    """530 has four causes; on the host one is certain, and its remedy is a command for this host."""
    made.postfix.set(smtp_sasl_auth_enable="no")
    made.postfix.reload()
    try:
        with made.relays[0].failing(Fault(step="mail", reply="530 5.7.0 Authentication required")):
            made.mail(0)
            wait_for(lambda: ("first", "login-missing") in made.open(), what="the incident")
            done = run_postward("why", "--config", str(made.agent.settings_file), "--json")
    finally:
        made.postfix.set(smtp_sasl_auth_enable="yes")
        made.postfix.reload()
    made.mail(0)
    wait_for(lambda: not made.open(), what="the end of the incident")
    row = json.loads(done.stdout)["incidents"][0]

    assert row["certainty"] == "certain", row
    assert [cause["id"] for cause in row["causes"]] == ["auth-off"]
    assert "smtp_sasl_auth_enable" in row["causes"][0]["where"]
    assert row["causes"][0]["check"] == ""


def test_metrics_of_incidents(made: Bed) -> None:
    """Open incidents are a gauge with symptom, relay and effect."""
    with made.relays[0].failing(Fault(step="auth", reply="535 5.7.8 no")):
        made.mail(0)
        labels = {"symptom": "login-refused", "relay": "first", "effect": "delayed"}
        wait_for(lambda: made.agent.value("postward_incident_open", **labels) == 1, what="the metric")
    made.postfix.flush()
    wait_for(lambda: made.agent.value("postward_incident_open") == 0, what="the end of the metric")

    assert made.agent.value("postward_incidents_opened_total") >= 1


def test_why_without_an_agent_names_the_fix(tmp_path: Path, made: Bed) -> None:
    """Without agent and checkpoint: exit status 1, and the command to start the agent."""
    settings = tmp_path / "postward.toml"
    text = made.agent.settings_file.read_text()
    listen = next(line for line in text.splitlines() if line.startswith("listen"))
    state = next(line for line in text.splitlines() if line.startswith("directory"))
    settings.write_text(
        text.replace(listen, 'listen = "127.0.0.1:1"').replace(state, f'directory = "{tmp_path}"')
    )
    done = run_postward("why", "--config", str(settings))

    assert done.returncode == 1
    assert "systemctl start postward" in done.stderr

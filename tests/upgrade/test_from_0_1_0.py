"""An upgrade from release 0.1.0: its settings, counts and former configurations, as that release wrote them.

The files in `release_0_1_0/` are its own: settings that `postward check` of that release accepted, the checkpoint and the
log of an agent that had counted five mails, and the state of its enforcer.
"""

import hashlib
import json
import logging
import re
import shutil
from pathlib import Path

import pytest

from postward.agent.checkpoint import parse_checkpoint
from postward.agent.enforce.history import list_generations
from postward.agent.enforce.state import enforcement_as_shown
from postward.config.errors import SettingsError
from postward.config.former import FORMER, renamed
from postward.config.settings import load_settings
from tests.support import PostfixInstance, require_postfix, wait_for
from tests.support.product import AgentProcess, write_reading_settings

FOLDER = Path(__file__).parent / "release_0_1_0"
DOCUMENT = Path(__file__).parents[2] / "docs/upgrading.md"


def test_its_settings_are_read_with_a_warning_for_each_former_name(caplog: pytest.LogCaptureFixture) -> None:
    """Each of them has the value that it had."""
    with caplog.at_level(logging.WARNING):
        settings = load_settings(FOLDER / "postward.toml")

    assert {record.getMessage().split(": ", 1)[1] for record in caplog.records} == {
        f"{section}.{former} is called {section}.{name} now; rename it"
        for section, names in FORMER.items()
        for former, name in names.items()
    }
    assert settings.relay[0].allow_unusual_port
    assert settings.relay[1].allow_cleartext_password
    assert settings.probe.lost_after_seconds == 7200
    assert settings.probe.relay_check_interval_seconds == 900
    assert settings.probe.max_auth_attempts_per_hour == 2
    assert settings.probe.sink_url == "http://sink.example.com:9788"
    assert settings.events.include_personal_data
    assert settings.notify.webhook_url is not None


def test_a_setting_under_both_names_is_refused(tmp_path: Path) -> None:
    """One of them would have no effect."""
    file = tmp_path / "postward.toml"
    text = (FOLDER / "postward.toml").read_text()
    file.write_text(text.replace("lost_seconds = 7200", "lost_seconds = 7200\nlost_after_seconds = 60"))

    with pytest.raises(SettingsError, match="lost_seconds: is not a setting"):
        load_settings(file)


def test_tables_of_another_form_are_left_to_the_validation() -> None:
    """A text or a number where a table belongs."""
    tables = {"probe": "often", "relay": [7, {"unusual_port": True}], "events": 3}

    assert renamed(tables)[0] == {"probe": "often", "relay": [7, {"allow_unusual_port": True}], "events": 3}


def test_the_agent_goes_on_counting(tmp_path: Path) -> None:
    """Five mails were sent under 0.1.0; a sixth is logged while no agent runs."""
    require_postfix()
    log, state = tmp_path / "mail.log", tmp_path / "state"
    text = (FOLDER / "mail.log").read_text()
    log.write_text(text)
    state.mkdir()
    (state / "checkpoint.json").write_bytes(_checkpoint(log))
    sent = re.findall(r".*status=sent .*\n", text)
    with PostfixInstance(tmp_path / "postfix") as postfix:
        settings = write_reading_settings(tmp_path, postfix, source=str(log))
        with log.open("a") as file:
            file.write(sent[-1])
        with AgentProcess(settings) as agent:
            wait_for(
                lambda: agent.value("postfix_deliveries_total", status="sent") == 6,
                what="six deliveries",
            )
            assert agent.value("postfix_messages_removed_total", postfix_instance="postfix") >= 5
    assert not (state / "checkpoint.damaged").exists()


def _checkpoint(log: Path) -> bytes:
    """The checkpoint of 0.1.0, for a log at this path."""
    body = json.loads((FOLDER / "checkpoint.json").read_text())
    body["positions"] = {str(log): body["positions"]["LOG"]}
    version = body.pop("version")
    checksum = hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).hexdigest()
    return json.dumps({"version": version, "sha256": checksum, **body}).encode()


def test_the_chart_of_the_last_day_goes_on() -> None:
    """Its buckets stand under another name."""
    checkpoint = parse_checkpoint(_checkpoint(Path("mail.log")))
    buckets = checkpoint.parts["incidents"]["history"]

    assert sum(status["sent"] for status, _, _ in buckets.values()) == 6  # with the probe


def test_former_configurations_can_come_back(tmp_path: Path) -> None:
    """And the enforcer's counters go on."""
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    [generation] = list_generations(tmp_path)

    assert generation.number == 1
    assert generation.files == ("main.cf", "master.cf")
    assert "relayhost" in generation.parameters
    state = enforcement_as_shown(tmp_path)
    assert state is not None
    assert state.gauges(0.0)["postward_config_applies_total"]["applied",] == 1


def test_the_document_names_what_has_another_name() -> None:
    """Settings of release 0.1.0, in docs/upgrading.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for section, names in FORMER.items():
        for former, name in names.items():
            assert f"| `{section}.{former}` | `{name}` |" in text

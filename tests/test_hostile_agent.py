"""The whole agent under faults that others cause: descriptors, saved state, a second agent, and the log's content."""

import contextlib
import hashlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent.checkpoint import VERSION
from tests.support import PostfixInstance, require_postfix, wait_for
from tests.support.product import POSTWARD, AgentProcess, run_postward, write_reading_settings

SECRET = "s3cret-Gr33n-Fern"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Path]:
    """Settings of an agent that reads a file."""
    require_postfix()
    with PostfixInstance(tmp_path / "postfix") as postfix:
        log = tmp_path / "mail.log"
        log.touch()
        path = write_reading_settings(tmp_path, postfix, source=str(log))
        path.write_text(path.read_text().replace('"not used"', f'"{SECRET}"'))
        yield path


def test_an_agent_with_hardly_any_descriptors_lives(settings: Path) -> None:
    """Sixty connections and thirty-two descriptors: it answers, and looks that failed are tried again."""
    agent = AgentProcess(settings)
    agent.launcher = ("/bin/sh", "-c", 'ulimit -n 40; exec "$@"', "sh")
    with agent, contextlib.ExitStack() as held:
        for _ in range(60):
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_connection(agent.address, 5))
        wait_for(lambda: agent.get("/-/healthy")[0] == 200, what="an answer")
        held.close()
        wait_for(lambda: agent.get("/metrics")[0] == 200, what="the metrics")


def test_odd_state_is_left_out_and_a_second_agent_is_refused(settings: Path, tmp_path: Path) -> None:
    """Each part has state of another form, with a right checksum. The lock is the first agent's."""
    body = {
        "positions": {},
        "tally": {"counters": {}, "times": {}, "histograms": {}},
        "parts": {
            "incidents": [1],
            "probing": {"pending": {"a": 1}, "uncounted": 7},
            "traffic": "x",
            "relays": None,
        },
    }
    digest = hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).hexdigest()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "checkpoint.json").write_text(
        json.dumps({"version": VERSION, "sha256": digest, **body})
    )
    with AgentProcess(settings) as agent:
        second = subprocess.run(
            [POSTWARD, "run", "--config", str(settings)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert agent.get("/metrics")[0] == 200
        assert agent.value("postward_part_failures_total", part="ProbeScheduler") == 1

    assert second.returncode == 1
    assert "in use by another agent" in second.stderr


def test_nothing_shows_the_relays_password(settings: Path, tmp_path: Path) -> None:
    """In lines of every form that the log can have: pages, checkpoint and commands mask it."""
    lines = [
        f"Nov 24 06:05:01 mx1 postfix/smtp[7]: fatal: unsupported dictionary type: static:user:{SECRET}",
        f"Nov 24 06:05:01 mx1 postfix/smtp[7]: warning: something new says {SECRET}",
        f"Nov 24 06:05:01 mx1 postfix/smtp[8]: maps_find: smtp_sasl_password_maps: static:user:{SECRET}(0): k = user:{SECRET}",
        f"Nov 24 06:05:01 mx1 postfix/smtp[7]: fatal: odd failure {SECRET}",
        f"Nov 24 06:05:02 mx1 postfix/smtpd[7]: fatal: open {SECRET}: No space left on device",
    ]
    with AgentProcess(settings) as agent:
        with (tmp_path / "mail.log").open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))
        wait_for(lambda: agent.value("postward_incident_open") >= 1, what="the incidents")
        pages = [agent.get(path)[1] for path in ("/status", "/api/status", "/api/incidents", "/metrics")]
        checkpoint = tmp_path / "state" / "checkpoint.json"
        wait_for(lambda: "queue-full" in checkpoint.read_text(), what="the checkpoint")
        shown = [run_postward(name, "--config", str(settings)).stdout for name in ("why", "status")]
        texts = [*pages, checkpoint.read_text(), agent.output(), *shown]

    assert "No space left" in shown[0]
    assert [text for text in texts if SECRET in text] == []

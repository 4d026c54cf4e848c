"""Steps of the wall clock, as after a suspended virtual machine or a first synchronization, under a running Postward.

Postfix, the enforcer and the agent have a clock that the test sets. It stays ahead of the machine's, so that the times
of files are never in its future.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.product import POSTWARD, AgentProcess, run_postward, write_settings
from tests.support.wall_clock import WallClock

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"
_HOUR, _DAY = 3600, 86400
_START = 30 * _DAY  # ahead of the machine's clock
_STEPS = {
    "an hour forward": _HOUR,
    "two hours back": -2 * _HOUR,
    "ten days back": -10 * _DAY,
    "20 days forward": 20 * _DAY,
}


@dataclass
class Bed:
    """A host under a clock of its own."""

    clock: WallClock
    postfix: PostfixInstance
    settings: Path
    agent: AgentProcess

    def await_sent(self, count: float, step: str) -> None:
        """Wait until so many deliveries are counted."""
        wait_for(
            lambda: self.agent.value("postfix_deliveries_total", status="sent") == count,
            30,
            f"{count} mails after {step}",
        )

    def open_incidents(self) -> list[str]:
        """Return the symptoms that `postward why` shows as open."""
        done = run_postward("why", "--json", "--config", str(self.settings), env=self.clock.environment)
        return [row["symptom"] for row in json.loads(done.stdout)["incidents"] if row["closed"] is None]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    require_postfix()
    postfix = PostfixInstance(tmp_path / "postfix")
    clock = WallClock(postfix.folder)
    clock.set(_START)
    shifted = " ".join(f"{name}={value}" for name, value in clock.environment.items())
    postfix.set(import_environment=f"MAIL_CONFIG LANG=C {shifted}")
    with Relay(CA(), "relay.example.test", users={USER: PASSWORD}) as relay, postfix:
        settings = write_settings(
            tmp_path, relay, postfix, password=PASSWORD, probe_interval=5, enforce_interval=5
        )
        done = run_postward("apply", "--config", str(settings), env=clock.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        agent = AgentProcess(settings)
        agent.launcher = clock.launcher
        enforcer = subprocess.Popen([*clock.launcher, POSTWARD, "enforce", "--config", str(settings)])
        try:
            with agent:
                wait_for(lambda: agent.value("postward_enforcer_up") == 1, 60, "a first look")
                wait_for(lambda: agent.value("postward_probe_success") == 1, 60, "a first probe")
                yield Bed(clock, postfix, settings, agent)
        finally:
            enforcer.terminate()
            enforcer.wait(30)


def test_steps_of_the_clock(bed: Bed) -> None:
    """Every mail is counted once, probes go on and are accepted, and nothing is called a fault."""
    agent, shift = bed.agent, _START
    sent = agent.value("postfix_deliveries_total", status="sent")
    for name, step in _STEPS.items():
        shift += step
        bed.clock.set(shift)
        looked = agent.value("postward_config_check_timestamp_seconds")
        probes = agent.value("postward_probes_total", outcome="accepted")
        bed.postfix.inject(f"u{number}@dest.test" for number in range(5))
        sent += 5
        assert bed.open_incidents() == [], name

        def has_gone_on(probes: float = probes, looked: float = looked) -> bool:
            return (
                agent.value("postward_probes_total", outcome="accepted") >= probes + 1
                and agent.value("postward_config_check_timestamp_seconds") != looked
            )

        wait_for(has_gone_on, 60, f"a probe after {name}; {agent.output()[-1000:]}")
        bed.await_sent(sent, name)
        assert bed.open_incidents() == [], name
        assert agent.value("postward_enforcer_up") == 1, name
    assert "incident opened" not in agent.output()
    assert agent.value("postward_log_losses_total") == 0
    assert agent.value("postward_probes_total") == agent.value("postward_probes_total", outcome="accepted")

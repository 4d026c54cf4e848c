"""Conditions that no log line shows, as the gauges give them, and the monitor's gauges and state."""

from pathlib import Path
from typing import Any

import pytest

from postward.agent.incidents.catalog.symptom import Resolution
from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.monitor import ClockSteps, IncidentMonitor, arrivals, conditions, probes
from postward.agent.metrics.catalog import BY_NAME
from postward.agent.metrics.labels import RelayNames
from postward.agent.parts import Gauges
from postward.agent.postfix.commands import Postfix
from postward.config.settings import parse_settings

_HEALTHY: Gauges = {
    "postfix_up": {(): 1.0},
    "postfix_queue_oldest_age_seconds": {("maildrop",): 3.0},
    "postfix_queue_messages": {("deferred", "none"): 0.0},
}


def monitor(folder: Path, **more: Any) -> IncidentMonitor:
    """A monitor of a host with the relay `demo`."""
    raw: dict[str, Any] = {
        "host": {"myhostname": "mx.example.test"},
        "relay": [{"name": "demo", "host": "relay.test"}],
        "state": {"directory": str(folder)},
    }

    async def nothing() -> None:
        """There is nothing to list or to save."""

    settings = parse_settings(raw | more, "test")
    names = RelayNames.of_settings(settings)
    return IncidentMonitor(settings, Postfix(folder), names, dict, dict, nothing, nothing)


def test_healthy_host_closes_every_condition() -> None:
    """Every condition has no problem."""
    assert [condition.problem for condition in conditions(_HEALTHY)] == [None] * 3


def test_missing_gauges_report_nothing() -> None:
    """A condition without its gauge neither opens nor closes."""
    assert list(conditions({})) == []
    assert list(probes({}, ())) == []


def test_each_condition_has_its_problem_as_text() -> None:
    """Postfix down, maildrop, mail that waits without a reason."""
    faulty: Gauges = {
        "postfix_up": {(): 0.0},
        "postfix_queue_oldest_age_seconds": {("maildrop",): 300.0},
        "postfix_queue_messages": {("deferred", "none"): 2.0},
    }
    problems = {symptom: problem for symptom, _, problem in conditions(faulty)}

    assert problems == {
        "postfix-down": "master(8) is not running",
        "not-picked-up": "a mail has been in maildrop for 300 s",
        "silent-delay": "2 deferred mails have no reason",
    }
    assert {SYMPTOMS[symptom].resolution for symptom in problems} == {Resolution.CONDITION}


def test_restart_by_postward_is_not_an_outage() -> None:
    """While Postward restarts Postfix, a Postfix that is down neither opens nor closes an incident."""
    assert list(conditions({"postfix_up": {(): 0.0}}, restarting=True)) == []
    assert list(conditions({"postfix_up": {(): 1.0}}, restarting=True)) == [
        ("postfix-down", "this host", None)
    ]


def test_a_step_of_the_clock_makes_no_mail_late() -> None:
    """A mail in maildrop is as old as the clock says, so the step is awaited to be two minutes past; none is over at once."""
    age = "postfix_queue_oldest_age_seconds"
    late: Gauges = {age: {("maildrop",): 3600.0}}
    empty: Gauges = {age: {("maildrop",): 0.0}}

    assert list(conditions(late, stepped=True)) == []
    assert [condition.problem for condition in conditions(late)] == ["a mail has been in maildrop for 3600 s"]
    assert [condition.problem for condition in conditions(empty, stepped=True)] == [None]


def test_the_clock_steps_for_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A correction of seconds does not count; a step in either direction is one until mail can be late by the new time."""
    wall, steady = [1_800_000_000.0], [1000.0]
    monkeypatch.setattr("postward.agent.incidents.monitor.time.time", lambda: wall[0])
    monkeypatch.setattr("postward.agent.incidents.monitor.time.monotonic", lambda: steady[0])
    clock = ClockSteps()

    def after(seconds: float, step: float = 0.0) -> bool:
        wall[0] += seconds + step
        steady[0] += seconds
        return clock.is_recent(120.0)

    assert [after(1), after(1, 4), after(1, 3600), after(118), after(2), after(1, -3600), after(120)] == [
        *(False, False, True, True, False),
        *(True, False),
    ]


def test_failed_probe_is_reported_only_without_a_failed_delivery() -> None:
    """A failed delivery of the same relay says more than the probe."""
    gauges: Gauges = {"postward_probe_success": {("first",): 0.0, ("second",): 0.0, ("third",): 1.0}}

    assert list(probes(gauges, {"second"})) == [
        ("probe-late", "first", "the last probe was not accepted, and no delivery failed"),
        ("probe-late", "third", None),
    ]


def test_what_the_mailbox_shows_is_an_incident_of_its_own() -> None:
    """A probe that the relay accepted and that did not arrive does not say that it was not accepted."""
    gauges: Gauges = {
        "postward_probe_success": {("first",): 0.0, ("second",): 1.0},
        "postward_probe_arrived": {("first",): 0.0, ("second",): 1.0},
        "postward_probe_in_spam": {("first",): 1.0, ("second",): 0.0},
        "postward_probe_authenticated": {
            ("first", "spf"): 1.0,
            ("first", "dkim"): 0.0,
            ("first", "dmarc"): 0.0,
            ("second", "spf"): 1.0,
        },
    }
    shown = {
        (symptom, place): problem for symptom, place, problem in [*probes(gauges, ()), *arrivals(gauges)]
    }

    assert shown == {
        ("probe-late", "first"): None,
        (
            "probe-not-arrived",
            "first",
        ): "the relay accepted the last probe, and it did not arrive once, unchanged and in time",
        ("probe-in-spam", "first"): "the last probe is in a folder for spam",
        ("probe-unauthenticated", "first"): "the receiver of the last probe says: DKIM, DMARC failed",
        ("probe-late", "second"): None,
        ("probe-not-arrived", "second"): None,
        ("probe-in-spam", "second"): None,
        ("probe-unauthenticated", "second"): None,
    }


def test_a_returned_probe_is_one_incident() -> None:
    """It is neither late nor "not arrived" as well."""
    gauges: Gauges = {
        "postward_probe_success": {("first",): 0.0},
        "postward_probe_arrived": {("first",): 0.0},
    }
    assert list(probes(gauges, (), {"first"})) == [
        ("probe-late", "first", None),
        ("probe-not-arrived", "first", None),
    ]


def test_settings_without_probes_close_the_incidents_of_probes(tmp_path: Path) -> None:
    """So do settings without the relay; unchanged settings close nothing."""
    probing = {"probe": {"recipient": "probe@relay.test"}}
    former = monitor(tmp_path, **probing)
    for relay in ("demo", "gone"):
        former.tracker.set_condition("probe-late", relay, "the last probe was not accepted", 0.0)
    same, without = monitor(tmp_path, **probing), monitor(tmp_path)
    same.restore(former.state())
    without.restore(former.state())

    assert [incident.place for incident in same.tracker.open] == ["demo"]
    assert without.tracker.open == []


def test_dropped_incidents_are_exported_and_survive_a_restart(tmp_path: Path) -> None:
    """The counter says how many incidents found no room, and continues after a restart."""
    name = "postward_incidents_dropped_total"
    former, restored = monitor(tmp_path), monitor(tmp_path)
    for number in range(70):
        former.tracker.set_condition("postfix-down", f"instance {number}", "it is not running", 0.0)
    restored.restore(former.state())

    assert BY_NAME[name].kind == "counter"
    assert former.gauges()[name] == {(): 6.0}
    assert restored.gauges()[name] == {(): 6.0}


def test_open_incidents_are_exported_by_symptom_relay_and_effect(tmp_path: Path) -> None:
    """The place is not a label: incidents of one symptom add up."""
    made = monitor(tmp_path)
    for instance in ("postfix", "postfix-out"):
        made.tracker.set_condition("postfix-down", "this host", "it is not running", 0.0, instance)

    assert made.gauges()["postward_incident_open"] == {("postfix-down", "none", "delayed"): 2.0}
    assert made.gauges()["postward_incidents_opened_total"] == {(): 2.0}

"""What the log does not show: conditions of the moment, as the gauges tell them."""

from pathlib import Path
from typing import Any

from postward.agent.incidents.catalog.table import SYMPTOMS
from postward.agent.incidents.monitor import IncidentMonitor, conditions, probes
from postward.agent.incidents.symptom import Resolution
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Gauges
from postward.agent.postfix.commands import Postfix
from postward.config.settings import parse_settings

_WELL: Gauges = {
    "postfix_up": {(): 1.0},
    "postward_log_readable": {(): 1.0},
    "postward_config_in_sync": {(): 1.0},
    "postfix_queue_oldest_age_seconds": {("maildrop",): 3.0},
    "postfix_queue_messages": {("deferred", "none"): 0.0},
}


def test_a_host_that_is_well_closes_what_it_may_have_opened() -> None:
    """Every condition is told to be right, in words None."""
    assert {words for _, _, words in conditions(_WELL)} == {None}
    assert len(conditions(_WELL)) == 5


def test_what_is_not_known_is_not_told() -> None:
    """No gauge, no word: neither opened nor closed."""
    assert conditions({}) == []
    assert probes({}, ()) == []


def test_each_condition_is_told_in_words() -> None:
    """Postfix down, log unreadable, drift by name, maildrop, mail that waits without a reason."""
    ill: Gauges = {
        "postfix_up": {(): 0.0},
        "postward_log_readable": {(): 0.0},
        "postward_config_in_sync": {(): 0.0},
        "postward_config_drift": {("relayhost",): 1.0},
        "postfix_queue_oldest_age_seconds": {("maildrop",): 300.0},
        "postfix_queue_messages": {("deferred", "none"): 2.0},
    }
    told = {symptom: words for symptom, _, words in conditions(ill)}

    assert told == {
        "postfix-down": "master(8) does not run",
        "log-unreadable": "the mail log cannot be read",
        "config-drift": "differs: relayhost",
        "not-picked-up": "a mail has lain in maildrop for 300 s",
        "silent-delay": "2 deferred mails have no reason",
    }
    assert {SYMPTOMS[symptom].proof for symptom in told} == {Resolution.CONDITION}


def test_a_restart_by_postward_is_not_an_outage() -> None:
    """While Postward restarts Postfix, "Postfix does not run" neither opens nor closes."""
    assert conditions({"postfix_up": {(): 0.0}}, restarting=True) == []
    assert conditions({"postfix_up": {(): 1.0}}, restarting=True) == [("postfix-down", "this host", None)]


def test_a_probe_is_told_of_where_nothing_else_explains_it() -> None:
    """A failed delivery of the same relay says more than the probe does."""
    gauges: Gauges = {"postward_probe_success": {("first",): 0.0, ("second",): 0.0, ("third",): 1.0}}

    assert probes(gauges, {"second"}) == [
        ("probe-late", "first", "the last probe was not accepted, and no delivery failed"),
        ("probe-late", "third", None),
    ]


def test_settings_without_probes_end_what_probes_told_of(tmp_path: Path) -> None:
    """And those without a relay what concerned it; where they are as before, it goes on."""
    raw: dict[str, Any] = {
        "host": {"myhostname": "mx.example.test"},
        "relay": [{"name": "demo", "host": "relay.test"}],
        "state": {"directory": str(tmp_path)},
    }

    async def nothing() -> None:
        """Nothing to list or to write."""

    def watch(**more: Any) -> IncidentMonitor:
        settings = parse_settings(raw | more, "test")
        names = RelayNames.of_settings(settings)
        return IncidentMonitor(settings, Postfix(tmp_path), names, dict, nothing, nothing)

    probing = {"probe": {"recipient": "probe@relay.test"}}
    former = watch(**probing)
    for relay in ("demo", "gone"):
        former.incidents.note("probe-late", relay, "the last probe was not accepted", 0.0)
    same, without = watch(**probing), watch()
    same.restore(former.as_json())
    without.restore(former.as_json())

    assert [incident.place for incident in same.incidents.open] == ["demo"]
    assert without.incidents.open == []

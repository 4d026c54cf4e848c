"""Final outcomes: counted once, with the step that a check of the relay located."""

import asyncio
from dataclasses import replace
from typing import Any

from postward.agent.metrics.tally import Tally
from postward.agent.probe.outcomes import ProbeOutcomes
from postward.agent.probe.result import Milestone, ProbeResult
from postward.agent.probe.route import Route
from postward.config.settings import Settings, parse_settings
from postward.parsers import Cause

ROUTE = Route("demo", "postward@example.test")
AMBIGUOUS = ProbeResult(
    "demo", "failed", "greeting", None, "421 later", (), "4F2A91C0B3", ROUTE.sender, submitted=100.0
)


def settings(**sections: Any) -> Settings:
    """Return settings with one relay."""
    raw: dict[str, Any] = {
        "host": {"myhostname": "mx.example.test"},
        "relay": [{"name": "demo", "host": "relay.test"}],
        **sections,
    }
    return parse_settings(raw, "test")


class Outcomes:
    """Outcomes whose checks of the relay find EHLO at fault."""

    def __init__(self, **sections: Any) -> None:
        self.tally = Tally()
        self.checks = 0
        self.done: list[ProbeResult] = []
        self.outcomes = ProbeOutcomes(
            settings(**sections), [ROUTE], self.tally, self._on_counted, self._locate
        )

    async def _locate(self, result: ProbeResult, _settings: Settings) -> ProbeResult:
        self.checks += 1
        return replace(result, step="ehlo")

    async def _on_counted(self, outcome: ProbeResult) -> None:
        self.done.append(outcome)

    def counted(self) -> dict[tuple[str, ...], float]:
        """Return the counts."""
        return dict(self.tally.counters["postward_probes_total"])


def test_a_verdict_and_an_equal_outcome_share_one_check() -> None:
    """The relay is asked once; the outcome is counted at the step that the check located."""
    run = Outcomes()

    async def scenario() -> ProbeResult:
        run.outcomes.count(AMBIGUOUS)
        assert run.counted() == {}
        assert run.outcomes.state() == [["demo", "failed", "greeting"]]
        verdict = await run.outcomes.located(AMBIGUOUS)
        await run.outcomes.settled()
        return verdict

    assert asyncio.run(scenario()).step == "ehlo"
    assert run.checks == 1
    assert run.counted() == {("demo", "failed", "ehlo"): 1}
    assert run.outcomes.state() == []
    assert run.done == [AMBIGUOUS]


def test_the_newest_probe_of_a_route_has_the_gauges() -> None:
    """A late outcome of an older probe changes nothing."""
    run = Outcomes()
    timeline = (Milestone("submitted", 0.0), Milestone("accepted", 2.0))
    accepted = replace(AMBIGUOUS, outcome="accepted", step="", timeline=timeline, submitted=200.0)
    run.outcomes.remember(accepted)
    run.outcomes.remember(AMBIGUOUS)

    assert run.outcomes.newest(ROUTE) == accepted
    gauges = {name: series for name, series in run.outcomes.gauges().items() if series}
    assert gauges == {
        "postward_probe_success": {("demo",): 1.0},
        "postward_probe_step_duration_seconds": {("demo", "accepted"): 2.0},
    }


def test_the_mailbox_has_gauges_and_counters() -> None:
    """The folder and the verdicts of the newest arrived probe; a probe that then fails changes neither."""
    run = Outcomes()
    verdicts = (("spf", "pass"), ("dkim", "fail"), ("dmarc", "none"))
    spam = replace(AMBIGUOUS, outcome="arrived", step="", submitted=200.0, folder="spam", verdicts=verdicts)
    lost = replace(AMBIGUOUS, outcome="lost", step="arrival", submitted=300.0)
    lost = replace(lost, timeline=(Milestone("submitted", 0.0), Milestone("accepted", 2.0)))

    async def scenario() -> None:
        run.outcomes.count(spam)
        await run.outcomes.settled()

    asyncio.run(scenario())
    arrived = {"postward_probe_in_spam": {("demo",): 1.0}}
    arrived["postward_probe_authenticated"] = {("demo", "spf"): 1.0, ("demo", "dkim"): 0.0}  # type: ignore[dict-item]
    assert arrived.items() <= run.outcomes.gauges().items()
    assert run.outcomes.gauges()["postward_probe_arrived"] == {("demo",): 1.0}
    assert run.tally.counters["postward_probe_arrivals_total"] == {("demo", "spam"): 1}
    assert run.tally.counters["postward_probe_verdicts_total"] == {
        ("demo", method, verdict): 1 for method, verdict in verdicts
    }
    run.outcomes.remember(lost)
    assert arrived.items() <= run.outcomes.gauges().items()
    assert run.outcomes.gauges()["postward_probe_arrived"] == {("demo",): 0.0}


def test_a_return_ends_when_two_probes_are_accepted_and_do_not_come_back() -> None:
    """The notification follows its probe late: the gauge does not flap with each probe that the relay accepts."""
    run = Outcomes(bounces={"maildir": "/nowhere"})
    timeline = (Milestone("submitted", 0.0), Milestone("accepted", 2.0))

    def accepted(number: int) -> ProbeResult:
        moment = 100.0 * number
        return replace(
            AMBIGUOUS,
            outcome="accepted",
            step="",
            timeline=timeline,
            submitted=moment,
            message_id=f"<{number}@x>",
        )

    def gauge() -> float:
        return run.outcomes.gauges()["postward_probe_returned"]["demo",]

    assert gauge() == 0
    for number in range(1, 4):
        run.outcomes.remember(accepted(number))
        assert gauge() == float(number > 1), "one acceptance ends nothing"
        assert run.outcomes.take_return("<9@x>", Cause.POLICY, "550 no") == []
        (result,) = run.outcomes.take_return(f"<{number}@x>", Cause.POLICY, "550 no")
        assert result.outcome == "returned"
        assert run.outcomes.returned() == {
            "demo": "the relay accepted the last probe and returned it (policy): 550 no"
        }
    run.outcomes.remember(accepted(4))
    assert gauge() == 1
    run.outcomes.remember(accepted(5))
    assert gauge() == 0


def test_without_a_mailbox_nothing_is_claimed_of_returns() -> None:
    """The gauge is missing."""
    assert Outcomes().outcomes.returned() == {}

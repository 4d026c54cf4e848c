"""The agent's probes when the settings change, and when a former run left probes or rejected logins."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from postward.agent.enforce.confirm import Decision
from postward.agent.metrics.tally import Tally
from postward.agent.postfix.commands import Postfix
from postward.agent.probe.locate import locate_step
from postward.agent.probe.outcomes import Locate
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.route import Route
from postward.agent.probe.scheduler import ProbeScheduler
from postward.agent.probe.tracker import ProbeTracker
from postward.agent.relay.login_throttle import LoginThrottle
from postward.config.settings import Settings, parse_settings
from postward.parsers import parse
from tests.relay.test_login_throttle import end_process
from tests.support.waiting import wait_for_async

PROBE = "<1.postward-probe@mx.example.test>"
REJECTED = "SASL authentication failed; server old.test[192.0.2.1] said: 535 5.7.8 no"
TICK = 0.001


def settings(folder: Path, recipient: str) -> Settings:
    """Return settings with one relay, which has a login."""
    relay = {"name": "demo", "host": "relay.test", "username": "u", "password": "s3cret-Green"}
    raw: dict[str, Any] = {
        "host": {"myhostname": "mx.example.test"},
        "relay": [relay],
        "probe": {"recipient": recipient},
        "state": {"directory": str(folder)},
    }
    return parse_settings(raw, "test")


class Run:
    """The probes of one run of the agent."""

    def __init__(
        self, folder: Path, recipient: str = "probe@relay.test", locate: Locate = locate_step
    ) -> None:
        given = settings(folder, recipient)
        self.throttle = LoginThrottle(folder / "logins.json", given.relay, 2)
        self.tally = Tally()
        self.verdicts: list[str] = []
        self.has_backlog = False
        self.looks = 0
        self.probes = ProbeScheduler(
            given,
            Postfix(folder),
            self.tally,
            show=lambda result: self.verdicts.append(result.relay),
            judge=self._nothing,
            throttle=self.throttle,
            flush=self._nothing,
            has_backlog=self._look,
            first_after=3600.0,
            tick=TICK,
            locate=locate,
        )

    async def _nothing(self, *_: object) -> None:
        """Judge and save nothing."""

    def _look(self) -> bool:
        self.looks += 1
        return self.has_backlog

    def log(self, text: str) -> None:
        """Give it a line of the log."""
        record, event = parse(f"Nov 24 09:00:00 mx postfix/{text}")
        assert record is not None
        assert event is not None
        self.probes.observe(record, event)

    def outcomes(self) -> dict[tuple[str, ...], float]:
        """Return the outcomes that were counted."""
        return {labels: n for labels, n in self.tally.counters["postward_probes_total"].items() if n}


def in_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario, and what it left in the background, to the end."""

    async def whole() -> None:
        await scenario()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        async with asyncio.timeout(5):
            await asyncio.gather(*others)

    asyncio.run(whole())


@asynccontextmanager
async def running(run: Run, until: Callable[[], object]) -> AsyncIterator[None]:
    """Run the probes until a condition holds, and then for the length of a with block."""
    task = asyncio.create_task(run.probes.run())
    await wait_for_async(until)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def sent_long_ago() -> list[dict[str, Any]]:
    """Return what a former run saved of its probe, three hours before this one."""
    former = ProbeTracker(lambda: time.time() - 3 * 3600)
    former.expect(PROBE, Route("demo", "postward@example.test"))
    former.submitted(PROBE)
    return former.state()


async def sent_to_a_removed_relay() -> list[dict[str, Any]]:
    """Return what a former run, whose settings had another relay, saved of its probe."""
    former = ProbeTracker()
    former.expect(PROBE, Route("old", "postward@old.test"))
    former.submitted(PROBE)
    return former.state()


def test_a_rejected_login_at_a_removed_relay_is_counted(tmp_path: Path) -> None:
    """The settings lost the relay meanwhile; the login throttle has nothing to record."""
    run = Run(tmp_path)

    async def scenario() -> None:
        run.probes.restore({"pending": await sent_to_a_removed_relay()})
        run.log(f"cleanup[4]: 4F2A91C0B3: message-id={PROBE}")
        run.log(
            "smtp[7]: 4F2A91C0B3: to=<p@r.test>, relay=old.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.7.8, "
            f"status=deferred ({REJECTED})"
        )

    in_loop(scenario)

    assert run.outcomes() == {("old", "failed", "auth"): 1}
    assert run.verdicts == ["old"]


def test_a_rejected_greeting_of_a_removed_relay_is_counted(tmp_path: Path) -> None:
    """Without a relay to check, the step stays as the log says."""
    run = Run(tmp_path)

    async def scenario() -> None:
        run.probes.restore({"pending": await sent_to_a_removed_relay()})
        run.log(f"cleanup[4]: 4F2A91C0B3: message-id={PROBE}")
        run.log(
            "smtp[7]: 4F2A91C0B3: to=<p@r.test>, relay=old.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.3.2, "
            "status=deferred (host old.test[192.0.2.1] refused to talk to me: 421 4.3.2 later)"
        )

    in_loop(scenario)

    assert run.outcomes() == {("old", "failed", "greeting"): 1}


def test_a_delivered_mail_clears_a_rejection_of_a_former_run(tmp_path: Path) -> None:
    """The throttle forbids the probe at first; users' mail through the relay shows that it accepts the login again."""
    former = Run(tmp_path)
    for _ in range(2):
        former.throttle.acquire("demo")
        former.throttle.release("demo", accepted=False)
    run = Run(tmp_path)
    in_loop(lambda: run.probes.probe(run.probes.routes[0]))
    assert run.throttle.next_attempt_at("demo")
    run.log(
        "smtp[7]: 4F2A91C0B4: to=<bob@dest.test>, relay=relay.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=2.0.0, "
        "status=sent (250 ok)"
    )

    assert run.throttle.next_attempt_at("demo") is None


def test_no_probe_is_lost_before_the_log_is_caught_up(tmp_path: Path) -> None:
    """Its time is up, but the lines that show its fate are still to come."""
    run = Run(tmp_path)
    run.has_backlog = True

    async def scenario() -> None:
        run.probes.restore({"pending": await sent_long_ago()})
        async with running(run, lambda: run.looks > 3):
            run.log(f"cleanup[4]: 4F2A91C0B3: message-id={PROBE}")
            run.log(
                "smtp[7]: 4F2A91C0B3: to=<p@r.test>, relay=relay.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.3.2, "
                "status=deferred (host relay.test[192.0.2.1] said: 451 4.3.2 later (in reply to MAIL FROM command))"
            )
            await run.probes.settled()

    in_loop(scenario)

    assert run.outcomes() == {("demo", "failed", "mail_from"): 1}
    assert run.verdicts == ["demo"]


def test_an_outcome_under_way_at_the_end_is_left_to_the_next_run(tmp_path: Path) -> None:
    """The relay is being checked when the agent stops: the check ends, and the outcome is saved as uncounted."""
    checked = asyncio.Event()

    async def never(result: ProbeResult, _settings: Settings) -> ProbeResult:
        checked.set()
        await asyncio.Event().wait()
        return result

    run = Run(tmp_path, locate=never)

    async def scenario() -> None:
        run.probes.restore({"pending": await sent_long_ago()})
        run.log(f"cleanup[4]: 4F2A91C0B3: message-id={PROBE}")
        run.log("qmgr[5]: 4F2A91C0B3: from=<postward@example.test>, size=500, nrcpt=1 (queue active)")
        async with running(run, checked.is_set):
            pass

    async def cancel_checks() -> None:
        await scenario()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(cancel_checks())

    assert run.outcomes() == {}
    following = Run(tmp_path)
    following.probes.restore(run.probes.state())
    assert following.outcomes() == {("demo", "lost", "delivery"): 1}


def test_a_probe_of_a_former_run_is_followed_without_a_recipient(tmp_path: Path) -> None:
    """Without probe.recipient no probe is sent, and none is left waiting."""
    run = Run(tmp_path, recipient="")

    async def scenario() -> None:
        run.probes.restore({"pending": await sent_long_ago()})
        async with running(run, run.outcomes):
            await run.probes.settled()

    in_loop(scenario)

    assert run.outcomes() == {("demo", "lost", "pickup"): 1}
    assert run.probes.state()["pending"] == []


def test_a_crash_during_an_accepted_login_forbids_nothing(tmp_path: Path) -> None:
    """An attempt without an outcome counts as rejected until the log shows the probe accepted."""
    former = Run(tmp_path)
    for _ in range(2):
        former.throttle.acquire("demo")
    end_process(tmp_path)
    run = Run(tmp_path)

    async def scenario() -> None:
        run.probes.restore({"pending": await sent_long_ago()})
        assert not run.throttle.acquire("demo")
        run.log(f"cleanup[4]: 4F2A91C0B3: message-id={PROBE}")
        run.log(
            "smtp[7]: 4F2A91C0B3: to=<p@r.test>, relay=relay.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=2.0.0, "
            "status=sent (250 ok)"
        )
        run.log("qmgr[5]: 4F2A91C0B3: removed")

    in_loop(scenario)

    assert run.throttle.acquire("demo")


def test_only_probes_since_a_change_judge_it(tmp_path: Path) -> None:
    """A failed probe rejects the settings that were in force when it was submitted, and says nothing of later ones."""
    run = Run(tmp_path)
    before = time.time()
    in_loop(lambda: run.probes.probe(run.probes.routes[0]))

    assert run.verdicts == ["demo"]
    assert run.probes.verdict_since(before) is Decision.ROLL_BACK
    assert run.probes.verdict_since(time.time() + 1) is Decision.WAIT

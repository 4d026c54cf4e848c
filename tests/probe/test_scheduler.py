"""The agent's probes where settings change under them, and where a former run left a refused login."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from postward.agent.metrics.tally import Tally
from postward.agent.postfix.commands import Postfix
from postward.agent.probe import scheduler
from postward.agent.probe.result import Route
from postward.agent.probe.scheduler import Probing
from postward.agent.probe.tracker import ProbeTracker
from postward.agent.relay.login_throttle import LoginThrottle
from postward.config.settings import Settings, parse_settings
from postward.parsers import parse

PROBE = "<1.postward-probe@mx.example.test>"
REFUSED = "SASL authentication failed; server old.test[192.0.2.1] said: 535 5.7.8 no"


def settings(folder: Path, recipient: str) -> Settings:
    """One relay with a login."""
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

    def __init__(self, folder: Path, recipient: str = "probe@relay.test") -> None:
        given = settings(folder, recipient)
        self.guard = LoginThrottle(folder / "logins.json", given.relay, 2)
        self.tally = Tally()
        self.verdicts: list[str] = []
        self.has_backlog = False
        self.probing = Probing(
            given,
            Postfix(folder),
            self.tally,
            lambda result: self.verdicts.append(result.relay),
            self._nothing,
            self.guard,
            self._nothing,
            lambda: self.has_backlog,
        )

    async def _nothing(self, *_: object) -> None:
        """Nothing is new, and nothing is written down."""

    def say(self, text: str) -> None:
        """A line of the log."""
        record, event = parse(f"Nov 24 09:00:00 mx postfix/{text}")
        assert record is not None
        assert event is not None
        self.probing.observe(record, event)

    def outcomes(self) -> dict[tuple[str, ...], float]:
        """What was counted."""
        return {labels: n for labels, n in self.tally.counters["postward_probes_total"].items() if n}


def in_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run it to its end, what it left in the background included."""

    async def whole() -> None:
        await scenario()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        async with asyncio.timeout(5):
            await asyncio.gather(*others)

    asyncio.run(whole())


async def sent_long_ago() -> list[dict[str, Any]]:
    """What a former run saved of its probe, three hours before this one."""
    former = ProbeTracker(lambda: time.time() - 3 * 3600)
    former.expect(PROBE, Route("demo", "postward@example.test"))
    former.submitted(PROBE)
    return former.as_json()


async def sent_to_a_relay_that_is_gone() -> list[dict[str, Any]]:
    """What a former run, whose settings had another relay, saved of its probe."""
    former = ProbeTracker()
    former.expect(PROBE, Route("old", "postward@old.test"))
    former.submitted(PROBE)
    return former.as_json()


def test_a_login_refused_by_a_relay_that_the_settings_lost_meanwhile_is_counted(tmp_path: Path) -> None:
    """Nothing is left to guard."""
    run = Run(tmp_path)

    async def scenario() -> None:
        run.probing.restore({"pending": await sent_to_a_relay_that_is_gone()})
        run.say(f"cleanup[4]: 4F2A91C0B3: message-id={PROBE}")
        run.say(
            "smtp[7]: 4F2A91C0B3: to=<p@r.test>, relay=old.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.7.8, "
            f"status=deferred ({REFUSED})"
        )

    in_loop(scenario)

    assert run.outcomes() == {("old", "failed", "auth"): 1}
    assert run.verdicts == ["old"]


def test_a_refused_greeting_of_such_a_relay_is_counted(tmp_path: Path) -> None:
    """With nobody to talk to, it stays what the log says."""
    run = Run(tmp_path)

    async def scenario() -> None:
        run.probing.restore({"pending": await sent_to_a_relay_that_is_gone()})
        run.say(f"cleanup[4]: 4F2A91C0B3: message-id={PROBE}")
        run.say(
            "smtp[7]: 4F2A91C0B3: to=<p@r.test>, relay=old.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.3.2, "
            "status=deferred (host old.test[192.0.2.1] refused to talk to me: 421 4.3.2 later)"
        )

    in_loop(scenario)

    assert run.outcomes() == {("old", "failed", "greeting"): 1}


def test_mail_that_goes_out_ends_a_refusal_of_a_former_run(tmp_path: Path) -> None:
    """The guard holds probes back at first; users' mail through the relay says that it takes the login again."""
    former = Run(tmp_path)
    for _ in range(2):
        former.guard.begin("demo")
        former.guard.end("demo", accepted=False)
    run = Run(tmp_path)
    in_loop(lambda: run.probing._probe_once(run.probing._prober.routes[0]))
    assert not run.guard.admits("demo")
    run.say(
        "smtp[7]: 4F2A91C0B4: to=<bob@dest.test>, relay=relay.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=2.0.0, "
        "status=sent (250 ok)"
    )

    assert run.guard.admits("demo")


def test_a_probe_of_a_former_run_is_not_lost_before_the_log_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is up long since; what became of it stands in the lines that are still to come."""
    monkeypatch.setattr(scheduler, "_TICK", 0.0)
    run = Run(tmp_path)
    run.has_backlog = True

    async def scenario() -> None:
        run.probing.restore({"pending": await sent_long_ago()})
        ticking = asyncio.create_task(run.probing._tick())
        for _ in range(10):
            await asyncio.sleep(0)
        run.say(f"cleanup[4]: 4F2A91C0B3: message-id={PROBE}")
        run.say(
            "smtp[7]: 4F2A91C0B3: to=<p@r.test>, relay=relay.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=4.3.2, "
            "status=deferred (host relay.test[192.0.2.1] said: 451 4.3.2 later (in reply to MAIL FROM command))"
        )
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)

    in_loop(scenario)

    assert run.outcomes() == {("demo", "failed", "mail_from"): 1}
    assert run.verdicts == ["demo"]


def test_what_became_of_a_probe_is_left_to_the_next_run_where_this_one_ends(tmp_path: Path) -> None:
    """Nothing goes on in the background that the checkpoint would not know of."""
    run = Run(tmp_path)

    async def scenario() -> None:
        run.probing.restore({"pending": await sent_long_ago()})
        running = asyncio.create_task(run.probing.run(3600.0))
        await asyncio.sleep(0)
        run.probing._in_background(asyncio.sleep(3600))  # the relay is asked, say
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    in_loop(scenario)  # ends


def test_a_probe_is_seen_to_its_end_although_no_more_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without probe.recipient nothing new is sent, and nothing is left waiting."""
    monkeypatch.setattr(scheduler, "_TICK", 0.0)
    run = Run(tmp_path, recipient="")

    async def scenario() -> None:
        run.probing.restore({"pending": await sent_long_ago()})
        running = asyncio.create_task(run.probing.run())
        for _ in range(10):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    in_loop(scenario)

    assert run.outcomes() == {("demo", "lost", "pickup"): 1}
    assert run.probing.as_json()["pending"] == []


def test_a_crash_in_a_login_that_was_accepted_holds_nothing_back(tmp_path: Path) -> None:
    """A try without an outcome counts as refused, until the log tells what came of the probe."""
    former = Run(tmp_path)
    for _ in range(2):
        former.guard.begin("demo")
    with former.guard._file(write=True):
        former.guard._entry("demo")["process"] = 2**30  # no such process: it died
    run = Run(tmp_path)

    async def scenario() -> None:
        run.probing.restore({"pending": await sent_long_ago()})
        assert not run.guard.begin("demo")
        run.say(f"cleanup[4]: 4F2A91C0B3: message-id={PROBE}")
        run.say(
            "smtp[7]: 4F2A91C0B3: to=<p@r.test>, relay=relay.test[192.0.2.1]:587, delay=1, delays=0/0/1/0, dsn=2.0.0, "
            "status=sent (250 ok)"
        )
        run.say("qmgr[5]: 4F2A91C0B3: removed")

    in_loop(scenario)

    assert run.guard.begin("demo")

"""The agent's probes: when each route is probed, what each verdict leads to, and whether probes confirm new settings.

Each route is probed by a task of its own, so that one that hangs delays no other.

Promise: every probe is counted once, across restarts. Intervals are jittered, so that the hosts of a fleet do not probe
at the same moment. After a rejected login, the probes of that relay pause as the login throttle says.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from postward.agent.beat import BEAT, next_beat
from postward.agent.enforce.confirm import Decision, decide
from postward.agent.logs.watcher import wake_up
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part, Problem
from postward.agent.postfix.commands import Postfix
from postward.agent.probe.arrivals import ArrivalClient, arrival_client
from postward.agent.probe.locate import locate_step
from postward.agent.probe.outcomes import Locate, ProbeOutcomes
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.route import Route
from postward.agent.probe.submit import Prober
from postward.agent.probe.tracker import Limits, ProbeTracker, return_of
from postward.agent.relay.login_throttle import LoginThrottle
from postward.config.settings import Settings
from postward.parsers import Event, Record
from postward.parsers.dsn import Recipient
from postward.parsers.events import Delivery
from postward.parsers.scan import Block

_JITTER = 0.1  # of the interval, in both directions
_STAGGER = 0.05  # seconds between the first probes of two routes

Verdict = Callable[[ProbeResult], Awaitable[None]]
_log = logging.getLogger("postward.probe")


@dataclass(frozen=True, slots=True)
class _NewSettings:
    """Settings that no probe has confirmed yet: when they came into force, and the relays that they change."""

    applied_at: float
    relays: frozenset[str]


class ProbeScheduler(Part):
    """All probes of the agent.

    Args:
        settings: what is probed, and how often.
        postfix: takes the probes.
        tally: where outcomes are counted.
        show: displays a verdict.
        judge: awaited with each verdict; it confirms or rolls back new settings.
        throttle: limits logins.
        flush: saves the checkpoint; awaited before a probe is submitted and after one is counted.
        has_backlog: returns True while the log is being caught up; no probe is declared late or lost until then.
        first_after: seconds until the first probes, unless `probe_now` is called; None: at once.
        tick: seconds between looks at the time and at the arrivals.
        locate: finds the step where the log leaves it open.

    Raises:
        KeyFileError: probe.key_file cannot be used.
    """

    name = "probing"

    def __init__(
        self,
        settings: Settings,
        postfix: Postfix,
        tally: Tally,
        *,
        show: Callable[[ProbeResult], None],
        judge: Verdict,
        throttle: LoginThrottle,
        flush: Callable[[], Awaitable[None]],
        has_backlog: Callable[[], bool],
        first_after: float | None = None,
        tick: float = BEAT,
        locate: Locate = locate_step,
    ) -> None:
        self._settings = settings
        self._tally = tally
        self._show = show
        self._judge = judge
        self._throttle = throttle
        self._flush = flush
        self._has_backlog = has_backlog
        self._first_after = first_after
        self._tick = tick
        self._relay_names = RelayNames.of_settings(settings)
        self._tracker = ProbeTracker(
            limits=Limits.of_settings(settings), on_verdict=self._on_former_verdict, on_final=self._on_final
        )
        self._prober = Prober(settings, postfix, self._tracker, flush)
        self._outcomes = ProbeOutcomes(settings, self._prober.routes, tally, self._on_counted, locate)
        self._arrivals = arrival_client(settings)
        place = "mailbox" if settings.mailbox.is_set else "probe.sink_url"
        self._arrival_problem = Problem(_log, place, f"{place}: it answers again")
        self._failing: set[str] = set()  # relays whose last probe was not accepted
        self._wakes = {route: asyncio.Event() for route in self._prober.routes}
        self._confirmed: dict[str, str] = {}  # relay → hash of the settings that probes confirmed
        self._new_settings: _NewSettings | None = None
        if self._prober.routes:
            for route in self._prober.routes:
                outcome = "arrived" if self._prober.is_awaited(route) else "accepted"
                tally.add("postward_probes_total", (route.relay, outcome, ""), 0)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that are probed."""
        return self._prober.routes

    @property
    def is_waiting(self) -> bool:
        """True while a verdict is awaited."""
        return self._prober.waiting > 0

    # --- from the log

    def observe(self, record: Record, event: Event) -> None:
        """Take one line of the log. If a failing relay accepts mail again, probe it at once."""
        self._tracker.observe(record, event)
        if self._failing and isinstance(event, Delivery) and event.status == "sent":
            relay = self._relay_names.of_delivery(event, record.instance)
            if relay in self._failing:
                self._failing.discard(relay)
                self._throttle.reset(relay)
                self.probe_now(relay)

    def observe_block(self, block: Block) -> None:
        """Take a block of lines, while a probe is under way or a relay fails."""
        if self._failing or not self._tracker.is_idle:
            super().observe_block(block)

    # --- the schedule

    def probe_now(self, relay: str | None = None) -> None:
        """Probe the routes of a relay, or all routes, without waiting for the interval."""
        for route, wake in self._wakes.items():
            if relay in {None, route.relay}:
                wake.set()

    async def run(self) -> None:
        """Probe until cancelled. Without a recipient, only probes of a former run are followed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_time())
                if self._arrivals is not None:
                    group.create_task(self._follow_arrivals(self._arrivals))
                for number, route in enumerate(self.routes):
                    group.create_task(self._probe_periodically(route, number * _STAGGER))
        finally:
            self._prober.close()
            if self._arrivals is not None:
                self._arrivals.close()
            self._outcomes.close()

    async def _probe_periodically(self, route: Route, delay: float) -> None:
        wake = self._wakes[route]
        if self._first_after is not None:
            await wake_up(wake, self._first_after)
        await asyncio.sleep(delay)
        while True:
            began = time.monotonic()
            await self.probe(route)
            interval = self._settings.probe.interval_seconds
            pause = interval * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 -- not a secret
            await wake_up(wake, max(0.0, pause - (time.monotonic() - began)))

    async def probe(self, route: Route) -> None:
        """Probe a route once, unless the login throttle forbids it."""
        if route.login and not self._throttle.acquire(route.relay):
            self._failing.add(route.relay)  # until mail through it shows otherwise
            return
        accepted = None
        try:
            result = await self._prober.probe(route)
            accepted = result.login_accepted
        finally:
            if route.login:
                self._throttle.release(route.relay, accepted=accepted)
        result = await self._outcomes.located(result)
        self._on_verdict(result)
        await self._judge(result)

    async def _follow_time(self) -> None:
        while True:
            await next_beat(self._tick)
            if not self._has_backlog():
                self._tracker.tick()

    async def _follow_arrivals(self, arrivals: ArrivalClient) -> None:
        while True:
            self._arrival_problem.note(await arrivals.update(self._tracker))
            await next_beat(self._tick)

    # --- results

    def take_return(self, message_id: str, recipient: Recipient) -> None:
        """Take a notification by which a probe came back to the mailbox of bounces."""
        if not self._tracker.returned(message_id, recipient):
            for result in self._outcomes.take_return(message_id, *return_of(recipient)):
                self._show(result)

    def returned(self) -> Mapping[str, str | None]:
        """Return why the probes of each relay come back; None if they do not."""
        return self._outcomes.returned()

    def _on_verdict(self, verdict: ProbeResult) -> None:
        self._outcomes.remember(verdict)
        self._show(verdict)
        if verdict.accepted:
            self._failing.discard(verdict.relay)
            moment = verdict.submitted + verdict.timeline[-1].seconds
            self._tally.latest("postward_probe_last_success_timestamp_seconds", (verdict.relay,), moment)
        elif verdict.outcome != "returned":  # users' mail that the relay accepts shows no end of returns
            self._failing.add(verdict.relay)

    def _on_former_verdict(self, verdict: ProbeResult) -> None:
        """Take the verdict on a probe of a former run, which did not record the outcome of its login."""
        if verdict.login_accepted:
            self._throttle.reset(verdict.relay)
        self._on_verdict(verdict)

    def _on_final(self, outcome: ProbeResult) -> None:
        if outcome.login_accepted is False:
            self._throttle.note_rejected(outcome.relay)
        self._outcomes.count(outcome)

    async def _on_counted(self, outcome: ProbeResult) -> None:
        await self._flush()
        if outcome.outcome in {"failed", "lost"}:
            await self._prober.withdraw(outcome)

    async def settled(self) -> None:
        """Wait until all final outcomes are counted."""
        await self._outcomes.settled()

    # --- confirmation of new settings

    def verdict_since(self, moment: float) -> Decision:
        """Decide about settings that came into force at `moment`, by the probes submitted since.

        Only relays whose own settings changed since they were last confirmed count (all relays if none did): an outage
        of another relay must not roll a good change back.
        """
        if self._new_settings is None or self._new_settings.applied_at != moment:
            self._new_settings = _NewSettings(moment, self._changed_relays())
        relays = self._new_settings.relays
        routes = [route for route in self.routes if not relays or route.relay in relays]
        return decide(moment, [self._outcomes.newest(route) for route in routes])

    def note_confirmed(self) -> None:
        """Remember the settings in force as confirmed."""
        self._confirmed, self._new_settings = self._throttle.digests(), None

    def _changed_relays(self) -> frozenset[str]:
        digests = self._throttle.digests()
        return frozenset(name for name in digests if digests[name] != self._confirmed.get(name))

    # --- gauges and state

    def gauges(self) -> Gauges:
        """Return the gauges of the newest results, and whether the mailbox can be read."""
        gauges = dict(self._outcomes.gauges())
        if self._settings.mailbox.is_set:
            gauges["postward_mailbox_readable"] = {(): float(self._arrival_problem.text is None)}
        return gauges

    def conditions(self) -> Mapping[str, str | None]:
        """Return why the mailbox cannot be read."""
        return {"mailbox-unreadable": self._arrival_problem.text} if self._settings.mailbox.is_set else {}

    def state(self) -> Mapping[str, Any]:
        """Return the probes under way, the outcomes to be counted, and the confirmed settings."""
        return {
            "pending": self._tracker.state(),
            "uncounted": self._outcomes.state(),
            "confirmed": self._confirmed,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the probes of a former run."""
        pending, confirmed = state.get("pending"), state.get("confirmed")
        self._tracker.restore(pending if isinstance(pending, list) else ())
        self._outcomes.restore(state.get("uncounted", []))
        self._confirmed = dict(confirmed) if isinstance(confirmed, dict) else {}

"""The agent's probes: when each route is probed, what comes of it, and what is told of it.

Each route is a task of its own, so that none is late because another hangs. Settings that are new are judged by the
probes of the relays that they changed.

Promise: every probe is counted once, across restarts; times are jittered, so that a fleet does not probe in step;
after a rejected login probes of that relay pause as the guard of logins says.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from postward.agent.logs.watcher import wake_up
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Gauges, Tally
from postward.agent.postfix.commands import Postfix
from postward.agent.probe.refine import is_unclear, refined
from postward.agent.probe.result import ProbeResult, Route
from postward.agent.probe.submit import Prober, limits
from postward.agent.probe.tracker import ProbeTracker
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.sink.client import ask_for_arrivals
from postward.config.settings import Settings
from postward.parsers import Cause, Event, Record
from postward.parsers.events import Delivery

_TICK = 1.0  # seconds
_JITTER = 0.1  # of the interval, either way
_MAX_REFINEMENTS = 512
_STAGGER = 0.05  # seconds between the first probes of two routes: two hundred begin within ten seconds

Verdict = Callable[[ProbeResult], Awaitable[None]]
_log = logging.getLogger("postward.probe")


class Probing:
    """All probes of the agent.

    Args:
        settings: what is probed, and how often.
        postfix: who takes the probes.
        tally: where outcomes are counted.
        show: shows a verdict to whoever watches.
        judge: awaited with each verdict of a probe; new settings are confirmed or refused there.
        guard: of the logins.
        written: awaited where a crash must not forget: before a probe is submitted, and when it was counted.
        has_backlog: true as long as the log tells of the past: what it has not said of a probe yet, it may still say.

    Raises:
        KeyFileError: probe.key_file cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        postfix: Postfix,
        tally: Tally,
        show: Callable[[ProbeResult], None],
        judge: Verdict,
        guard: LoginThrottle,
        written: Callable[[], Awaitable[None]],
        has_backlog: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._tally = tally
        self._show = show
        self._judge = judge
        self._guard = guard
        self._written = written
        self._has_backlog = has_backlog
        self._names = RelayNames.of_settings(settings)
        self._tracker = ProbeTracker(limits=limits(settings), on_verdict=self._take_up, on_final=self._count)
        self._prober = Prober(settings, postfix, self._tracker, written)
        self._last: dict[Route, ProbeResult] = {}
        self._confirmed: dict[str, str] = {}  # the relays' settings that probes have confirmed, as hashes
        self._concerned: tuple[float, set[str]] | None = None  # since when, and whose settings are new
        self._failing: set[str] = set()  # relays whose last probe did not come through
        self._wakes = {route: asyncio.Event() for route in self._prober.routes}
        self._sink_problem: str | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._refinements: dict[tuple[Any, ...], asyncio.Future[ProbeResult]] = {}
        self._uncounted: list[ProbeResult] = []
        if settings.probe.recipient:
            for route in self._prober.routes:
                tally.add("postward_probes_total", (route.relay, "accepted", ""), 0)

    # --- the log

    def observe(self, record: Record, event: Event) -> None:
        """Take one line of the log. Where mail goes out again, a probe says so at once."""
        self._tracker.observe(record, event)
        if self._failing and isinstance(event, Delivery) and event.status == "sent":
            relay = self._names.of_delivery(event)
            if relay in self._failing:
                self._failing.discard(relay)
                self._guard.forgive(relay)
                self.probe_now(relay)

    def probe_now(self, relay: str | None = None) -> None:
        """Do not wait for the next time: of one relay, or of all."""
        for route, wake in self._wakes.items():
            if relay in {None, route.relay}:
                wake.set()

    # --- the schedule

    async def run(self, first: float | None = None) -> None:
        """Probe until cancelled. Without a recipient only what was sent before is seen to its end.

        Args:
            first: seconds until the first probe, unless `probe_now` calls for it; None: at once.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tick())
                if self._settings.probe.sink_url:
                    group.create_task(self._ask())
                for number, route in enumerate(self._prober.routes if self._settings.probe.recipient else ()):
                    group.create_task(self._probe(route, number * _STAGGER, first))
        finally:
            self._prober.close()
            for job in self._jobs:  # what they have not done yet is saved as such
                job.cancel()

    async def _probe(self, route: Route, head_start: float, first: float | None) -> None:
        wake = self._wakes[route]
        if first is not None:
            await wake_up(wake, first)
        await asyncio.sleep(head_start)
        while True:
            began = time.monotonic()
            await self._probe_once(route)
            interval = self._settings.probe.interval_seconds
            pause = interval * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
            await wake_up(wake, max(0.0, pause - (time.monotonic() - began)))

    async def _probe_once(self, route: Route) -> None:
        if route.login and not self._guard.begin(route.relay):
            self._failing.add(route.relay)  # as far as anybody knows: mail that goes out tells otherwise
            return
        accepted = None
        try:
            result = await self._prober.probe(route)
            accepted = _login_accepted(result)
        finally:
            if route.login:
                self._guard.end(route.relay, accepted=accepted)
        result = await self._refined(result)
        self._take(result)
        await self._judge(result)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            if not self._has_backlog():
                self._tracker.tick()

    async def _ask(self) -> None:
        while True:
            problem = await ask_for_arrivals(self._settings.probe.sink_url, self._tracker)
            if problem != self._sink_problem:
                self._sink_problem = problem
                _log.log(
                    logging.ERROR if problem else logging.INFO,
                    "arrivals: %s",
                    problem or "the sink answers again",
                )
            await asyncio.sleep(_TICK)

    # --- results

    def _take(self, result: ProbeResult) -> None:
        """A verdict."""
        self._remember(result)
        self._show(result)
        if result.accepted:
            self._failing.discard(result.relay)
            moment = result.submitted + result.timeline[-1].seconds
            self._tally.latest("postward_probe_last_success_timestamp_seconds", (result.relay,), moment)
        else:
            self._failing.add(result.relay)

    def _take_up(self, result: ProbeResult) -> None:
        """A verdict of a probe of a former run, which may have ended before it knew what came of its login."""
        if _login_accepted(result):
            self._guard.forgive(result.relay)
        self._take(result)

    def _count(self, result: ProbeResult) -> None:
        """A final outcome. Until its step is clear it is saved as uncounted."""
        if _login_accepted(result) is False:
            self._guard.note_refused(result.relay)
        self._uncounted.append(result)
        if not is_unclear(result):
            self._count_as(result, result)
        self._in_background(self._finish(result))

    async def _finish(self, result: ProbeResult) -> None:
        if result in self._uncounted:
            self._count_as(result, await self._refined(result))
        await self._written()
        if result.outcome in {"failed", "lost"}:
            await self._prober.withdraw(result)

    def _count_as(self, result: ProbeResult, refined: ProbeResult) -> None:
        self._uncounted.remove(result)
        self._tally.add("postward_probes_total", (refined.relay, refined.outcome, refined.step))
        self._remember(refined)

    async def _refined(self, result: ProbeResult) -> ProbeResult:
        """The same conversation serves verdict and final outcome."""
        if not is_unclear(result):
            return result
        key = (result.relay, result.sender, result.submitted, result.outcome)
        if key not in self._refinements:
            while len(self._refinements) >= _MAX_REFINEMENTS:
                del self._refinements[next(iter(self._refinements))]
            self._refinements[key] = asyncio.ensure_future(refined(result, self._settings))
        return await asyncio.shield(self._refinements[key])

    def _in_background(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def _remember(self, result: ProbeResult) -> None:
        """The newest probe of a route speaks for it; what comes of an older one changes nothing."""
        route = next(
            (
                route
                for route in self._prober.routes
                if (route.relay, route.sender) == (result.relay, result.sender)
            ),
            None,
        )
        last = self._last.get(route) if route else None
        if route and (last is None or last.submitted <= result.submitted):
            self._last[route] = result

    # --- new settings

    def verdict_since(self, moment: float) -> bool | None:
        """What probes sent since then say of settings that came into force then; None if they do not say yet.

        Only relays whose own settings changed since they were last confirmed are asked (all of them if none did): an
        outage of another relay is no reason to take a good change back.
        """
        if self._concerned is None or self._concerned[0] != moment:
            self._concerned = moment, self._changed_relays()
        concerned = self._concerned[1]
        results = [
            self._last.get(route)
            for route in self._prober.routes
            if not concerned or route.relay in concerned
        ]
        fresh = [
            result if result and result.submitted >= moment and result.conclusive else None
            for result in results
        ]
        if any(result is not None and not result.relayed for result in fresh):
            return False
        return True if fresh and all(fresh) else None

    def note_confirmed(self) -> None:
        """The settings in force work."""
        self._confirmed, self._concerned = self._guard.digests(), None

    def _changed_relays(self) -> set[str]:
        now = self._guard.digests()
        return {name for name in now if now[name] != self._confirmed.get(name)}

    def gauges(self) -> Gauges:
        """What /metrics shows of the last probes: a relay succeeds if each of its senders does."""
        success: dict[tuple[str, ...], float] = {}
        durations: dict[tuple[str, ...], float] = {}
        for result in self._last.values():
            relay = (result.relay,)
            success[relay] = min(success.get(relay, 1.0), float(result.accepted))
            for step, seconds in result.durations().items():
                labels = (result.relay, step)
                durations[labels] = max(durations.get(labels, 0.0), seconds)
        return {"postward_probe_success": success, "postward_probe_step_duration_seconds": durations}

    # --- across restarts

    def as_json(self) -> dict[str, Any]:
        """The probes under way, and what is confirmed."""
        uncounted = [[result.relay, result.outcome, result.step] for result in self._uncounted]
        return {"pending": self._tracker.as_json(), "confirmed": self._confirmed, "uncounted": uncounted}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take up the probes of a former run."""
        pending = data.get("pending")
        self._tracker.restore(pending if isinstance(pending, list) else ())
        for labels in data.get("uncounted", ()):
            self._tally.add("postward_probes_total", tuple(labels))
        confirmed = data.get("confirmed")
        self._confirmed = dict(confirmed) if isinstance(confirmed, dict) else {}


def _login_accepted(result: ProbeResult) -> bool | None:
    """What a probe tells of the login; None if it never came to it, or nobody knows."""
    if result.cause is Cause.AUTH_REJECTED and result.conclusive:
        return False
    if result.relayed or (result.outcome == "failed" and result.step in {"mail_from", "rcpt_to", "data"}):
        return None if result.cause is Cause.AUTH_REQUIRED else True
    return None

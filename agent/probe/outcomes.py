"""The outcomes of the agent's probes: the newest result of each route, and the count of final outcomes.

Where the log leaves the step open, a check of the relay locates it before the outcome is counted. A verdict and a final
outcome that are equal share one check.

Promise: each final outcome is counted once, across restarts: one whose step is not located yet is saved as it is, and
counted so by the next run. All that is kept is bounded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from postward.agent.mailbox.verdicts import FAILED
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges
from postward.agent.probe.locate import is_ambiguous, locate_step
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.route import Route
from postward.agent.stored import Form
from postward.config.settings import Settings
from postward.parsers import Cause

_FORM: Form[list[tuple[str, str, str]]] = Form(list[tuple[str, str, str]])
_MAX_CHECKS = 512  # whose results are remembered
_PROVING = 2  # probes that must be accepted, and not come back, to show that probes come back no more

Locate = Callable[[ProbeResult, Settings], Awaitable[ProbeResult]]
OnCounted = Callable[[ProbeResult], Awaitable[None]]


class ProbeOutcomes:
    """Counts final outcomes and remembers the newest results.

    Args:
        settings: the relays.
        routes: the routes that are probed.
        tally: where outcomes are counted.
        on_counted: awaited in the background after an outcome was counted.
        locate: finds the step where the log leaves it open.
    """

    def __init__(
        self,
        settings: Settings,
        routes: Iterable[Route],
        tally: Tally,
        on_counted: OnCounted,
        locate: Locate = locate_step,
    ) -> None:
        self._settings = settings
        self._routes = {(route.relay, route.sender, route.recipient): route for route in routes}
        self._tally = tally
        self._on_counted = on_counted
        self._locate = locate
        self._newest: dict[Route, ProbeResult] = {}
        self._arrived: dict[Route, ProbeResult] = {}  # the newest that a mailbox has
        # The newest that came back, and those accepted after it.
        self._returned: dict[Route, list[ProbeResult]] = {}
        self._uncounted: list[ProbeResult] = []
        self._checks: dict[ProbeResult, asyncio.Future[ProbeResult]] = {}
        self._jobs: set[asyncio.Task[None]] = set()

    def newest(self, route: Route) -> ProbeResult | None:
        """Return the newest result of a route."""
        return self._newest.get(route)

    def remember(self, result: ProbeResult) -> None:
        """Take a result as its route's newest, unless a later probe has one."""
        route = self._routes.get((result.relay, result.sender, result.recipient))
        newest = self._newest.get(route) if route else None
        if route and (newest is None or newest.submitted <= result.submitted):
            self._newest[route] = result
        if route and result.folder:
            self._arrived[route] = result
        if route:
            self._note_return(route, result)

    def _note_return(self, route: Route, result: ProbeResult) -> None:
        """Note whether probes come back. The notification can follow its probe late: one acceptance ends nothing."""
        if result.outcome == "returned":
            self._returned[route] = [result]
        elif result.outcome == "arrived":
            self._returned.pop(route, None)
        elif (
            (since := self._returned.get(route))
            and result.accepted
            and since[-1].submitted < result.submitted
        ):
            since.append(result)
            if len(since) > _PROVING:
                del self._returned[route]

    def take_return(self, message_id: str, cause: Cause, detail: str) -> list[ProbeResult]:
        """Take a notification by which a probe came back that counts as accepted already; older ones are left out.

        Return its result as it is now.
        """
        newest = [one for one in self._newest.values() if one.message_id == message_id and one.accepted]
        results = [result.as_returned(cause, detail) for result in newest]
        for result in results:
            self.remember(result)
        return results

    def returned(self) -> dict[str, str | None]:
        """Return why the probes of each relay come back, None if they do not; empty if no mailbox would show it."""
        if not (self._settings.mailbox.is_set or self._settings.bounces.is_set):
            return {}
        texts: dict[str, str | None] = {route.relay: None for route in self._routes.values()}
        for route, (result, *_) in self._returned.items():
            texts[route.relay] = (
                f"the relay accepted the last probe and returned it ({result.cause}): {result.detail}"
            )
        return texts

    async def located(self, result: ProbeResult) -> ProbeResult:
        """Return a result with its step located."""
        if not is_ambiguous(result):
            return result
        if result not in self._checks:
            while len(self._checks) >= _MAX_CHECKS:
                del self._checks[next(iter(self._checks))]
            self._checks[result] = asyncio.ensure_future(self._locate(result, self._settings))
        return await asyncio.shield(self._checks[result])

    def count(self, outcome: ProbeResult) -> None:
        """Count a final outcome, once its step is located."""
        self._uncounted.append(outcome)
        if not is_ambiguous(outcome):
            self._count_as(outcome, outcome)
        job = asyncio.get_running_loop().create_task(self._settle(outcome))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _settle(self, outcome: ProbeResult) -> None:
        if outcome in self._uncounted:
            self._count_as(outcome, await self.located(outcome))
        await self._on_counted(outcome)

    def _count_as(self, outcome: ProbeResult, located: ProbeResult) -> None:
        self._uncounted.remove(outcome)
        self._tally.add("postward_probes_total", (located.relay, located.outcome, located.step))
        if located.folder:
            self._tally.add("postward_probe_arrivals_total", (located.relay, located.folder))
        for method, verdict in located.verdicts:
            self._tally.add("postward_probe_verdicts_total", (located.relay, method, verdict))
        self.remember(located)

    async def settled(self) -> None:
        """Wait until all outcomes are counted."""
        await asyncio.gather(*self._jobs)

    def close(self) -> None:
        """Stop work in the background. The next run counts the rest."""
        for job in self._jobs:
            job.cancel()

    def gauges(self) -> Gauges:
        """Return the gauges of the newest results: a relay succeeds if each of its senders does."""
        success: dict[tuple[str, ...], float] = {}
        durations: dict[tuple[str, ...], float] = {}
        for result in self._newest.values():
            relay = (result.relay,)
            success[relay] = min(success.get(relay, 1.0), float(result.accepted))
            for step, seconds in result.durations().items():
                labels = (result.relay, step)
                durations[labels] = max(durations.get(labels, 0.0), seconds)
        return {
            "postward_probe_success": success,
            "postward_probe_step_duration_seconds": durations,
            **self._gauges_of_arrivals(),
        }

    def _gauges_of_arrivals(self) -> Gauges:
        """Return what the receiving side shows of the newest probe of each route; the worst for each relay."""
        arrived: dict[tuple[str, ...], float] = {}
        for result in self._newest.values():
            if result.outcome == "arrived" or result.failed_to_arrive:
                relay = (result.relay,)
                arrived[relay] = min(arrived.get(relay, 1.0), float(not result.failed_to_arrive))
        in_spam: dict[tuple[str, ...], float] = {}
        passed: dict[tuple[str, ...], float] = {}
        for result in self._arrived.values():
            relay = (result.relay,)
            in_spam[relay] = max(in_spam.get(relay, 0.0), float(result.folder == "spam"))
            for method, verdict in result.verdicts:
                if verdict == "pass" or verdict in FAILED:
                    labels = (result.relay, method)
                    passed[labels] = min(passed.get(labels, 1.0), float(verdict == "pass"))
        return {
            "postward_probe_arrived": arrived,
            "postward_probe_returned": self._gauges_of_returns(),
            "postward_probe_in_spam": in_spam,
            "postward_probe_authenticated": passed,
        }

    def _gauges_of_returns(self) -> dict[tuple[str, ...], float]:
        return {(relay,): float(text is not None) for relay, text in self.returned().items()}

    def state(self) -> list[list[str]]:
        """Return the labels of the outcomes that are not counted yet."""
        return [[outcome.relay, outcome.outcome, outcome.step] for outcome in self._uncounted]

    def restore(self, state: Any) -> None:
        """Count the outcomes that a former run did not count. Raises ValueError for other data."""
        for labels in _FORM.check(state):
            self._tally.add("postward_probes_total", labels)

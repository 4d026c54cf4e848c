"""One probe without the agent: what `postward probe`, `postward apply` and the enforcer on its own use.

It follows the log only for its own probe, and counts nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from postward.agent.logs import stdin
from postward.agent.logs.discover import NoLogError, find_log, open_sources
from postward.agent.logs.lines import lines_of
from postward.agent.logs.reader import LogReader
from postward.agent.logs.watcher import Watcher
from postward.agent.metrics.tally import Tally
from postward.agent.postfix.commands import Postfix
from postward.agent.probe.refine import refined
from postward.agent.probe.result import ProbeResult, Route
from postward.agent.probe.submit import Prober, limits
from postward.agent.probe.tracker import ProbeTracker
from postward.agent.sink.client import ask_for_arrivals
from postward.config.settings import Settings
from postward.parsers import parse

_ASK_EVERY = 0.5  # seconds


async def probe_once(settings: Settings) -> ProbeResult:
    """Send a probe the way of the default sender. Raises NoLogError, KeyFileError."""
    async with _prober(settings) as prober:
        return await _probe(prober, prober.routes[0], settings)


async def probe_routes(
    settings: Settings, relays: Iterable[str] = (), senders: Iterable[str] = ()
) -> list[ProbeResult]:
    """Send a probe each way at once (of these relays and senders, if any are named). Raises NoLogError, KeyFileError."""
    relays, senders = set(relays), set(senders)
    async with _prober(settings) as prober:
        chosen = [
            route
            for route in prober.routes
            if (not relays or route.relay in relays) and (not senders or route.sender in senders)
        ]
        return list(await asyncio.gather(*(_probe(prober, route, settings) for route in chosen)))


async def _probe(prober: Prober, route: Route, settings: Settings) -> ProbeResult:
    """Nobody will look after one that is late."""
    result = await refined(await prober.probe(route), settings)
    if not result.relayed:
        await prober.withdraw(result)
    return result


@asynccontextmanager
async def _prober(settings: Settings) -> AsyncIterator[Prober]:
    postfix = Postfix(Path(settings.postfix.config_directory))
    names, _ = find_log(settings.log.source, postfix)
    if stdin.NAME in names:
        raise NoLogError(
            "log.source: only the agent can read its standard input; ask it by its metrics, or probe where the log is a file"
        )
    tracker = ProbeTracker(limits=limits(settings))
    reader = LogReader(open_sources(names, {}), lambda lines: _observe(tracker, lines), Tally())
    reader.read_slice()  # from here on
    with Watcher() as watcher:
        jobs = [asyncio.create_task(reader.run(watcher))]
        if settings.probe.sink_url:
            jobs.append(asyncio.create_task(_ask(settings.probe.sink_url, tracker)))
        try:
            yield Prober(settings, postfix, tracker)
        finally:
            for job in jobs:
                job.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*jobs)
            reader.close()


def _observe(tracker: ProbeTracker, lines: bytes) -> None:
    for line in lines_of(lines):
        record, event = parse(line)
        if record is not None and event is not None:
            tracker.observe(record, event)


async def _ask(url: str, tracker: ProbeTracker) -> None:
    while True:
        await ask_for_arrivals(url, tracker)
        await asyncio.sleep(_ASK_EVERY)

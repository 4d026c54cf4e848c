"""One probe without the agent: what `postward probe`, `postward apply` and the enforcer on its own use.

It follows the log only for its own probe, and counts nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from agent.pipeline import lines_of
from agent.postfix import Postfix
from agent.probing.arrivals import ask_for_arrivals
from agent.probing.probe import Prober, limits
from agent.probing.refine import refined
from agent.probing.tracker import ProbeResult, ProbeTracker, Route
from agent.source.file import FileSource
from agent.source.find import find_log
from agent.source.watch import Watcher, wake_up
from config.settings import Settings
from parsers import parse

_ASK_EVERY = 0.5  # seconds


async def one_probe(settings: Settings) -> ProbeResult:
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
    path, _ = find_log(settings.log.source, postfix)
    source, tracker = FileSource(path), ProbeTracker(limits=limits(settings))
    source.read()  # from here on
    with Watcher() as watcher:
        wake = watcher.watch(path.parent, lambda name: name.startswith(path.name))
        jobs = [asyncio.create_task(_follow(source, tracker, wake))]
        if settings.probe.arrivals:
            jobs.append(asyncio.create_task(_ask(settings.probe.arrivals, tracker)))
        try:
            yield Prober(settings, postfix, tracker)
        finally:
            for job in jobs:
                job.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*jobs)
            source.close()


async def _follow(source: FileSource, tracker: ProbeTracker, wake: asyncio.Event) -> None:
    while True:
        for line in lines_of(source.read()):
            record, event = parse(line)
            if record is not None and event is not None:
                tracker.observe(record, event)
        await wake_up(wake, 0.5)


async def _ask(url: str, tracker: ProbeTracker) -> None:
    while True:
        await ask_for_arrivals(url, tracker)
        await asyncio.sleep(_ASK_EVERY)

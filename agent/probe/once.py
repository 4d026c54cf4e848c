"""Probes without the agent, for `postward probe`, `postward apply` and `postward enforce`.

The log is followed only for these probes, from now on, and nothing is counted.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from postward.agent.logs import stdin
from postward.agent.logs.archive import LogFileError, blocks
from postward.agent.logs.discover import NoLogError, find_log, open_sources
from postward.agent.logs.lines import lines_of
from postward.agent.logs.reader import LogReader
from postward.agent.metrics.tally import Tally
from postward.agent.postfix.commands import Postfix
from postward.agent.probe.arrivals import ArrivalClient, arrival_client
from postward.agent.probe.inbox import MailboxClient
from postward.agent.probe.locate import locate_step
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.route import Route
from postward.agent.probe.submit import Prober
from postward.agent.probe.tracker import Limits, ProbeTracker
from postward.agent.text import local_now
from postward.config.settings import Settings
from postward.parsers import parse

_ARRIVALS_INTERVAL = 0.5  # seconds


async def probe_once(settings: Settings) -> ProbeResult:
    """Probe the route of the default sender. Raises NoLogError, KeyFileError."""
    async with _prober(settings) as prober:
        return await _probe(prober, prober.routes[0], settings)


async def probe_routes(
    settings: Settings, relays: Iterable[str] = (), senders: Iterable[str] = ()
) -> list[ProbeResult]:
    """Probe all routes at once, or those of these relays and senders. Raises NoLogError, KeyFileError."""
    relays, senders = set(relays), set(senders)
    async with _prober(settings) as prober:
        chosen = [
            route
            for route in prober.routes
            if (not relays or route.relay in relays) and (not senders or route.sender in senders)
        ]
        return list(await asyncio.gather(*(_probe(prober, route, settings) for route in chosen)))


async def probe_local(settings: Settings, user: str) -> ProbeResult:
    """Probe the way of a local user's mail, such as root's, which host.admin sends to a relay. Raises as `probe_once`."""
    to_admin = settings.probe.model_copy(update={"recipient": settings.host.admin, "sink_url": ""})
    settings = settings.model_copy(update={"probe": to_admin})
    async with _prober(settings) as prober:
        return await _probe(prober, replace(prober.routes[0], recipient=user), settings)


async def _probe(prober: Prober, route: Route, settings: Settings) -> ProbeResult:
    """Probe a route. A probe that was not relayed is withdrawn, as nothing follows it further."""
    result = await locate_step(await prober.probe(route), settings)
    if not result.relayed:
        await prober.withdraw(result)
    return result


@asynccontextmanager
async def _prober(settings: Settings) -> AsyncIterator[Prober]:
    """Give a prober whose log is followed meanwhile."""
    postfix = Postfix(Path(settings.postfix.config_directory))
    names, _ = find_log(settings.log.source, postfix)
    if stdin.NAME in names:
        raise NoLogError(
            "log.source: only the agent can read its standard input; look at its metrics, or probe where the log is a file"
        )
    _require_readable(names)
    tracker = ProbeTracker(limits=Limits.of_settings(settings))
    prober = Prober(settings, postfix, tracker)
    reader = LogReader(
        open_sources(names, {}), lambda lines: _observe(tracker, lines), Tally(), awaited=lambda: True
    )
    arrivals = arrival_client(settings)
    reader.read_slice()  # skip the lines before now
    if (reader.problem or "").endswith(os.strerror(errno.EACCES)):
        raise NoLogError(f"{reader.problem}; a probe is followed in the mail log: run this with sudo")
    jobs = [asyncio.create_task(reader.run())]
    if arrivals is not None:
        jobs.append(asyncio.create_task(_ask(arrivals, tracker)))
    try:
        yield prober
    finally:
        for job in jobs:
            job.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*jobs)
        reader.close()
        if isinstance(arrivals, MailboxClient):
            await arrivals.clean()
        if arrivals is not None:
            arrivals.close()
        prober.close()


def _require_readable(names: Iterable[str]) -> None:
    """Raise NoLogError if this user may not read the log: all probes would seem late."""
    for name in names if os.geteuid() != 0 else ():
        try:
            next(blocks(Path(name), since=local_now()), None)
        except LogFileError as error:
            raise NoLogError(f"a probe is followed through the log: {error}") from None


def _observe(tracker: ProbeTracker, lines: bytes) -> None:
    for line in lines_of(lines):
        record, event = parse(line)
        if record is not None and event is not None:
            tracker.observe(record, event)


async def _ask(arrivals: ArrivalClient, tracker: ProbeTracker) -> None:
    while True:
        await arrivals.update(tracker)
        await asyncio.sleep(_ARRIVALS_INTERVAL)

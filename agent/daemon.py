"""The agent: its parts in the order of the data flow, each a task of one loop.

One way to stop: a signal sets an event, tasks are cancelled, and the position and counts are saved last.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from postward.agent.checkpoint import Checkpoint, CheckpointError, CheckpointWriter, read_checkpoint
from postward.agent.console import DeliveryRows, probe_text, terminal
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.loop import EnforceLoop, confirm
from postward.agent.enforce.state import EnforcementState
from postward.agent.export.jsonl import EventStream, open_target
from postward.agent.http.app import Hooks
from postward.agent.http.endpoint import Endpoint, EndpointError, registry_of
from postward.agent.http.server import Listeners
from postward.agent.incidents.monitor import IncidentMonitor
from postward.agent.logs.canary import LogCanary
from postward.agent.logs.discover import NoLogError, find_log, open_sources
from postward.agent.logs.reader import LogReader
from postward.agent.logs.source import Source
from postward.agent.logs.watcher import Watcher
from postward.agent.metrics.daemons import DaemonMetrics
from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.probe_traffic import ProbeFilter
from postward.agent.metrics.queue import QueueMonitor
from postward.agent.metrics.tally import Gauges, Tally
from postward.agent.pipeline import Pipeline
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.postfix.process import is_master_running
from postward.agent.probe.message import KeyFileError
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.scheduler import ProbeScheduler
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import RelayMonitor
from postward.agent.reload import SettingsReloader, race
from postward.agent.status.model import Observed, Status, status_of
from postward.agent.systemd import notify
from postward.agent.text import local_now
from postward.config.settings import Settings

_log = logging.getLogger("postward")


class StartError(Exception):
    """The agent cannot start; the text says why and what would be right."""


@dataclass(frozen=True, slots=True)
class Options:
    """How `postward run` was called.

    Attributes:
        enforce: also keep the configuration (needs root).
        deliveries: print each delivery as a row.
        settings_file: where the settings are from, and read anew; None: nowhere.
    """

    enforce: bool = False
    deliveries: bool = False
    settings_file: Path | None = None


class Agent:
    """Reads, counts, probes, serves and, if asked to, enforces.

    Raises:
        StartError: on construction, when a part cannot be set up.
    """

    def __init__(
        self, settings: Settings, options: Options, reloading: SettingsReloader, listeners: Listeners
    ) -> None:
        self._settings = settings
        self._reloading = reloading
        self._options = options
        self._console = terminal()
        self._postfix = Postfix(Path(settings.postfix.config_directory))
        self._checkpoint_file = Path(settings.state.directory) / "checkpoint.json"
        self._enforcement = EnforcementState(Path(settings.enforce.directory))
        self._version = version("postward")  # looked up in files: not at every scrape
        self._queue_directory = _queue_directory(self._postfix)
        self._names = RelayNames.of_settings(settings)

        # log → counts, and the counts saved with the position
        sources, self._tally, parts = self._resume()
        self._writer = CheckpointWriter(self._checkpoint_file, self._tally)
        guard = self._guard()
        self._probing = self._set_up_probing(guard)
        self._relay_watch = RelayMonitor(settings, self._tally, guard, self._writer.flush)
        self._exemplars = Exemplars()
        daemon_metrics = DaemonMetrics(self._tally, self._names, self._exemplars)
        self._queue = QueueMonitor(self._postfix.list_queue) if settings.queue.enabled else None
        self._events = _event_stream(settings, self._names)
        self._incidents = IncidentMonitor(
            settings,
            self._postfix,
            self._names,
            self._gauges,
            self._refresh,
            self._writer.flush,
            self._relay_watch.state,
            lambda: not self._reader.behind,
        )
        self._endpoint = self._set_up_endpoint(listeners)
        self._own_line = LogCanary(
            self._postfix,
            self._tally,
            settings.log.test_interval_seconds,
            lambda: self._reader.has_backlog,
            self._writer.flush,
        )
        observers = [
            self._probing.observe,
            self._own_line.observe,
            daemon_metrics.observe,
            *([self._events.observe] if self._events else []),
            self._incidents.observe,
        ]
        if options.deliveries:
            observers.append(DeliveryRows(self._console, self._names).observe)
        self._counting = ProbeFilter(self._tally, self._names, local_now)
        self._reader = LogReader(
            sources, Pipeline(self._counting, observers).feed, self._tally, self._writer.request
        )
        self._writer.start(self._checkpoint, self._reader.sync, self._reader.looked)
        self._counting.restore(parts.get("traffic", {}))
        self._probing.restore(parts.get("probing", {}))
        self._relay_watch.restore(parts.get("relays", {}))
        self._incidents.restore(parts.get("incidents", {}))

        # settings → Postfix, and the proof that it works
        self._enforcer = Enforcer(settings, self._postfix) if options.enforce else None

    async def run(self, stop: asyncio.Event) -> Settings | None:
        """Run until `stop`, or until there are other settings, which are handed back."""
        with Watcher() as watcher:
            async with asyncio.TaskGroup() as group:
                jobs = [
                    self._reader.run(watcher),
                    self._writer.run(),
                    self._own_line.run(),
                ]
                jobs += [self._probe(), self._relay_watch.run()]
                jobs.append(self._incidents.run())
                if self._enforcer:
                    jobs.append(
                        EnforceLoop(self._settings, self._enforcer, watcher, self._request_probe).run()
                    )
                tasks = [group.create_task(job) for job in [*jobs, self._serve_endpoint()]]
                _log.info("metrics: %s", self._endpoint.url)
                self._reloading.listen(self._reload)
                notify("READY=1")
                changed = await race(stop.wait(), self._reloading.changed(watcher))
                if not isinstance(changed, Settings):
                    notify("STOPPING=1")
                for task in tasks:
                    task.cancel()
        self._writer.save()
        self._reader.close()
        return changed if isinstance(changed, Settings) else None

    def _resume(self) -> tuple[list[Source], Tally, Mapping[str, Any]]:
        """Where the last run stopped."""
        try:
            names, reason = find_log(self._settings.log.source, self._postfix)
            checkpoint = read_checkpoint(self._checkpoint_file)
        except (NoLogError, CheckpointError) as error:
            raise StartError(str(error)) from error
        _log.info("log: %s (%s)", ", ".join(names), reason)
        checkpoint = checkpoint or Checkpoint({}, Tally())
        return open_sources(names, checkpoint.positions), checkpoint.tally, checkpoint.parts

    def _set_up_endpoint(self, listeners: Listeners) -> Endpoint:
        hooks = Hooks(
            not_ready=self._not_ready,
            refresh=self._refresh,
            status=self._status,
            incidents=self._incidents.public_state,
            reload=self._reload_on_request,
        )
        legacy = (
            (lambda: self._queue.counts if self._queue else None)
            if self._settings.web.legacy_metrics
            else None
        )
        registry = registry_of(self._tally, self._gauges, self._exemplars, legacy=legacy)
        try:
            return Endpoint(self._settings.web, listeners, registry, hooks)
        except EndpointError as error:
            raise StartError(str(error)) from None

    async def _serve_endpoint(self) -> None:
        try:
            await self._endpoint.run()
        finally:
            if self._events is not None:
                await asyncio.to_thread(self._events.close)
            if self._queue is not None:
                await self._queue.close()

    def _reload(self) -> str | None:
        """Re-read the web.config file and reopen the file of events."""
        if self._events is not None:
            self._events.reopen()
        return self._endpoint.reload()

    async def _reload_on_request(self) -> str | None:
        """Re-read everything for POST /-/reload, the settings too. Return the problem, if any."""
        return self._reload() or await self._reloading.reload()

    async def _refresh(self) -> None:
        """List the queue, if it is time."""
        if self._queue is not None:
            await self._queue.refresh()

    def _checkpoint(self) -> Checkpoint:
        parts = {
            "traffic": self._counting.as_json(),
            "probing": self._probing.state(),
            "relays": self._relay_watch.state(),
            "incidents": self._incidents.state(),
        }
        return Checkpoint(self._reader.positions(), self._tally, parts)

    async def _request_probe(self, new: bool) -> None:
        if new:
            self._probing.probe_now()

    async def _probe(self) -> None:
        if not self._settings.probe.recipient:
            _log.warning("probe.recipient is not set: no probes are sent, and new settings are kept unproven")
        await self._probing.run()

    def _guard(self) -> LoginThrottle:
        return LoginThrottle.of_settings(self._settings)

    def _set_up_probing(self, guard: LoginThrottle) -> ProbeScheduler:
        settings = self._settings
        try:
            return ProbeScheduler(
                settings,
                self._postfix,
                self._tally,
                show=self._show_probe,
                judge=self._judge,
                throttle=guard,
                flush=self._writer.flush,
                has_backlog=lambda: self._reader.behind or self._reader.has_backlog,
                first_after=settings.enforce.interval_seconds if self._options.enforce else None,
            )
        except KeyFileError as error:
            raise StartError(f"probe.key_file: {error}") from error

    async def _judge(self, result: ProbeResult) -> None:
        if self._enforcer and await confirm(self._enforcer, result, self._probing.verdict_since):
            self._probing.note_confirmed()

    def _show_probe(self, result: ProbeResult) -> None:
        if self._options.deliveries:
            self._console.print(probe_text(result))
        else:
            _log.log(
                logging.INFO if result.accepted else logging.ERROR,
                "%s",
                probe_text(result).plain.replace("\n", ";"),
            )

    def _not_ready(self) -> str | None:
        if self._reader.behind:
            return f"catching up with {self._reader.names}, {self._reader.unread()} bytes to go"
        return None if self._writer.has_saved else "position and counts have not been saved yet"

    def _gauges(self) -> Gauges:
        """What is true at this moment."""
        gauges: dict[str, dict[tuple[str, ...], float]] = {
            "postfix_up": {(): float(is_master_running(self._queue_directory))},
            "postward_build_info": {(self._version,): 1.0},
            "postward_relay_is_fallback": {
                (relay.name,): float(relay.fallback) for relay in self._settings.relay
            },
            "postward_events_dropped_total": {(): float(self._events.dropped if self._events else 0)},
            **(self._queue.gauges() if self._queue else {}),
        }
        return {
            **gauges, **self._enforcement.gauges(),
            **self._reloading.gauges(), **self._reader.gauges(), **self._writer.gauges(), **self._own_line.gauges(),
            **self._probing.gauges(), **self._relay_watch.gauges(), **self._incidents.gauges(), **self._endpoint.gauges(),
        }  # fmt: skip

    def _status(self) -> Status:
        """How the host is."""
        now = time.time()
        observed = Observed(
            self._gauges(),
            self._tally.times,
            self._incidents.rows(),
            self._incidents.history.buckets(now),
            self._not_ready(),
        )
        return status_of(self._settings, observed, now, self._version)


def _event_stream(settings: Settings, names: RelayNames) -> EventStream | None:
    if not settings.events.target:
        return None
    try:
        return EventStream(
            open_target(settings.events.target), names, personal=settings.events.include_personal_data
        )
    except OSError as error:
        raise StartError(
            f"events.target: {settings.events.target}: {error.strerror}; write stdout, or a writable file"
        ) from None


def _queue_directory(postfix: Postfix) -> str:
    try:
        return postfix.expanded("queue_directory")
    except PostfixError as error:
        raise StartError(f"postfix.config_directory: {error}") from error


def serve(settings: Settings, options: Options) -> None:
    """Run the agent until it is told to stop. Raises StartError."""
    try:
        Path(settings.state.directory).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"state.directory: {settings.state.directory}: {error.strerror}; write a folder that can be written"
        ) from error

    asyncio.run(_serve(settings, options))


async def _serve(settings: Settings, options: Options) -> None:
    """One agent after the other, each with other settings; the counts go from one to the next by the checkpoint."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reloading = SettingsReloader(options.settings_file, settings)
    listeners = Listeners()
    agent = Agent(settings, options, reloading, listeners)
    while (changed := await agent.run(stop)) is not None:
        try:
            agent = Agent(changed, options, reloading, listeners)
        except StartError as error:
            reloading.refuse(changed, settings, str(error))
            agent = Agent(settings, options, reloading, listeners)
        settings = reloading.settings

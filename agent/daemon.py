"""The agent: its parts in the order of the data flow, listed once.

Each part observes log events, has gauges, keeps state and runs as a task, as far as it overrides `Part`. There is one way
to stop: a signal sets an event, the tasks are cancelled, and position and counts are saved last.

Each instance of Postfix has an agent with its own settings and state. The agents share a process and an endpoint, that of
the main settings file.
"""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from postward.agent.checkpoint import (
    INTERVAL,
    SHORT_INTERVAL,
    Checkpoint,
    CheckpointError,
    CheckpointWriter,
    read_checkpoint,
)
from postward.agent.console import DeliveryRows, probe_text, terminal
from postward.agent.doctor.daily import DomainLook
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.loop import EnforceLoop, confirm
from postward.agent.enforce.state import EnforcementState
from postward.agent.export.jsonl import EventStream, open_target
from postward.agent.hosts import OtherHosts
from postward.agent.http.app import Hooks
from postward.agent.http.endpoint import Endpoint, EndpointError, registry_of
from postward.agent.http.server import Listeners
from postward.agent.incidents.monitor import IncidentMonitor
from postward.agent.instances import Instances
from postward.agent.logs import stdin
from postward.agent.logs.canary import LogCanary
from postward.agent.logs.discover import NoLogError, find_log, open_sources
from postward.agent.logs.reader import LogReader
from postward.agent.logs.source import Source
from postward.agent.logs.watcher import Watcher
from postward.agent.metrics.collector import MULTI_INSTANCE, JoinedCollector, PostwardCollector
from postward.agent.metrics.daemons import DaemonMetrics
from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.legacy_counts import LegacyCounts
from postward.agent.metrics.queue import QueueMonitor
from postward.agent.metrics.tally import Tally
from postward.agent.metrics.usage import MailVolume
from postward.agent.oauth2.keeper import TokenKeeper, TokenMetrics
from postward.agent.parts import Failures, Gauges, Labels, Part
from postward.agent.pipeline import OwnLines, Pipeline
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.postfix.permissions import Permissions
from postward.agent.postfix.process import is_master_running
from postward.agent.probe.filter import ProbeFilter
from postward.agent.probe.message import KeyFileError
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.scheduler import ProbeScheduler
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import RelayMonitor
from postward.agent.release import build_labels
from postward.agent.reload import SettingsReloader, race
from postward.agent.senders.part import SenderCounts
from postward.agent.status.client import local_socket
from postward.agent.status.model import Observed, Status, status_of
from postward.agent.status.routes import View
from postward.agent.systemd import notify
from postward.agent.text import local_now
from postward.config.consequences import Effect
from postward.config.fields import forms_of_hosts
from postward.config.lint.text import parse_main_cf
from postward.config.relay import hide_passwords
from postward.config.settings import Settings

_log = logging.getLogger("postward")
_PERMISSIONS_INTERVAL: Final = 10.0  # seconds between two looks at owners and modes


class StartError(Exception):
    """The agent cannot start; the text says why and what would be right."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `postward run`.

    Attributes:
        enforce: also keep the configuration (needs root).
        deliveries: print each delivery as a row.
        settings_file: the file of the settings, which is re-read on change; None: the settings never change.
        allow: effects of changes that are agreed to, for a host without a terminal, such as a container.
    """

    enforce: bool = False
    deliveries: bool = False
    settings_file: Path | None = None
    allow: frozenset[Effect] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an agent among those of its process.

    Attributes:
        running: settings file → the agent that runs with it.
        is_main: whether it is the agent of the main settings file, whose endpoint shows all.
    """

    running: "dict[Path | None, Agent]" = field(default_factory=dict)
    is_main: bool = True


class Agent:
    """Reads, counts, probes, serves and, if asked to, enforces: all for one instance of Postfix.

    Attributes:
        instance: the name of the instance in log, metrics and status; "" if the settings name no further instance.
        directory: the instance's directory of main.cf.

    Raises:
        StartError: on construction, if a part cannot be set up.
    """

    def __init__(
        self,
        settings: Settings,
        options: Options,
        reloader: SettingsReloader,
        listeners: Listeners,
        place: Place | None = None,
    ) -> None:
        hide_passwords(settings.relay)
        self._place = place or Place()
        self.directory = settings.postfix.config_directory
        self._settings = settings
        self._reloader = reloader
        self._deliveries = options.deliveries
        self._failures = Failures()
        self._console = terminal()
        self._watcher = Watcher()
        self._build = build_labels()  # read from files: not at every scrape
        postfix, names, exemplars = (
            Postfix(Path(settings.postfix.config_directory)),
            RelayNames.of_settings(settings),
            Exemplars(),
        )
        self.instance = self._name(postfix)
        sources, self._tally, states = _resume(settings, postfix)
        writer = self._writer = CheckpointWriter(_checkpoint_file(settings), self._tally)
        throttle = LoginThrottle.of_settings(settings)
        self._enforcer = Enforcer(settings, postfix) if options.enforce else None
        if self._enforcer:
            self._enforcer.allow(options.allow)

        # log → counts
        reader = self._reader = LogReader(
            sources, self._feed, self._tally, writer.request, self._is_line_awaited
        )
        self._counter = ProbeFilter(self._tally, names, local_now)
        daemons = DaemonMetrics(self._tally, names, exemplars)
        legacy = LegacyCounts(self._tally, names) if settings.web.legacy_metrics else None
        self._senders = SenderCounts(self._tally, names, local_now)
        canary = self._canary = LogCanary(
            postfix,
            self._tally,
            settings.log.test_interval_seconds,
            self._has_backlog,
            writer.flush,
            [source.name for source in sources],
        )
        # host, relays and mail as they are
        enforcement = EnforcementState(Path(settings.enforce.directory))
        host = _Host(settings, postfix, self._build, enforcement)
        self._queue = (
            QueueMonitor(postfix.list_queue, unlistable=host.unlistable) if settings.queue.enabled else None
        )
        relays = RelayMonitor(settings, self._tally, throttle, writer.flush)
        self._probes = self._probe_scheduler(postfix, throttle)
        self._incidents = IncidentMonitor(
            settings,
            postfix,
            names,
            self._gauges,
            self._conditions,
            self._refresh,
            writer.flush,
            relays.state,
            self._probes.probe_now,
            lambda: not reader.behind,
            throttle,
            returned_probes=self._probes.returned,
            instance="postfix" if self._place.is_main else self.instance,
            instance_file=None if self._place.is_main else reloader.path,
            senders=self._senders,
        )
        bounces: Part | None = None
        if settings.bounces.is_set:
            # The modules that read mail are in memory only where a mailbox is read.
            from postward.agent.bounces.monitor import BounceMonitor

            bounces = BounceMonitor(settings, names, self._tally, self._probes.take_return, reader.catch_up)
        # counts → the outside
        self._events = _event_stream(settings, names)
        rows = DeliveryRows(self._console, names) if options.deliveries else None
        label = (MULTI_INSTANCE, self.instance) if self.instance else None
        self._collector = PostwardCollector(self._tally, self._gauges, exemplars, label)
        self._hosts = self._other_hosts()
        self._view = View(self._reader.catch_up, self._look, self._status, self._incidents.public_state)
        self._endpoint = self._make_endpoint(listeners)
        loop = self._enforce_loop()
        tokens = TokenMetrics(settings), (TokenKeeper(settings, self._watcher) if options.enforce else None)

        parts = (
            *(
                self._failures,
                host,
                enforcement,
                *tokens,
                reloader,
                reader,
                writer,
                canary,
                self._counter,
                self._queue,
            ),
            *(
                self._probes,
                bounces,
                relays,
                daemons,
                legacy,
                self._senders,
                self._events,
                self._incidents,
                rows,
                self._endpoint,
                loop,
            ),
            DomainLook(settings),
            MailVolume(settings, names, local_now),
            self._hosts,
        )
        self._parts: tuple[Part, ...] = tuple(part for part in parts if part is not None)
        whole = [part for part in (self._events, rows) if part is not None]
        observers = [part for part in self._parts if part.observes and part not in (self._counter, *whole)]
        own = OwnLines(self.instance, foreign=self._place.is_main) if self.instance else None
        splitter = self._hosts.by_host if self._hosts is not None else None
        self._pipeline = Pipeline(self._counter, observers, own, splitter, whole)
        for part in self._parts:
            if part.name:
                self._failures.restore_part(part, states.get(part.name, {}))
        reads_stdin = any(source.name == stdin.NAME for source in reader.sources)
        interval = SHORT_INTERVAL if reads_stdin else INTERVAL
        writer.start(self._snapshot, reader.sync, reader.looked, interval)

    async def run(self, stop: asyncio.Event) -> Settings | None:
        """Run until `stop`, or until the settings change. Return the new settings."""
        if not self._settings.sends_probes:
            _log.warning(
                "probe.recipient is not set: no probes are sent, and new settings are never confirmed"
            )
        with self._watcher:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    # The endpoint closes its sockets at its end: only a new agent can serve again.
                    group.create_task(
                        part.run() if part is self._endpoint else self._failures.keep_running(part)
                    )
                    for part in self._parts
                    if type(part).run is not Part.run
                ]
                self._place.running[self._reloader.path] = self
                self._reloader.listen(self._reopen)
                if self._place.is_main:
                    _log.info("metrics: %s", self._endpoint.url)
                    notify("READY=1")
                try:
                    changed = await race(stop.wait(), self._reloader.changed(self._watcher))
                finally:
                    del self._place.running[self._reloader.path]
                if not isinstance(changed, Settings) and self._place.is_main:
                    notify("STOPPING=1")
                for task in tasks:
                    task.cancel()
        self._writer.save()
        self._reader.close()
        return changed if isinstance(changed, Settings) else None

    def _name(self, postfix: Postfix) -> str:
        """Return the name of the instance, by which its lines are known; "" where the settings name no further one."""
        if self._place.is_main and not self._settings.postfix.instances:
            return ""
        try:
            name = postfix.expanded("syslog_name")
        except PostfixError as error:
            raise StartError(f"postfix.config_directory: {error}") from error
        for other in self._place.running.values() if not self._place.is_main else ():
            if other.instance == name and other.directory != self.directory:
                raise StartError(
                    f"{postfix.main_cf}: syslog_name: {name} is also the name of {other.directory}, and no line "
                    "shows which of them wrote it; set multi_instance_name, and leave syslog_name out"
                )
        return name

    # --- the parts that need more than a line

    def _probe_scheduler(self, postfix: Postfix, throttle: LoginThrottle) -> ProbeScheduler:
        repairs = self._enforcer is not None and self._settings.enforce.mode == "enforce"
        try:
            return ProbeScheduler(
                self._settings,
                postfix,
                self._tally,
                show=self._show_probe,
                judge=self._judge,
                throttle=throttle,
                flush=self._writer.flush,
                has_backlog=self._is_catching_up,
                first_after=self._settings.enforce.interval_seconds if repairs else None,
            )
        except KeyFileError as error:
            raise StartError(f"probe.key_file: {error}") from error

    def _other_hosts(self) -> OtherHosts | None:
        patterns = self._settings.log.hosts
        if not patterns or not self._place.is_main:
            return None
        return OtherHosts(
            patterns,
            forms_of_hosts((self._settings.host.myhostname, socket.gethostname())),
            RelayNames.of_settings(self._settings),
            self._incidents.report,
            lambda: not self._reader.behind,
        )

    def _make_endpoint(self, listeners: Listeners) -> Endpoint:
        hooks = Hooks(
            not_ready=self._not_ready,
            read_log=lambda: self._of_all(lambda agent: agent._reader.catch_up()),  # noqa: SLF001 -- of this class
            refresh=lambda: self._of_all(lambda agent: agent._refresh()),  # noqa: SLF001
            look=lambda: self._of_all(lambda agent: agent._look()),  # noqa: SLF001
            status=self._status_of_all,
            incidents=self._incidents_of_all,
            reload=self._reload,
            instances=self._views,
        )
        legacy = self._queue_counts if self._settings.web.legacy_metrics else None
        registry = registry_of(JoinedCollector(self._collectors), self._tally, legacy=legacy)
        try:
            names = (self._settings.host.myhostname, socket.gethostname())
            return Endpoint(
                self._settings.web,
                names,
                local_socket(self._settings),
                listeners,
                registry,
                hooks,
                is_main=self._place.is_main,
            )
        except EndpointError as error:
            raise StartError(str(error)) from None

    def _enforce_loop(self) -> EnforceLoop | None:
        if self._enforcer is None:
            return None
        return EnforceLoop(self._settings, self._enforcer, self._watcher, self._request_probe)

    # --- what parts ask of each other

    def _feed(self, data: bytes) -> None:
        self._pipeline.feed(data)
        self._pipeline.settle()

    def _is_line_awaited(self) -> bool:
        return self._probes.is_waiting or self._canary.is_waiting

    def _has_backlog(self) -> bool:
        return self._reader.has_backlog

    def _is_catching_up(self) -> bool:
        return self._reader.behind or self._reader.has_backlog

    async def _request_probe(self, new: bool) -> None:
        if new:
            self._probes.probe_now()

    async def _judge(self, result: ProbeResult) -> None:
        if result.step == "log":
            await self._canary.look()
        if self._enforcer and await confirm(self._enforcer, result, self._probes.verdict_since):
            self._probes.note_confirmed()

    def _show_probe(self, result: ProbeResult) -> None:
        text = probe_text(result)
        if self._deliveries:
            self._console.print(text)
        else:
            level = logging.INFO if result.accepted else logging.ERROR
            _log.log(level, "%s", text.plain.replace("\n", ";"))

    def _snapshot(self) -> Checkpoint:
        states = {part.name: part.state() for part in self._parts if part.name}
        return Checkpoint(self._reader.positions(), self._tally, states)

    # --- what the endpoint asks

    @property
    def _shown(self) -> "list[Agent]":
        """The agents that this one's endpoint shows: itself first, and as the main one all others that run."""
        others = self._place.running.values() if self._place.is_main else ()
        return [self, *(agent for agent in others if agent.directory != self.directory)]

    async def _of_all(self, ask: "Callable[[Agent], Coroutine[Any, Any, None]]") -> None:
        await asyncio.gather(*(ask(agent) for agent in self._shown))

    def _collectors(self) -> list[PostwardCollector]:
        """Return the collectors of this agent, of the others that have caught up with the log, and of other hosts."""
        ready = (agent for agent in self._shown if agent is self or agent._not_ready() is None)  # noqa: SLF001
        hosts = self._hosts.logs.values() if self._hosts else ()
        return [*(agent._collector for agent in ready), *(log.collector for log in hosts)]  # noqa: SLF001

    def _views(self) -> Mapping[str, View]:
        """Return what is shown of each instance, by its name and by its directory."""
        return {
            name: agent._view  # noqa: SLF001 -- of this class
            for agent in self._shown
            for name in (agent.instance, agent.directory)
            if name
        }

    def _status_of_all(self) -> Status:
        """Return the status, with those of the other instances."""
        others = [agent._status() for agent in self._shown[1:]]  # noqa: SLF001 -- of this class
        hosts = self._hosts.status(time.time()) if self._hosts else []
        return self._status() | {"instances": others, "hosts": hosts}

    def _incidents_of_all(self) -> Mapping[str, Any]:
        """Return the incidents, with those of other hosts."""
        hosts = self._hosts.incidents() if self._hosts else {}
        return self._incidents.public_state() | {"hosts": hosts}

    def _not_ready(self) -> str | None:
        if self._reader.behind:
            return f"catching up with {self._reader.names}, {self._reader.unread()} bytes to go"
        return None if self._writer.has_saved else "position and counts have not been saved yet"

    def _queue_counts(self) -> Any:
        return self._queue.counts if self._queue else None

    async def _refresh(self) -> None:
        """List the queue, if it is time."""
        if self._queue is not None:
            await self._queue.refresh()

    async def _look(self) -> None:
        """List the queue and test the log, before the state of the host is shown."""
        await asyncio.gather(self._refresh(), self._canary.look())
        self._incidents.note_conditions()

    def _reopen(self) -> str | None:
        """Re-read the web.config file and reopen the file of events. Return the problem, if any."""
        if self._events is not None:
            self._events.reopen()
        return self._endpoint.reload()

    async def _reload(self) -> str | None:
        """Re-read everything for POST /-/reload, the settings too. Return the problem, if any."""
        return self._reopen() or await self._reloader.reload()

    def _gauges(self) -> Gauges:
        gauges: dict[str, Mapping[Labels, float]] = {}
        for part in self._parts:
            gauges.update(self._failures.gauges_of(part))
        return gauges

    def _conditions(self) -> Mapping[str, str | None]:
        conditions: dict[str, str | None] = {}
        for part in self._parts:
            conditions.update(self._failures.conditions_of(part))
        return conditions

    def _status(self) -> Status:
        now = time.time()
        observed = Observed(
            self._gauges(),
            self._tally.times,
            self._incidents.rows(),
            self._incidents.history.buckets(now),
            self._tally.counters["postward_log_lines_total"],
            self._not_ready(),
            self._senders.status(),
        )
        return status_of(self._settings, observed, now, self._build[0]) | {"instance": self.instance}


class _Host(Part):
    """Gauges and conditions of the host itself."""

    def __init__(
        self, settings: Settings, postfix: Postfix, build: Labels, enforcement: EnforcementState
    ) -> None:
        self._enforcement = enforcement
        self._faults: list[str] = []
        self._look_again = 0.0  # monotonic
        self._fallbacks: dict[Labels, float] = {
            (relay.name,): float(relay.fallback) for relay in settings.relay
        }
        self._build = build
        self._main_cf = postfix.main_cf
        try:
            self._queue_directory = postfix.expanded("queue_directory")
            self._permissions = Permissions(postfix)
        except PostfixError as error:
            raise StartError(f"postfix.config_directory: {error}") from error

    def gauges(self) -> Gauges:
        """Return whether Postfix runs, the build, and which relays are fallbacks."""
        return {
            "postfix_up": {(): float(is_master_running(self._queue_directory))},
            "postward_build_info": {self._build: 1.0},
            "postward_relay_is_fallback": self._fallbacks,
            "postward_events_dropped_total": {(): 0.0},  # the event stream, if there is one, says more
        }

    def conditions(self) -> Mapping[str, str | None]:
        """Return wrong owners and modes of Postfix's own files. The enforcer sees those that need root."""
        if (now := time.monotonic()) >= self._look_again:
            self._look_again = now + _PERMISSIONS_INTERVAL
            self._faults = self._permissions.faults()
        faults = dict.fromkeys((*self._faults, *self._enforcement.permissions()))
        return {"permissions": "; ".join(faults) or None}

    def unlistable(self) -> str | None:
        """Return why the queue cannot be listed. Postfix's command would log the failure, at each scrape."""
        if not is_master_running(self._queue_directory):
            return "Postfix is not running"
        try:
            lines = parse_main_cf(self._main_cf.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            return f"{self._main_cf}: {error.strerror}"
        broken = next((line.number for line in lines if not line.name), None)
        return f"{self._main_cf}, line {broken}: not of the form name = value" if broken else None


def _checkpoint_file(settings: Settings) -> Path:
    return Path(settings.state.directory) / "checkpoint.json"


def _resume(settings: Settings, postfix: Postfix) -> tuple[list[Source], Tally, Mapping[str, Any]]:
    """Return the log sources at their saved positions, the counts, and the states of the parts."""
    try:
        names, reason = find_log(settings.log.source, postfix)
        checkpoint = read_checkpoint(_checkpoint_file(settings))
    except (NoLogError, CheckpointError) as error:
        raise StartError(str(error)) from error
    _log.info("log: %s (%s)", ", ".join(names), reason)
    checkpoint = checkpoint or Checkpoint({}, Tally())
    try:
        sources = open_sources(names, checkpoint.positions)
    except ValueError as error:
        raise StartError(
            f"{_checkpoint_file(settings)}: positions: {error}; move it away to start counting at zero"
        ) from None
    return sources, checkpoint.tally, checkpoint.parts


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


def serve(settings: Settings, options: Options) -> None:
    """Run the agents until SIGTERM or SIGINT. Raises StartError."""
    with _alone(Path(settings.state.directory)):
        asyncio.run(_serve(settings, options))


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the lock on the state. Raises StartError if another agent has it; each would undo the other's counts."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"state.directory: {directory}: {error.strerror}; name a writable directory"
        ) from error
    try:
        descriptor = os.open(
            directory / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except OSError as error:  # the state cannot be written either, which the checkpoint reports
        _log.warning("state.directory: %s: cannot be locked: %s", directory, error.strerror)
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise StartError(
            f"state.directory: {directory} is in use by another agent; stop it, or name another directory"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


async def _serve(settings: Settings, options: Options) -> None:
    """Run the agent of the main settings file, and beside it one for each further instance that it names."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    place = Place()

    async def run_instance(
        reloader: SettingsReloader, stop: asyncio.Event, begun: Callable[[], None]
    ) -> None:
        with _alone(Path(reloader.settings.state.directory)):
            await _run(options, reloader, stop, begun, replace(place, is_main=False))

    reloader = SettingsReloader(options.settings_file, settings)
    instances = Instances(reloader, run_instance)
    try:
        await _run(options, reloader, stop, instances.update, place)
    finally:
        await instances.close()


async def _run(
    options: Options,
    reloader: SettingsReloader,
    stop: asyncio.Event,
    begun: Callable[[], None],
    place: Place,
) -> None:
    """Run one agent after the other, one for each version of the settings; the checkpoint hands the counts over.

    `begun` is called when an agent begins. Raises StartError if the first one cannot.
    """
    settings, listeners = reloader.settings, Listeners()
    try:
        agent = Agent(settings, options, reloader, listeners, place)
        begun()
        while (changed := await agent.run(stop)) is not None:
            try:
                agent = Agent(changed, options, reloader, listeners, place)
            except StartError as error:
                reloader.refuse(changed, settings, str(error))
                agent = Agent(settings, options, reloader, listeners, place)
            settings = reloader.settings
            begun()
    finally:
        listeners.take(())

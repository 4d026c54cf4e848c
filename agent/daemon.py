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

from postward.agent.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from postward.agent.console import DeliveryRows, probe_text, terminal
from postward.agent.enforce.enforcer import Enforcer, is_config_file
from postward.agent.enforce.state import enforcement_file, read_enforcement
from postward.agent.http.exporter import Exporter, ExporterError
from postward.agent.http.server import Listeners
from postward.agent.incidents.monitor import IncidentMonitor
from postward.agent.logs.canary import LogCanary
from postward.agent.logs.discover import NoLogError, find_log, open_sources
from postward.agent.logs.reader import LogReader
from postward.agent.logs.source import Source
from postward.agent.logs.watcher import Watcher, wake_up
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.probe_traffic import ProbeFilter
from postward.agent.metrics.tally import Gauges, Tally
from postward.agent.pipeline import Pipeline
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.postfix.process import is_master_running
from postward.agent.probe.message import KeyFileError
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.scheduler import Probing
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import RelayMonitor
from postward.agent.reload import SettingsReloader, race
from postward.agent.saving import CheckpointWriter
from postward.agent.status.model import Status, status_of
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
        self._enforcement_file = enforcement_file(Path(settings.enforce.directory))
        self._version = version("postward")  # looked up in files: not at every scrape
        self._queue_directory = _queue_directory(self._postfix)
        self._names = RelayNames.of_settings(settings)

        # log → counts, and the counts saved with the position
        sources, self._tally, parts = self._resume()
        guard = self._guard()
        self._probing = self._set_up_probing(guard)
        self._relay_watch = RelayMonitor(settings, self._tally, guard, self._written)
        self._telling = self._set_up_telling(listeners)
        self._incidents = IncidentMonitor(
            settings,
            self._postfix,
            self._names,
            self._telling.all_gauges,
            self._telling.refresh,
            self._written,
            self._relay_watch.as_json,
        )
        self._telling.on_status, self._telling.on_incidents = self._status, self._incidents.public
        self._own_line = LogCanary(
            self._postfix,
            self._tally,
            settings.log.test_interval_seconds,
            lambda: self._reader.has_backlog,
            self._written,
        )
        observers = [
            self._probing.observe,
            self._own_line.observe,
            *self._telling.observers,
            *self._incidents.observers,
        ]
        if options.deliveries:
            observers.append(DeliveryRows(self._console, self._names).observe)
        self._counting = ProbeFilter(self._tally, self._names, local_now)
        self._reader = LogReader(
            sources, Pipeline(self._counting, observers).feed, self._tally, lambda: self._saving.soon()
        )
        self._saving = CheckpointWriter(
            self._checkpoint_file, self._tally, self._checkpoint, self._reader.sync
        )
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
                    self._saving.run(self._reader.looked),
                    self._own_line.run(),
                ]
                jobs += [self._probe(), self._relay_watch.run()]
                jobs.append(self._incidents.run(lambda: not self._reader.behind))
                if self._enforcer:
                    jobs.append(self._enforce(watcher, self._enforcer))
                tasks = [group.create_task(job) for job in [*jobs, self._telling.serve()]]
                _log.info("metrics: %s", self._telling.url)
                self._reloading.listen(lambda: group.create_task(self._telling.reload()))
                notify("READY=1")
                changed = await race(stop.wait(), self._reloading.changed(watcher))
                for task in tasks:
                    task.cancel()
        self._saving.save()
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

    def _set_up_telling(self, listeners: Listeners) -> Exporter:
        """Counts → Prometheus."""
        try:
            return Exporter(
                self._settings,
                self._postfix,
                self._tally,
                self._names,
                self._gauges,
                self._not_ready,
                listeners,
            )
        except ExporterError as error:
            raise StartError(str(error)) from None

    def _checkpoint(self) -> Checkpoint:
        parts = {
            "traffic": self._counting.as_json(),
            "probing": self._probing.as_json(),
            "relays": self._relay_watch.as_json(),
            "incidents": self._incidents.as_json(),
        }
        return Checkpoint(self._reader.positions(), self._tally, parts)

    async def _written(self) -> None:
        await self._saving.written()

    async def _enforce(self, watcher: Watcher, enforcer: Enforcer) -> None:
        wake = watcher.watch(self._postfix.config_directory, is_config_file)
        passwords = [Path(relay.password_file) for relay in self._settings.relay if relay.password_file]
        for folder in {path.parent for path in passwords}:
            # One for each folder: every read of a password calls all that watch there.
            names = frozenset(path.name for path in passwords if path.parent == folder)
            watcher.watch(folder, names.__contains__, wake)
        try:
            while True:
                if await asyncio.to_thread(enforcer.converge):
                    self._probing.probe_now()
                await wake_up(wake, self._settings.enforce.interval_seconds)
                await asyncio.sleep(enforcer.pause)
        finally:
            enforcer.retire()

    async def _probe(self) -> None:
        if not self._settings.probe.recipient:
            _log.warning("probe.recipient is not set: no probes are sent, and new settings are kept unproven")
        await self._probing.run(self._settings.enforce.interval_seconds if self._enforcer else None)

    def _guard(self) -> LoginThrottle:
        settings = self._settings
        path = Path(settings.state.directory) / "logins.json"
        return LoginThrottle(path, settings.relay, settings.probe.auth_tries_per_hour)

    def _set_up_probing(self, guard: LoginThrottle) -> Probing:
        settings = self._settings
        try:
            return Probing(
                settings,
                self._postfix,
                self._tally,
                self._show_probe,
                self._judge,
                guard,
                self._written,
                lambda: self._reader.behind or self._reader.has_backlog,
            )
        except KeyFileError as error:
            raise StartError(f"probe.key_file: {error}") from error

    async def _judge(self, result: ProbeResult) -> None:
        """New settings are kept or not by the probes that were sent after they came into force."""
        enforcer = self._enforcer
        if enforcer is None or not enforcer.pending_confirmation or result.submitted < enforcer.applied_at:
            return
        applied_at = enforcer.applied_at
        verdict = self._probing.verdict_since(applied_at)
        if verdict or (verdict is False and not result.relayed):
            await asyncio.to_thread(
                enforcer.confirm, accepted=verdict, reason=result.reason, applied_at=applied_at
            )
            if verdict and not enforcer.pending_confirmation:
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
        return None if self._saving.saved else "position and counts have not been saved yet"

    def _gauges(self) -> Gauges:
        """What is true at this moment."""
        gauges: dict[str, dict[tuple[str, ...], float]] = {
            "postfix_up": {(): float(is_master_running(self._queue_directory))},
            "postward_build_info": {(self._version,): 1.0},
        }
        if enforcement := read_enforcement(self._enforcement_file):
            gauges |= enforcement.gauges()
        return {
            **gauges, **self._reloading.gauges(), **self._reader.gauges(), **self._saving.gauges(), **self._own_line.gauges(),
            **self._probing.gauges(), **self._relay_watch.gauges(), **self._incidents.gauges(),
        }  # fmt: skip

    def _status(self) -> Status:
        """How the host is."""
        now = time.time()
        return status_of(
            self._settings,
            self._telling.all_gauges(),
            self._tally.times,
            self._incidents.shown(),
            self._incidents.day.pieces(now),
            now=now,
            not_ready=self._not_ready(),
            version=self._version,
        )


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
    notify("STOPPING=1")

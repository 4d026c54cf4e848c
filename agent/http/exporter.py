"""Counts → Prometheus: everything between the pipeline's events and the network, put together.

The agent makes one, lets the pipeline hand it events (`observers`), and runs `serve` as one of its tasks.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector

from postward.agent.export.jsonl import EventStream, open_target
from postward.agent.http.app import Hooks, application
from postward.agent.http.server import HttpServer, Listeners
from postward.agent.http.web_config import WebAccess, WebConfigError
from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.daemons import DaemonMetrics
from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.legacy import LegacyCollector
from postward.agent.metrics.queue import QueueMonitor
from postward.agent.metrics.tally import Gauges, Tally
from postward.agent.pipeline import Observer
from postward.agent.postfix.commands import Postfix
from postward.config.settings import Settings


class ExporterError(Exception):
    """A part cannot be set up; the text names the setting and what would be right."""


class Exporter:
    """Metrics, the queue, the endpoint and the event stream.

    Args:
        settings: where to listen, and what to show.
        postfix: whose queue it is.
        tally: what was counted.
        names: the relays of the settings.
        gauges: what is true at the moment, besides the queue.
        not_ready: why the agent is not ready yet; None once it is.
        listeners: the sockets of the agent before this one, and of this.

    Raises:
        ExporterError: on construction.
    """

    def __init__(
        self,
        settings: Settings,
        postfix: Postfix,
        tally: Tally,
        names: RelayNames,
        gauges: Callable[[], Gauges],
        not_ready: Callable[[], str | None],
        listeners: Listeners,
    ) -> None:
        self._gauges = gauges
        self._fallbacks: dict[tuple[str, ...], float] = {
            (relay.name,): float(relay.fallback) for relay in settings.relay
        }
        exemplars = Exemplars()
        self._details = DaemonMetrics(tally, names, exemplars)
        self._queue = QueueMonitor(postfix.list_queue) if settings.queue.enabled else None
        self._stream = _event_stream(settings, names)
        self._access = _access(settings)
        # POST /-/reload; the agent puts in what SIGHUP does.
        self.on_reload: Callable[[], Awaitable[str | None]] = self.reload
        # How the host is, and its incidents; the agent puts in who knows.
        self.on_status: Callable[[], Mapping[str, Any] | None] = lambda: None
        self.on_incidents: Callable[[], Mapping[str, Any] | None] = lambda: None
        registry = CollectorRegistry()
        registry.register(PostwardCollector(tally, self.all_gauges, exemplars))
        if settings.web.legacy_metrics:
            registry.register(LegacyCollector(tally, lambda: self._queue.counts if self._queue else None))
        ProcessCollector(registry=registry)
        answers = Hooks(
            not_ready,
            self.refresh,
            self._reload_by_request if settings.web.reload else None,
            version("postward"),
            lambda: self.on_status(),
            lambda: self.on_incidents(),
        )
        self.addresses = (settings.web.listen, *settings.web.also_listen)
        try:
            sockets = listeners.take(self.addresses)
        except OSError as error:
            raise ExporterError(
                f"web.listen: {error.filename}: {error.strerror}; write an address of this host and a free port"
            ) from None
        self._server = HttpServer(application(registry, answers, self._access), sockets, self._access)

    @property
    def observers(self) -> list[Observer]:
        """What wants to see recognised events."""
        return [self._details.observe, *([self._stream.observe] if self._stream else [])]

    @property
    def url(self) -> str:
        """Where the metrics are."""
        scheme = "https" if self._access.config.tls else "http"
        return f"{scheme}://{self.addresses[0]}/metrics"

    async def serve(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._server.serve())
        finally:
            if self._stream is not None:
                await asyncio.to_thread(self._stream.close)
            if self._queue is not None:
                await self._queue.close()

    async def reload(self) -> str | None:
        """Read again what is read at the start; what is wrong, in words."""
        self._access.look(now=True)
        if self._stream is not None:
            self._stream.reopen()
        return None if self._access.loaded else "web.config_file: cannot be used; the journal says why"

    async def _reload_by_request(self) -> str | None:
        return await self.on_reload()

    async def refresh(self) -> None:
        """List the queue anew, if it is time."""
        if self._queue is not None:
            await self._queue.refresh()

    def all_gauges(self) -> Gauges:
        """What is true at the moment, the queue included."""
        shown: dict[str, Mapping[tuple[str, ...], float]] = dict(self._gauges())
        if self._queue is not None:
            shown |= self._queue.gauges()
        shown |= {
            "postward_relay_is_fallback": self._fallbacks,
            "postward_web_config_last_reload_successful": {(): float(self._access.loaded)},
            "postward_web_config_last_reload_success_timestamp_seconds": {(): self._access.loaded_at},
            "postward_web_connections_refused_total": {(): float(self._server.refused)},
            "postward_events_dropped_total": {(): float(self._stream.dropped if self._stream else 0)},
        }
        return shown


def _access(settings: Settings) -> WebAccess:
    file = settings.web.config_file
    try:
        return WebAccess(Path(file) if file else None, time.monotonic)
    except WebConfigError as error:
        raise ExporterError(f"web.config_file: {error}") from None


def _event_stream(settings: Settings, names: RelayNames) -> EventStream | None:
    if not settings.events.target:
        return None
    try:
        return EventStream(
            open_target(settings.events.target), names, personal=settings.events.include_personal_data
        )
    except OSError as error:
        raise ExporterError(
            f"events.target: {settings.events.target}: {error.strerror}; write stdout, or a file that can be written"
        ) from None

"""The endpoint as a part of the agent: its addresses, its access, and the registry of its metrics.

How it fails: an address that cannot be bound and a web.config file that cannot be used raise EndpointError on construction.
Once it runs, a bad web.config file is logged and the former one stays in force.
"""

import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from postward.agent.http.app import Hooks, application
from postward.agent.http.auth import WebAccess
from postward.agent.http.server import HttpServer, Listeners
from postward.agent.http.web_config import WebConfigError
from postward.agent.metrics.legacy import LegacyCollector
from postward.agent.metrics.queue import QueueCounts
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part
from postward.config.fields import forms_of_hosts, split_address
from postward.config.sections import Web

_log = logging.getLogger("postward")


class EndpointError(Exception):
    """The endpoint cannot be set up; the text names the setting and the fix."""


class Endpoint(Part):
    """Serves metrics, status and readiness over HTTP.

    Args:
        settings: where to listen, and who may send requests.
        names: names of this host beside those of the settings.
        local: where commands on this host ask, without a login; left out with a warning if it cannot be made.
        listeners: listening sockets, kept from one agent to the next.
        registry: the metrics.
        hooks: functions of the agent; `reload` re-reads the settings.
        is_main: it listens on the addresses of the settings, not only locally.

    Raises:
        EndpointError: on construction.
    """

    def __init__(
        self,
        settings: Web,
        names: Iterable[str],
        local: Path,
        listeners: Listeners,
        registry: CollectorRegistry,
        hooks: Hooks,
        *,
        is_main: bool = True,
    ) -> None:
        try:
            self._access = WebAccess(Path(settings.config_file) if settings.config_file and is_main else None)
        except WebConfigError as error:
            raise EndpointError(f"web.config_file: {error}") from None
        self._addresses = (settings.listen, *settings.also_listen) if is_main else ()
        hosts = {split_address(address)[0] for address in self._addresses} | {*names, *settings.hosts}
        hosts.add(urlsplit(settings.external_url).hostname or "")
        app = application(
            registry,
            hooks,
            self._access,
            version=version("postward"),
            may_reload=settings.reload,
            hosts=forms_of_hosts(hosts),
        )
        try:
            sockets = _take(listeners, self._addresses, local)
        except OSError as error:
            raise EndpointError(
                f"web.listen: {error.filename}: {error.strerror}; write an address of this host and a free port"
            ) from None
        self._server = HttpServer(app, sockets, self._access.context)

    @property
    def url(self) -> str:
        """The URL of the metrics; "" if it listens only locally."""
        if not self._addresses:
            return ""
        scheme = "https" if self._access.config.tls else "http"
        return f"{scheme}://{self._addresses[0]}/metrics"

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._server.serve()

    def reload(self) -> str | None:
        """Re-read the web.config file now. Return the problem if it cannot be used."""
        self._access.poll(now=True)
        return f"web.config_file: {self._access.problem}" if self._access.problem else None

    def gauges(self) -> Gauges:
        """Return whether the web.config file is in force, and how many connections were refused."""
        if not self._addresses:
            return {}
        return {
            "postward_web_config_last_reload_successful": {(): float(self._access.problem is None)},
            "postward_web_config_last_reload_success_timestamp_seconds": {(): self._access.loaded_at},
            "postward_web_connections_refused_total": {(): float(self._server.refused)},
        }


def _take(listeners: Listeners, addresses: Sequence[str], local: Path) -> list[socket.socket]:
    try:
        return listeners.take([*addresses, str(local)])
    except OSError as error:
        if error.filename != str(local):
            raise
        _log.warning("%s: %s; commands on this host read the checkpoint instead", local, error.strerror)
        return listeners.take(addresses)


def registry_of(
    metrics: Collector,
    tally: Tally,
    *,
    legacy: Callable[[], QueueCounts | None] | None = None,
) -> CollectorRegistry:
    """Return the registry behind /metrics.

    Args:
        metrics: the collector of Postward's metrics.
        tally: the counts that the metrics of prometheus-postfix-exporter show.
        legacy: returns the queue for the metrics of prometheus-postfix-exporter; None: without these metrics.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    if legacy is not None:
        registry.register(LegacyCollector(tally, legacy))
    ProcessCollector(registry=registry)
    return registry

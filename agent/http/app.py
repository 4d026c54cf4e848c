"""Routes of the endpoint: /metrics for Prometheus, /-/healthy and /-/ready for supervisors, a landing page at /.

The state of the host is at /status (a page), /api/status and /api/incidents (JSON), the runbooks are below /runbooks/.
POST /-/reload re-reads the settings, if they allow it. Any other path is 404. Access is checked first (`auth.py`).
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from postward.agent.http.auth import AccessMiddleware, WebAccess
from postward.agent.http.headers import HeadersMiddleware
from postward.agent.http.runbooks import runbook_routes
from postward.agent.http.scrape_cache import ScrapeCache
from postward.agent.status.routes import Action, View, status_routes

_LANDING = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Postward</title></head>
<body><h1>Postward</h1><p>Keeps the outbound mail of this host alive. Version {version}.</p>

<ul><li><a href="/status">Status</a></li>

<li><a href="/metrics">Metrics</a></li><li><a href="/runbooks/">Runbooks</a></li>

<li><a href="/-/healthy">Healthy</a></li><li><a href="/-/ready">Ready</a></li></ul>
</body></html>
"""


async def _nothing() -> None:
    """Do nothing."""


async def _no_reload() -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Functions of the agent that the endpoint calls.

    Attributes:
        not_ready: returns why the agent is not ready; None once it is.
        read_log: reads the log up to now; awaited before counts are shown.
        refresh: lists the queue; awaited before metrics are written.
        look: lists the queue and tests the log; awaited before the state of the host or its incidents are shown.
        status: returns the state of the host (`status_of`); None while it is unknown.
        incidents: returns the incidents as JSON values; None while they are unknown.
        reload: re-reads the settings. Returns None when done, else the error text.
        instances: returns what is shown of each instance of Postfix, by its name and by its directory of main.cf.
    """

    not_ready: Callable[[], str | None]
    read_log: Action = _nothing
    refresh: Action = _nothing
    look: Action = _nothing
    status: Callable[[], Mapping[str, Any] | None] = lambda: None
    incidents: Callable[[], Mapping[str, Any] | None] = lambda: None
    reload: Callable[[], Awaitable[str | None]] = _no_reload
    instances: Callable[[], Mapping[str, View]] = dict

    @property
    def view(self) -> View:
        """The instance that the endpoint shows unless a request names another."""
        return View(self.read_log, self.look, self.status, self.incidents)


def application(
    registry: CollectorRegistry,
    hooks: Hooks,
    access: WebAccess,
    *,
    version: str = "",
    may_reload: bool = False,
    hosts: Collection[str] = (),
) -> Starlette:
    """Return the ASGI application.

    Args:
        registry: the metrics of /metrics.
        hooks: functions of the agent.
        access: who may send requests.
        version: shown on the landing page.
        may_reload: whether POST /-/reload is allowed.
        hosts: names of this host, in lower case; its addresses and "localhost" are known.
    """
    cache = ScrapeCache(registry)

    async def metrics(request: Request) -> Response:
        """The metrics, for Prometheus, as text or OpenMetrics."""
        if reason := hooks.not_ready():
            # Counts of a log that is not caught up with would look like counters that went back.
            return PlainTextResponse(f"not ready: {reason}\n", 503)
        await hooks.refresh()
        await hooks.read_log()  # last: the log must not lag behind the queue
        compressed = _accepts_gzip(request.headers.get("accept-encoding", ""))
        body, content_type = cache.page(request.headers.get("accept", ""), compressed=compressed)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        return Response(body, headers=headers | ({"Content-Encoding": "gzip"} if compressed else {}))

    async def healthy(_request: Request) -> Response:
        """200 while the process runs."""
        return PlainTextResponse("Postward is healthy.\n")

    async def ready(_request: Request) -> Response:
        """200 once the log has been read up to now, else 503 with the reason."""
        if reason := hooks.not_ready():
            return PlainTextResponse(f"not ready: {reason}\n", 503)
        return PlainTextResponse("Postward is ready.\n")

    async def reload(_request: Request) -> Response:
        """Read the settings again, if web.reload allows it."""
        if not may_reload:
            return PlainTextResponse("reload is off; web.reload = true allows it\n", 403)
        problem = await hooks.reload()
        return PlainTextResponse(f"{problem}\n", 500) if problem else PlainTextResponse("reloaded\n")

    async def landing(_request: Request) -> Response:
        """A page with links to the others."""
        return HTMLResponse(_LANDING.format(version=version))

    routes = [
        Route("/", landing),
        Route("/metrics", metrics),
        *status_routes(hooks.view, hooks.instances),
        *runbook_routes(),
        Route("/-/healthy", healthy),
        Route("/-/ready", ready),
        Route("/-/reload", reload, methods=["POST"]),
    ]
    middleware = [
        Middleware(HeadersMiddleware, configured=lambda: access.config.headers),
        Middleware(AccessMiddleware, access=access, is_own_name=lambda name: is_own_name(name, hosts)),
    ]
    app = Starlette(routes=routes, middleware=middleware)
    app.router.redirect_slashes = False
    return app


def is_own_name(host: str, names: Collection[str]) -> bool:
    """Return whether a Host header is an address, "localhost", one of these names, or missing: browsers send it always."""
    name = re.sub(r":\d*\Z", "", host).rstrip(".").lower()
    if not name or name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _accepts_gzip(header: str) -> bool:
    for item in header.lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False

"""What the endpoint answers: /metrics for Prometheus, /-/healthy and /-/ready for supervisors, a landing page at /,
and how the host is at /status (a page), /api/status and /api/incidents (JSON).

Any other path is 404. /-/reload takes a POST, if the settings allow it. Logins are checked before anything else is
looked at, except at /-/healthy and /-/ready, which say nothing of the host and which supervisors ask without one.

Promise: scrapes take at most a tenth of the agent's time, however many come: a page that took 20 ms to write is
shown for 200 ms. Collecting takes no lock.
"""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postward.agent.http.web_config import WebAccess
from postward.agent.status.routes import status_routes

_SHARE = 5  # what a page holds back of a new line, against what hostile scrapes may cost
_OPEN_PATHS = frozenset({"/-/healthy", "/-/ready"})
_LANDING = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Postward</title></head>
<body><h1>Postward</h1><p>Keeps the outbound mail of this host alive. Version {version}.</p>
<ul><li><a href="/status">Status</a></li>
<li><a href="/metrics">Metrics</a></li><li><a href="/-/healthy">Healthy</a></li><li><a href="/-/ready">Ready</a></li></ul>
</body></html>
"""


async def _nothing() -> None:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the endpoint needs of the agent.

    Attributes:
        not_ready: why the agent is not ready yet; None once it is.
        refresh: awaited before a page of metrics is written.
        reload: what POST /-/reload does; None if it is off.
        version: shown on the landing page.
        status: how the host is, for /status and /api/status; None before the agent is put together.
        incidents: for /api/incidents, likewise.
    """

    not_ready: Callable[[], str | None]
    refresh: Callable[[], Awaitable[None]] = _nothing
    reload: Callable[[], Awaitable[str | None]] | None = None
    version: str = ""
    status: Callable[[], Mapping[str, Any] | None] = lambda: None
    incidents: Callable[[], Mapping[str, Any] | None] = lambda: None


class _Families(Collector):
    """Some families, for an encoder."""

    def __init__(self, *families: Family) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


class ScrapeCache:
    """Pages of metrics, each kept for five times as long as it took to write.

    Of a page that is written anew, families are that changed: on most hosts most series rest, and encoding them is
    nine tenths of the work.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter) -> None:
        self._registry = registry
        self._clock = clock
        self._kept: dict[tuple[str, bool], tuple[float, bytes]] = {}
        self._encoded: dict[str, list[tuple[Family, bytes]]] = {}

    def page(self, accept: str, *, compressed: bool) -> tuple[bytes, str]:
        """A page in the format asked for, and its content type."""
        encode, content_type = choose_encoder(accept)
        started = self._clock()
        until, body = self._kept.get((content_type, compressed), (0.0, b""))
        if started >= until:
            # Formats are a handful; a client that invents versions makes no more.
            if len(self._kept) > 8:
                self._kept.clear()
                self._encoded.clear()
            body = self._written(encode, content_type)
            if compressed:
                body = gzip.compress(body, compresslevel=4, mtime=0)
            ended = self._clock()
            self._kept[content_type, compressed] = (ended + _SHARE * (ended - started), body)
        return body, content_type

    def _written(self, encode: Callable[[Any], bytes], content_type: str) -> bytes:
        before = self._encoded.get(content_type, [])
        end = encode(_Families())
        now = []
        for place, family in enumerate(self._registry.collect()):
            if place < len(before) and before[place][0] == family:
                now.append(before[place])
            else:
                now.append((family, encode(_Families(family)).removesuffix(end)))
        self._encoded[content_type] = now
        return b"".join([*(text for _, text in now), end])


def application(registry: CollectorRegistry, answers: Hooks, access: WebAccess | None = None) -> Starlette:
    """The ASGI application.

    Args:
        registry: what /metrics shows.
        answers: what is asked of the agent.
        access: who may come in; None: everybody.
    """
    pages = ScrapeCache(registry)

    async def metrics(request: Request) -> Response:
        if reason := answers.not_ready():
            # Counts that are still being caught up with must not look like counts that went back.
            return PlainTextResponse(f"not ready: {reason}\n", 503)
        await answers.refresh()
        compressed = _accepts_gzip(request.headers.get("accept-encoding", ""))
        body, content_type = pages.page(request.headers.get("accept", ""), compressed=compressed)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        return Response(body, headers=headers | ({"Content-Encoding": "gzip"} if compressed else {}))

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("Postward is healthy.\n")

    async def ready(_request: Request) -> Response:
        reason = answers.not_ready()
        return (
            PlainTextResponse(f"not ready: {reason}\n", 503)
            if reason
            else PlainTextResponse("Postward is ready.\n")
        )

    async def reload(_request: Request) -> Response:
        if answers.reload is None:
            return PlainTextResponse("reload is off; web.reload = true allows it\n", 403)
        problem = await answers.reload()
        return PlainTextResponse(f"{problem}\n", 500) if problem else PlainTextResponse("reloaded\n")

    async def landing(_request: Request) -> Response:
        return HTMLResponse(_LANDING.format(version=answers.version))

    routes = [
        Route("/", landing),
        Route("/metrics", metrics),
        *status_routes(answers.refresh, answers.status, answers.incidents),
        Route("/-/healthy", healthy),
        Route("/-/ready", ready),
        Route("/-/reload", reload, methods=["POST"]),
    ]
    middleware = [Middleware(Gate, access=access)] if access is not None else []
    app = Starlette(routes=routes, middleware=middleware)
    app.router.redirect_slashes = False
    return app


def _accepts_gzip(header: str) -> bool:
    for item in header.lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


class Gate:
    """Login, client certificate's name, rate limit and headers, as the web configuration file says."""

    def __init__(self, app: ASGIApp, access: WebAccess) -> None:
        self._app = app
        self._access = access
        # bcrypt is slow on purpose: outside the loop, and one at a time, so that guessing takes one core at most.
        self._one_login = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        extra = [(name.lower().encode(), text.encode()) for name, text in self._access.config.headers.items()]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        refusal = None if scope["path"] in _OPEN_PATHS else await self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope) -> Response | None:
        if not self._access.allows():
            return PlainTextResponse("too many requests\n", 429)
        if not self._access.admits_certificate(scope.get("state", {}).get("certificate")):
            return PlainTextResponse("the client certificate's name is not allowed here\n", 403)
        if not self._access.config.users:
            return None
        headers = dict(scope["headers"])
        async with self._one_login:
            admitted = await asyncio.to_thread(
                self._access.admits, headers.get(b"authorization", b"").decode("latin-1")
            )
        if admitted:
            return None
        return PlainTextResponse("a login is needed\n", 401, {"WWW-Authenticate": "Basic"})

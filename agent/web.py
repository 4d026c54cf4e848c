"""The HTTP endpoint: /metrics for Prometheus, /-/healthy and /-/ready for supervisors, a landing page at /.

Any other path is 404. The server runs in the agent's loop, and collecting takes no lock and no wait.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

_LANDING = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Postward</title></head>
<body><h1>Postward</h1><p>Keeps the outbound mail of this host alive.</p>
<ul><li><a href="/metrics">Metrics</a></li><li><a href="/-/healthy">Healthy</a></li><li><a href="/-/ready">Ready</a></li></ul>
</body></html>
"""


def application(registry: CollectorRegistry, not_ready: Callable[[], str | None]) -> Starlette:
    """The ASGI application.

    Args:
        registry: what /metrics shows.
        not_ready: why the agent is not ready yet; None once it is.
    """

    async def metrics(request: Request) -> Response:
        if reason := not_ready():
            # Counts that are still being caught up with must not look like counts that went back.
            return PlainTextResponse(f"not ready: {reason}\n", 503)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("Postward is healthy.\n")

    async def ready(_request: Request) -> Response:
        reason = not_ready()
        return (
            PlainTextResponse(f"not ready: {reason}\n", 503)
            if reason
            else PlainTextResponse("Postward is ready.\n")
        )

    async def landing(_request: Request) -> Response:
        return HTMLResponse(_LANDING)

    handlers: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/": landing,
        "/metrics": metrics,
        "/-/healthy": healthy,
        "/-/ready": ready,
    }
    routes = [Route(path, handler) for path, handler in handlers.items()]
    return Starlette(routes=routes, middleware=[Middleware(GZipMiddleware, minimum_size=1000)])


class Server(uvicorn.Server):
    """uvicorn in a loop that is not its own: signals stay with the agent."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

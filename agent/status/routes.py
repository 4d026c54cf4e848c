"""The status on the endpoint: /status is a page, /api/status and /api/incidents are JSON."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from postward.agent.status.html import POLICY, page

Source = Callable[[], Mapping[str, Any] | None]
Action = Callable[[], Coroutine[Any, Any, None]]
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def status_routes(read_log: Action, look: Action, status: Source, incidents: Source) -> list[Route]:
    """Return the routes.

    Args:
        read_log: awaited before each answer.
        look: lists the queue and tests the log; awaited before /api/status and /api/incidents are answered.
        status: returns the state of the host (`status_of`); None while it is unknown.
        incidents: returns the incidents as JSON values; None while they are unknown.
    """
    looking: set[asyncio.Task[None]] = set()

    async def as_page(_request: Request) -> Response:
        await read_log()
        # The page does not wait for the listing of the queue or the log's test: the next page shows them.
        if not looking:
            task = asyncio.ensure_future(look())
            looking.add(task)
            task.add_done_callback(looking.discard)
        known = status()
        if known is None:
            return PlainTextResponse("no status yet\n", 503)
        return HTMLResponse(page(dict(known)), headers={**_HEADERS, "Content-Security-Policy": POLICY})

    async def as_json(_request: Request) -> Response:
        await look()
        await read_log()
        return JSONResponse(status(), headers=_HEADERS)

    async def incidents_as_json(_request: Request) -> Response:
        await look()
        await read_log()
        return JSONResponse(incidents(), headers=_HEADERS)

    return [
        Route("/status", as_page),
        Route("/api/status", as_json),
        Route("/api/incidents", incidents_as_json),
    ]

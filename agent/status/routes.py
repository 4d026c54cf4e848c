"""The status on the endpoint: /status is a page, /api/status and /api/incidents are JSON."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from postward.agent.status.html import POLICY, page

Known = Callable[[], Mapping[str, Any] | None]
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def _awaited(refresh: Callable[[], Awaitable[None]]) -> None:
    await refresh()


def status_routes(refresh: Callable[[], Awaitable[None]], status: Known, incidents: Known) -> list[Route]:
    """The routes.

    Args:
        refresh: awaited before the status is told.
        status: how the host is (`status_of`); None if nobody knows yet.
        incidents: the incidents as data, likewise.
    """
    listing: set[asyncio.Task[None]] = set()

    async def shown(_request: Request) -> Response:
        # The page does not wait for the queue's listing: the next one shows it.
        if not listing:
            task = asyncio.ensure_future(_awaited(refresh))
            listing.add(task)
            task.add_done_callback(listing.discard)
        known = status()
        if known is None:
            return PlainTextResponse("there is no status yet\n", 503)
        return HTMLResponse(page(dict(known)), headers={**_HEADERS, "Content-Security-Policy": POLICY})

    async def as_json(_request: Request) -> Response:
        await refresh()
        return JSONResponse(status(), headers=_HEADERS)

    async def incidents_as_json(_request: Request) -> Response:
        return JSONResponse(incidents(), headers=_HEADERS)

    return [
        Route("/status", shown),
        Route("/api/status", as_json),
        Route("/api/incidents", incidents_as_json),
    ]

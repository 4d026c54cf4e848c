"""The status on the endpoint: /status is a page, /api/status and /api/incidents are JSON."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from postward.agent.status.html import POLICY, page

Source = Callable[[], Mapping[str, Any] | None]
Action = Callable[[], Coroutine[Any, Any, None]]
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class View(NamedTuple):
    """An instance of Postfix, as the routes show it.

    Attributes:
        read_log: awaited before each answer.
        look: lists the queue and tests the log; awaited before /api/status and /api/incidents are answered.
        status: returns the state of the host (`status_of`); None while it is unknown.
        incidents: returns the incidents as JSON values; None while they are unknown.
    """

    read_log: Action
    look: Action
    status: Source
    incidents: Source


def status_routes(main: View, instances: Callable[[], Mapping[str, View]] = dict) -> list[Route]:
    """Return the routes.

    Args:
        main: shown unless the request names an instance, as in /status?instance=postfix-out.
        instances: returns what is shown of each instance, by its name and by its directory of main.cf.
    """
    looking: set[asyncio.Task[None]] = set()

    def chosen(request: Request) -> View:
        name = request.query_params.get("instance")
        if name is None:
            return main
        view = instances().get(name)
        if view is None:
            raise HTTPException(404, "this agent does not watch that instance of Postfix\n")
        return view

    async def as_page(request: Request) -> Response:
        """The state of the host, as a page."""
        view = chosen(request)
        await view.read_log()
        # The page does not wait for the listing of the queue or the log's test: the next page shows them.
        if not looking:
            task = asyncio.ensure_future(view.look())
            looking.add(task)
            task.add_done_callback(looking.discard)
        known = view.status()
        if known is None:
            return PlainTextResponse("no status yet\n", 503)
        return HTMLResponse(page(dict(known)), headers={**_HEADERS, "Content-Security-Policy": POLICY})

    async def as_json(request: Request) -> Response:
        """The state of the host, as JSON."""
        view = chosen(request)
        await view.look()
        await view.read_log()
        return JSONResponse(view.status(), headers=_HEADERS)

    async def incidents_as_json(request: Request) -> Response:
        """The incidents, as JSON."""
        view = chosen(request)
        await view.look()
        await view.read_log()
        return JSONResponse(view.incidents(), headers=_HEADERS)

    return [
        Route("/status", as_page),
        Route("/api/status", as_json),
        Route("/api/incidents", incidents_as_json),
    ]

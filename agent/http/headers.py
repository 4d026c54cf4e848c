"""Security headers of every page, the endpoint's and the sink's."""

from collections.abc import Callable, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DEFAULTS: Final = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


class HeadersMiddleware:
    """Adds headers to all answers. A page's own stand before the defaults, and configured ones before both.

    Args:
        app: the application.
        configured: returns the configured headers.
    """

    def __init__(self, app: ASGIApp, configured: Callable[[], Mapping[str, str]] = dict) -> None:
        self._app = app
        self._configured = configured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer the request, with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                of_page = {
                    name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]
                }
                headers: dict[str, str] = {}
                for group in (_DEFAULTS, of_page, self._configured()):
                    headers |= {name.lower(): value for name, value in group.items()}
                message["headers"] = [
                    (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)

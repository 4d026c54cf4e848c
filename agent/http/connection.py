"""One HTTP/1.1 connection: bytes ↔ requests of an ASGI application, through h11 (RFC 9112).

Promise: a request takes at most `timeout` seconds, from its first byte until the client has taken the answer, and its
head at most `_HEAD_TIMEOUT`. The time of the first request begins with the connection. Between two requests a connection
may rest for `_KEEP_ALIVE` seconds, as long as the server has room.

How it fails: bytes that are not HTTP are answered by the status that h11 names, and the connection is closed. An exception
of the application is logged and answered by 500. A client that is too slow raises TimeoutError in `serve`.
"""

import asyncio
import logging
import socket
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import h11
from starlette.types import ASGIApp, Message, Scope

_KEEP_ALIVE: Final = 75.0  # seconds; longer than a scrape interval
_HEAD_TIMEOUT: Final = (
    3.0  # seconds; well below a scrape interval, so that slow heads give their place up before the next one
)
_MAX_HEAD: Final = 65536  # bytes of a request line and its headers
_READ: Final = 65536  # bytes
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}

_log = logging.getLogger("postward")


class Connection:
    """Serves the requests of one client, one after the other.

    Args:
        app: the ASGI application.
        reader: bytes from the client.
        writer: bytes to the client.
        timeout: seconds for a request and its answer.
    """

    def __init__(
        self, app: ASGIApp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float
    ) -> None:
        self._app = app
        self._reader = reader
        self._writer = writer
        self._timeout = timeout
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self._resting = False
        self._retiring = False
        self.waiting = True  # for a request, or for the rest of its head
        self.since = 0.0  # when this last changed, in seconds of the loop's clock
        self._has_body = True  # the answer
        # Through the Unix socket, whose mode says who may connect.
        self._is_local = writer.get_extra_info("socket").family == socket.AF_UNIX
        # drain() waits until the client has taken everything. With high=0, a TLS transport would pause an empty buffer.
        writer.transport.set_write_buffer_limits(high=1, low=0)

    async def serve(self) -> None:
        """Answer requests until the client leaves or this is retired.

        Raises:
            TimeoutError: the client is too slow.
            OSError: the connection broke.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._exchange()
            while not self._retiring and await self._has_more():
                async with asyncio.timeout(self._timeout):
                    await self._exchange()
        except h11.RemoteProtocolError as error:
            async with asyncio.timeout(self._timeout):
                await self._refuse(error.error_status_hint)

    def retire(self) -> None:
        """Close the connection after the request under way, or after the first one; at once if it rests."""
        self._retiring = True
        if self._resting:
            self._writer.close()

    async def _has_more(self) -> bool:
        """Wait for the next request. Return False if there is none."""
        while isinstance(self._http.next_event(), h11.Data):
            pass  # of a body that the application did not read
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        if self._http.trailing_data[0]:
            return True
        self._resting = True
        self._note_waiting(True)
        try:
            async with asyncio.timeout(_KEEP_ALIVE):
                data = await self._reader.read(_READ)
        except TimeoutError:
            return False
        finally:
            self._resting = False
        self._http.receive_data(data)
        return bool(data)

    def _note_waiting(self, waiting: bool) -> None:
        self.waiting, self.since = waiting, asyncio.get_running_loop().time()

    async def _exchange(self) -> None:
        """Read a request and have it answered."""
        async with asyncio.timeout(min(_HEAD_TIMEOUT, self._timeout)):
            request = await self._next_event()
        self._note_waiting(False)
        if not isinstance(request, h11.Request):
            return  # the client left
        self._has_body = request.method != b"HEAD"
        try:
            await self._app(self._scope(request), self._receive, self._send)
        except (OSError, h11.RemoteProtocolError):
            raise  # of the client
        except Exception:
            _log.exception("web: no answer to %s", request.target.decode())
        _log.debug("web: %s %s", request.method.decode(), request.target.partition(b"?")[0].decode())
        if self._http.our_state is h11.SEND_RESPONSE:
            await self._refuse(500)

    async def _next_event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._reader.read(_READ))
        return event

    def _scope(self, request: h11.Request) -> Scope:
        path, _, query = request.target.partition(b"?")
        tls = self._writer.get_extra_info("ssl_object") is not None
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "https" if tls else "http",
            "path": unquote(path.decode()),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": None if self._is_local else self._writer.get_extra_info("peername")[:2],
            "server": None if self._is_local else self._writer.get_extra_info("sockname")[:2],
            "state": {
                "certificate": self._writer.get_extra_info("peercert"),
                "is_local": self._is_local,
            },
        }

    async def _receive(self) -> Message:
        if self._http.their_state is h11.SEND_BODY:
            try:
                event = await self._next_event()
            except h11.RemoteProtocolError as error:
                # The application would answer by 500, as if the fault were its own.
                await self._refuse(error.error_status_hint)
                raise
            if isinstance(event, h11.Data):
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            if isinstance(event, h11.EndOfMessage):
                return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._http.their_state is h11.ERROR:
            return  # the request was refused
        if message["type"] == "http.response.start":
            await self._write(self._head(message["status"], message["headers"]))
            return
        if self._has_body and message.get("body"):
            await self._write(h11.Data(data=message["body"]))
        if not message.get("more_body"):
            await self._write(h11.EndOfMessage())

    def _head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> h11.Response:
        more = [(b"date", formatdate(usegmt=True).encode())]
        if self._retiring:
            more.append((b"connection", b"close"))
        return h11.Response(status_code=status, reason=_REASONS.get(status, b""), headers=[*headers, *more])

    async def _refuse(self, status: int) -> None:
        """Answer without the application, and close."""
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._retiring = True
            await self._write(self._head(status, [(b"content-length", b"0")]))
            await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._writer.write(data)
            await self._writer.drain()

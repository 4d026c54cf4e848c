"""Connections to the endpoint: accepted one by one in the agent's loop, encrypted as the web configuration says now.

Promise: slow and hostile clients cost the log reading nothing. There are never more than `_MOST` connections, so that
descriptors remain for logs; one more is closed at once. A connection that has not brought a whole request within
`_TIMEOUT` seconds, or does not take its answer in that time, is cut off; so is a TLS handshake. Who has come in before
the end is answered, if that takes no longer than `_DRAIN_TIMEOUT`: other settings are no reason to miss a scrape.

How it fails: an address that cannot be bound is an OSError on construction. When descriptors run out, accepting
pauses and goes on.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from postward.agent.http.web_config import WebAccess
from postward.config.fields import split_address

_MOST = 64
_TIMEOUT = 10.0  # seconds
_DRAIN_TIMEOUT = 1.0  # seconds
_POLL_INTERVAL = 0.01  # seconds
_KEEP_ALIVE = 75  # seconds; longer than a scrape interval
_PAUSE = 1.0  # seconds until accepting is tried again

_log = logging.getLogger("postward")
# A stranger who speaks no HTTP must not fill the journal.
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def listen(address: str) -> socket.socket:
    """A socket that listens on `host:port` or `[v6]:port`. Raises OSError."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(128)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class Listeners:
    """The sockets that listen, by address. They outlive a server: who calls between two of them waits, and is not refused."""

    def __init__(self) -> None:
        self._kept: dict[str, socket.socket] = {}

    def take(self, addresses: Sequence[str]) -> list[socket.socket]:
        """Sockets for a server to close, on these addresses; what listened elsewhere is let go.

        Raises:
            OSError: an address cannot be listened on; its `filename` is the address, and all is as it was.
        """
        new: dict[str, socket.socket] = {}
        for address in addresses:
            try:
                new[address] = self._kept.get(address) or listen(address)
            except OSError as error:
                for added in new.keys() - self._kept.keys():
                    new[added].close()
                raise OSError(error.errno, error.strerror, address) from error
        for gone in self._kept.keys() - new.keys():
            self._kept[gone].close()
        self._kept = new
        return [listener.dup() for listener in new.values()]


class _Connection(H11Protocol):
    """uvicorn's protocol with a deadline for each request and for each answer."""

    _deadline: asyncio.TimerHandle | None = None
    _between_requests = False
    _retiring = False
    server_of: "HttpServer"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type] # uvicorn narrows it
        certificate = transport.get_extra_info("peercert")
        self.app_state = {"certificate": certificate}
        self._expect()

    def data_received(self, data: bytes) -> None:
        if self._between_requests:
            self._between_requests = False
            self._expect()
        super().data_received(data)
        if self._retiring:
            self._say_goodbye()

    def retire(self) -> None:
        """Answer the request that is under way, or the first one, then close."""
        self._retiring = True
        if self._between_requests:
            self.transport.close()
        else:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.cycle.response_complete:  # the next request had been sent along with this one
            self._expect()
            return
        self._between_requests = True
        # What the client has not taken yet is still waited for; after that, uvicorn's keep-alive counts.
        if not self.transport.get_write_buffer_size():
            self._relax()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._relax()
        self._deadline = self.loop.call_later(_TIMEOUT, self._cut)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut(self) -> None:
        self._deadline = None
        done = self.cycle is not None and self.cycle.response_complete
        if done and not self.transport.get_write_buffer_size():
            return
        self.server_of.refused += 1
        self.transport.abort()


class HttpServer:
    """Serves an application on several addresses.

    Args:
        app: what answers.
        listeners: sockets that listen; they are closed at the end.
        access: how connections are encrypted.

    Attributes:
        refused: connections that were closed because there were too many, or that were too slow.
    """

    def __init__(self, app: Starlette, listeners: Sequence[socket.socket], access: WebAccess) -> None:
        self._listeners = listeners
        self._access = access
        self._config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        self._config.load()
        self._state = ServerState()
        self._opening: set[asyncio.Task[None]] = set()
        self.refused = 0

    async def serve(self) -> None:
        """Serve until cancelled."""
        try:
            for listener in self._listeners:
                self._listen(listener)
            await asyncio.get_running_loop().create_future()
        finally:
            await self._close()

    def _listen(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            # Not sock_accept(): cancelled at the wrong moment, it loses a connection that has been accepted.
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # the client is gone already, or another loop has it
        except OSError as error:  # descriptors ran out
            _log.error("web.listen: no connection could be accepted: %s", error.strerror)
            loop.remove_reader(listener)
            loop.call_later(_PAUSE, self._listen, listener)
            return
        accepted.setblocking(False)
        if len(self._state.connections) + len(self._opening) >= _MOST:
            self.refused += 1
            accepted.close()
            return
        task = loop.create_task(self._open(accepted))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket) -> None:
        context = self._access.context()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connection,
                accepted,
                ssl=context,
                **({"ssl_handshake_timeout": _TIMEOUT, "ssl_shutdown_timeout": 1.0} if context else {}),
            )
        except (OSError, ssl.SSLError):
            # A client that speaks no TLS, has no certificate, or is gone: its affair.
            self.refused += 1
            accepted.close()

    def _connection(self) -> asyncio.Protocol:
        connection = _Connection(self._config, self._state, {})
        connection.server_of = self
        return connection

    async def _close(self) -> None:
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        end = time.monotonic() + _DRAIN_TIMEOUT
        while (self._opening or self._state.connections) and time.monotonic() < end:
            for connection in list(self._state.connections):
                if isinstance(connection, _Connection):
                    connection.retire()
            await asyncio.sleep(_POLL_INTERVAL)
        for task in self._opening:
            task.cancel()
        for connection in list(self._state.connections):
            transport: Any = connection.transport
            with contextlib.suppress(RuntimeError):
                transport.abort()

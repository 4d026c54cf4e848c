"""Accept connections to the endpoint, encrypted as the web configuration says at that moment.

Promise: slow and hostile clients do not delay the reading of the log, and do not keep others out. At most 64 connections are
open, 16 from one address other than this host's, so that file descriptors remain for logs. When all places are taken, the
connection gives way that has waited longest for a request, of the address that has most; then the one that has taken
longest to read its answer. A connection that brings no whole request within `_TIMEOUT` seconds, or does not take its answer
in that time, is aborted; so is a TLS handshake. At the end, accepted connections get `_DRAIN_TIMEOUT` seconds to be answered,
so a reload of the settings does not drop a scrape.

How it fails: an address that cannot be bound raises OSError on construction. When descriptors run out, accepting
pauses and goes on.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp

from postward.agent.fsutil import owner_in
from postward.agent.http.connection import Connection
from postward.config.fields import split_address

_MAX_CONNECTIONS: Final = 64
_MAX_PER_ADDRESS: Final = 16
_MIN_WRITE: Final = 1.0  # seconds that an answer gets, however little room there is
_TIMEOUT: Final = 10.0  # seconds
_DRAIN_TIMEOUT: Final = 1.0  # seconds
_SHUTDOWN_TIMEOUT: Final = 1.0  # seconds for the end of a TLS session
_PAUSE: Final = 1.0  # seconds until accepting is tried again

_log = logging.getLogger("postward")


def listen(address: str) -> socket.socket:
    """Return a socket that listens on `host:port`, `[v6]:port` or the path of a Unix socket. Raises OSError."""
    if address.startswith("/"):
        return _listen_locally(Path(address))
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


def _listen_locally(path: Path) -> socket.socket:
    """Return a socket for root, and for the user and the group of this process."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # An address has at most 107 bytes; a path through the descriptor is shorter.
        name = f"/proc/self/fd/{folder}/{path.name}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=folder)
        listener.bind(name)
        Path(name).chmod(0o660)
        if owner := owner_in(path.parent):  # after `postward run` by root, it belongs to the service
            os.chown(name, *owner, follow_symlinks=False)
        listener.listen(16)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener


@dataclass(slots=True)
class _Client:
    """A connection that was accepted.

    Attributes:
        address: of the client, an IPv6 one by its /64; "" for one of this host.
        accepted: when, in seconds of the loop's clock.
        task: converses with it.
        connection: None during the TLS handshake.
    """

    address: str
    accepted: float
    task: asyncio.Task[None]
    connection: Connection | None = None

    @property
    def since(self) -> float:
        """When it was accepted, began to rest, or sent its request."""
        return max(self.accepted, self.connection.since if self.connection else 0.0)


class Listeners:
    """Listening sockets by address. They outlive a server: connections made between two servers wait in the queue."""

    def __init__(self) -> None:
        self._kept: dict[str, socket.socket] = {}

    def take(self, addresses: Sequence[str]) -> list[socket.socket]:
        """Return sockets on these addresses for a server to close, and stop listening on other addresses.

        Raises:
            OSError: an address cannot be bound; `filename` is the address, and nothing has changed.
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


class HttpServer:
    """Serves an application on several addresses.

    Args:
        app: the ASGI application.
        listeners: listening sockets; they are closed at the end.
        tls: returns the TLS context for the next connection; None for plain HTTP.
        timeout: seconds for a TLS handshake, and for a request and its answer.
        drain_timeout: seconds that accepted connections get at the end.
        max_connections: open at the same time.

    Attributes:
        refused: connections closed because there were too many, they were too slow, or their TLS handshake failed.
    """

    def __init__(
        self,
        app: ASGIApp,
        listeners: Sequence[socket.socket],
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
        *,
        timeout: float = _TIMEOUT,
        drain_timeout: float = _DRAIN_TIMEOUT,
        max_connections: int = _MAX_CONNECTIONS,
    ) -> None:
        self._app = app
        self._listeners = listeners
        self._tls = tls
        self._timeout = timeout
        self._drain_timeout = drain_timeout
        self._max_connections = min(max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._clients: dict[asyncio.Task[None], _Client] = {}
        self._draining = False
        self.refused = 0

    @property
    def open(self) -> int:
        """The number of open connections."""
        return len(self._clients)

    async def serve(self) -> None:
        """Serve until cancelled."""
        try:
            for listener in self._listeners:
                self._listen(listener)
            await asyncio.get_running_loop().create_future()
        finally:
            await self._drain()

    def _listen(self, listener: socket.socket) -> None:
        if not self._draining:
            # Not sock_accept(): cancelled at the wrong moment, it loses an accepted connection.
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            accepted, peer = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # the client is gone, or another process accepted it
        except OSError as error:  # descriptors ran out
            _log.error("web.listen: cannot accept a connection: %s", error.strerror)
            loop.remove_reader(listener)
            loop.call_later(_PAUSE, self._listen, listener)
            return
        accepted.setblocking(False)
        address = group_of(peer)
        if not self._has_room(address):
            self.refused += 1
            accepted.close()
            return
        task = loop.create_task(self._converse(accepted))
        self._clients[task] = _Client(address, loop.time(), task)
        task.add_done_callback(self._clients.pop)

    def _has_room(self, address: str) -> bool:
        """Make room for one more client of this address. Return False if all who are here are being answered."""
        own = [client for client in self._clients.values() if client.address == address]
        if address and len(own) >= _MAX_PER_ADDRESS:
            return self._give_way(own)
        return self.open < self._max_connections or self._give_way(list(self._clients.values()))

    def _give_way(self, clients: Sequence[_Client]) -> bool:
        """End the connection of one of these clients, oldest first. Return False if none may be ended."""
        now, numbers = asyncio.get_running_loop().time(), Counter(client.address for client in clients)
        here = [client for client in clients if not client.task.cancelling()]
        waiting = [client for client in here if client.connection is None or client.connection.waiting]
        slow = [client for client in here if now - client.since > _MIN_WRITE]
        for candidates in (waiting, slow):
            if candidates:
                victim = max(candidates, key=lambda client: (numbers[client.address], -client.since))
                self.refused += 1
                victim.task.cancel()
                return True
        return False

    async def _converse(self, accepted: socket.socket) -> None:
        try:
            reader, writer = await self._open(accepted)
        except OSError:  # ssl.SSLError is one: no TLS, no certificate, or the client is gone
            self.refused += 1
            accepted.close()
            return
        except asyncio.CancelledError:
            accepted.close()
            raise
        connection = Connection(self._app, reader, writer, self._timeout)
        if task := asyncio.current_task():
            self._clients[task].connection = connection
        if self._draining:
            connection.retire()
        try:
            await connection.serve()
            writer.close()
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT):
                await writer.wait_closed()
        except TimeoutError:
            self.refused += 1
        except OSError:
            pass  # the client broke the connection
        finally:
            writer.transport.abort()

    async def _open(self, accepted: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Take over an accepted socket, after its TLS handshake if there is one. Raises OSError."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        if accepted.family != socket.AF_UNIX and (context := self._tls()):
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=context,
                ssl_handshake_timeout=self._timeout,
                ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT,
            )
        else:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _drain(self) -> None:
        """Stop accepting, let accepted connections finish, and abort the rest."""
        self._draining = True
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        for client in self._clients.values():
            if client.connection is not None:
                client.connection.retire()
        if self._clients:
            _, late = await asyncio.wait(set(self._clients), timeout=self._drain_timeout)
            for task in late:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*late, return_exceptions=True)


def group_of(peer: object) -> str:
    """Return the part of a client's address whose owner may hold all of it; "" for this host."""
    try:
        address = ipaddress.ip_address(peer[0].partition("%")[0]) if isinstance(peer, tuple) else None
    except ValueError:
        return str(peer)
    if address is None or address.is_loopback:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and (mapped := address.ipv4_mapped) is not None:
        address = mapped
    return str(address if address.version == 4 else ipaddress.ip_network((int(address) >> 64 << 64, 64)))

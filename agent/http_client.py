"""An HTTP client for small questions: one request, one bounded answer, one deadline for the whole exchange.

Promise: an exchange ends within its deadline, however slowly the server sends; only the look-up of the name can take
longer, as long as the host's resolver allows. An answer is bounded. Redirects are not followed: a request goes where
the settings say. No error text contains the URL, which may hold a secret.

How it fails: HttpError, an OSError, says why in one line.
"""

import contextlib
import errno
import http.client
import os
import socket
import ssl
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from postward.parsers.scrub import printable

MAX_ANSWER = 1 << 20  # bytes
_MAX_REASON = 200  # characters; a server can choose some of them
_MAX_CONTEXT_AGE = 3600.0  # seconds


class HttpError(OSError):
    """No usable answer; the text says why, without the URL.

    Attributes:
        status: the status code, if the server answered with one.
        body: the beginning of the answer, if there is one.
    """

    def __init__(self, reason: str, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(reason)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer with a status of 2xx."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Local:
    """A Unix socket, and the users whose process may listen on it."""

    path: Path
    owners: frozenset[int]

    def connect(self, timeout: float) -> socket.socket:
        """Return a connection. Raises OSError, also if another user listens."""
        folder = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            # An address has at most 107 bytes; a path through the descriptor is shorter.
            connection.connect(f"/proc/self/fd/{folder}/{self.path.name}")
            _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if user not in self.owners:
                raise PermissionError(errno.EPERM, "another user listens there", str(self.path))
        except OSError:
            connection.close()
            raise
        finally:
            os.close(folder)
        return connection


def request(
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] = {},
    *,
    method: str | None = None,
    deadline: float,
    max_bytes: int = MAX_ANSWER,
    proxies: bool = True,
    local: Local | None = None,
) -> Answer:
    """GET a URL, or POST a body to it. Blocks; call it in a thread from asyncio.

    Args:
        url: http or https.
        body: the content to POST; None: GET.
        headers: the request's header fields.
        method: another method than POST or GET.
        deadline: seconds for the whole exchange.
        max_bytes: the largest answer that is accepted.
        proxies: use the environment's proxies (`http_proxy`, `https_proxy`, `no_proxy`).
        local: a Unix socket to connect to, in the place of the URL's host.

    Raises:
        HttpError: no answer in time, an answer that is too large, or a status other than 2xx.
        ValueError: the URL cannot be parsed.
    """
    limit = _Deadline(deadline)
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect(), _Handler(limit, local)]
    if not proxies or local is not None:
        handlers.append(urllib.request.ProxyHandler({}))
    question = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310 -- the settings allow http and https only
    try:
        with limit, _open(handlers, question, deadline) as answer:
            content: bytes = answer.read(max_bytes + 1)
            missing = getattr(answer, "length", 0) or 0
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise HttpError(_reason(error, limit)) from None
    if limit.expired:
        raise HttpError(_reason(TimeoutError(), limit))
    if not 200 <= answer.status < 300:
        raise HttpError(f"answered {answer.status}", answer.status, content[:max_bytes])
    if len(content) > max_bytes:
        raise HttpError(f"the answer has more than {max_bytes} bytes")
    if missing:
        raise HttpError(f"the answer ends {missing} bytes early")
    return Answer(answer.status, content)


def _open(
    handlers: list[urllib.request.BaseHandler], question: urllib.request.Request, deadline: float
) -> Any:
    """Return the server's answer, whatever its status."""
    try:
        return urllib.request.build_opener(*handlers).open(question, timeout=deadline)
    except urllib.error.HTTPError as error:
        return error


def _reason(error: Exception, limit: "_Deadline") -> str:
    cause = getattr(error, "reason", error)
    if limit.expired or isinstance(cause, TimeoutError):
        return f"no answer within {limit.seconds:g} s"
    text = str(getattr(cause, "strerror", None) or cause).strip() or type(error).__name__
    return printable(text[:_MAX_REASON])


class _Deadline:
    """Shuts the exchange's connection down when its time is up: a socket's own timeout begins again at each byte."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._connection: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._connection is not None:
            self._connection.close()

    def watch(self, connection: socket.socket) -> None:
        """Take a connection. A duplicate is kept, as TLS takes the descriptor out of the socket."""
        self._connection = connection.dup()
        if self.expired:
            self._expire()

    def _expire(self) -> None:
        self.expired = True
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


class _Connection(http.client.HTTPConnection):
    deadline: _Deadline
    local: Local | None = None

    def connect(self) -> None:
        if self.local is None:
            super().connect()
        else:
            self.sock = self.local.connect(self.deadline.seconds)
        self.deadline.watch(self.sock)


class _TlsConnection(http.client.HTTPSConnection, _Connection):
    """Connects as `_Connection`, then encrypts: the deadline holds for the handshake too."""


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline, local: Local | None) -> None:
        # HTTPSHandler.__init__ loads the authorities at each call, since Python 3.12.
        urllib.request.AbstractHTTPHandler.__init__(self)
        self._deadline = deadline
        self._local = local

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._connection(_Connection), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        context = _context(time.monotonic() // _MAX_CONTEXT_AGE)
        return self.do_open(self._connection(_TlsConnection), req, context=context)

    def _connection(self, kind: type[_Connection]) -> Any:
        def make(host: str, **arguments: Any) -> _Connection:
            connection = kind(host, **arguments)
            connection.deadline, connection.local = self._deadline, self._local
            return connection

        return make


@lru_cache(maxsize=1)
def _context(_age: float) -> ssl.SSLContext:
    """Load the host's authorities, which takes longer than a request: once an hour."""
    return ssl.create_default_context()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def http_error_302(self, *_: Any, **__: Any) -> None:
        """Follow no redirect, and do not parse where it leads."""

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

"""Access to the endpoint: login, client certificate, rate limit and headers, as the web.config file says.

`WebAccess` holds the configuration in force and re-reads its files when they change, so a renewed certificate needs no
restart. A file that cannot be used is logged once, and the former configuration stays in force.

Logins are checked before anything else is looked at, except at /-/healthy and /-/ready: these show nothing of the host, and
supervisors ask without a login.
"""

import asyncio
import base64
import binascii
import hmac
import logging
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import bcrypt
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postward.agent.fsutil import stat_identity
from postward.agent.http.web_config import TlsServer, WebConfig, WebConfigError, parse_web_config
from postward.agent.parts import Problem

# A file that is changed and changed back within this time is not noticed; a renewal takes longer.
_POLL_INTERVAL: Final = 1.0  # seconds
_MAX_LOGINS: Final = 64
_MAX_PASSWORD: Final = 72  # bytes; bcrypt(3) looks at no more
_OPEN_PATHS: Final = frozenset({"/-/healthy", "/-/ready"})

_log = logging.getLogger("postward")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A configuration with what belongs to it.

    Attributes:
        context: for TLS; None for plain HTTP.
        identity: of its files when they were read.
        logins: accepted logins, whose bcrypt is not computed again. Changed by one thread at a time (the
            middleware's lock); another configuration begins with none.
    """

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None
    identity: object = None
    logins: OrderedDict[bytes, None] = field(default_factory=OrderedDict)


class WebAccess:
    """The web.config file in force.

    Args:
        path: the file; None: plain HTTP without login.
        clock: monotonic seconds.

    Attributes:
        loaded_at: when it was last read without error, in seconds since 1970.

    Raises:
        WebConfigError: on construction, if the file cannot be used.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._polled = self._asked = clock()
        self._loaded = _load(path) if path is not None else _Loaded()
        self._allowance = float(self.config.burst)
        self._problem = Problem(_log, "web.config_file: the former configuration stays in force")
        self.loaded_at = time.time()

    @property
    def config(self) -> WebConfig:
        """The configuration in force."""
        return self._loaded.config

    @property
    def problem(self) -> str | None:
        """Why the file is not in force as it is now; None if it is."""
        return self._problem.text

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context for the next connection; None for plain HTTP."""
        self.poll()
        return self._loaded.context

    def poll(self, *, now: bool = False) -> None:
        """Re-read the files if they changed, at most once a second unless `now`."""
        if self._path is None or (not now and self._clock() - self._polled < _POLL_INTERVAL):
            return
        self._polled = self._clock()
        if self.problem is None and _identity(self._path, self.config.tls) == self._loaded.identity:
            return
        try:
            self._loaded = _load(self._path)
        except WebConfigError as error:
            self._problem.note(str(error))
            return
        self._problem.note(None)
        self.loaded_at = time.time()
        _log.info("web.config_file: %s was read again", self._path)

    def accepts_login(self, authorization: str) -> bool:
        """Return whether a request with this Authorization header may be answered. Slow: it may compute bcrypt."""
        loaded = self._loaded
        if not loaded.config.users:
            return True
        scheme, _, encoded = authorization.partition(" ")
        try:
            name, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        if scheme.lower() != "basic" or len(password) > _MAX_PASSWORD:
            return False
        return _is_password_of(loaded, name.decode(errors="replace"), password)

    def within_rate(self) -> bool:
        """Return whether one more request keeps to `rate_limit` (a token bucket), and count it."""
        interval, burst = self.config.interval, max(1, self.config.burst)
        if not interval:
            return True
        now = self._clock()
        self._allowance = min(float(burst), self._allowance + (now - self._asked) / interval)
        self._asked = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def accepts_certificate(self, certificate: Mapping[str, Any] | None) -> bool:
        """Return whether a client certificate has an allowed name, or none is required."""
        tls = self.config.tls
        if tls is None or not tls.allowed_sans:
            return True
        names = {value for _, value in (certificate or {}).get("subjectAltName", ())}
        return bool(names & set(tls.allowed_sans))


def _is_password_of(loaded: _Loaded, name: str, password: bytes) -> bool:
    users = loaded.config.users
    # A name that does not exist takes as long as one that does.
    hashed = users.get(name, next(iter(users.values())))
    key = hmac.digest(hashed.encode(), name.encode() + b"\0" + password, "sha256")
    if key in loaded.logins:
        return True
    accepted = bcrypt.checkpw(password, hashed.encode()) and name in users
    if accepted:
        loaded.logins[key] = None
        if len(loaded.logins) > _MAX_LOGINS:
            loaded.logins.popitem(last=False)
    return accepted


def _load(path: Path) -> _Loaded:
    """Read the file and those that it names. Raises WebConfigError."""
    try:
        config = parse_web_config(path.read_text(encoding="utf-8"), path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise WebConfigError(f"{path}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}") from None
    except WebConfigError as error:
        raise WebConfigError(f"{path}: {error}") from None
    identity = _identity(path, config.tls)
    try:
        return _Loaded(config, _context(config.tls) if config.tls else None, identity)
    except OSError as error:
        files = ", ".join(map(str, config.tls.files)) if config.tls else ""
        raise WebConfigError(f"{path}: tls_server_config: {error.strerror or error} ({files})") from None


def _context(tls: TlsServer) -> ssl.SSLContext:
    """Read certificate and key. Raises OSError (ssl.SSLError is one)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = tls.min_version, tls.max_version
    context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.client_ca_file is not None:
        context.load_verify_locations(tls.client_ca_file)
    context.verify_mode = tls.client_auth
    return context


def _identity(path: Path, tls: TlsServer | None) -> object:
    """Return values that change whenever one of the files does."""
    return tuple(stat_identity(file) for file in (path, *(tls.files if tls else ())))


class AccessMiddleware:
    """Refuses requests that `WebAccess` does not allow, and adds its headers to the others."""

    def __init__(self, app: ASGIApp, access: WebAccess) -> None:
        self._app = app
        self._access = access
        # bcrypt is slow on purpose: it runs in a thread, one at a time, so that guessing takes one core at most.
        self._one_login = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let the application answer it."""
        headers = [
            (name.lower().encode(), text.encode()) for name, text in self._access.config.headers.items()
        ]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        refusal = None if scope["path"] in _OPEN_PATHS else await self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope) -> Response | None:
        if not self._access.within_rate():
            return PlainTextResponse("too many requests\n", 429)
        if not self._access.accepts_certificate(scope["state"].get("certificate")):
            return PlainTextResponse("the client certificate's name is not allowed here\n", 403)
        if not self._access.config.users:
            return None
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        async with self._one_login:
            accepted = await asyncio.to_thread(self._access.accepts_login, authorization)
        if accepted:
            return None
        return PlainTextResponse("a login is required\n", 401, {"WWW-Authenticate": "Basic"})

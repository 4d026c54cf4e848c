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

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from postward.agent.fsutil import stat_identity
from postward.agent.http.web_config import TlsServer, WebConfig, WebConfigError, parse_web_config
from postward.agent.parts import Problem
from postward.agent.stored import read_regular

# A file that is changed and changed back within this time is not noticed; a renewal takes longer.
_POLL_INTERVAL: Final = 1.0  # seconds
_MAX_LOGINS: Final = 64
_MAX_PASSWORD: Final = 72  # bytes; bcrypt(3) looks at no more
_MAX_FILE: Final = 1 << 20  # bytes
_MAX_GUESSES: Final = 4  # logins that wait for their turn
_FREE: Final = 3  # wrong logins of an address before it has to wait; one second, then twice as long each time
_LONGEST_PAUSE: Final = (
    8.0  # seconds: a right login from the same address gets its turn within one scrape interval
)
_MAX_ADDRESSES: Final = 1000
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

    def knows_login(self, authorization: str) -> bool:
        """Return whether a login with this Authorization header was accepted before, or none is required. Quick."""
        loaded = self._loaded
        login = _login_in(authorization)
        return not loaded.config.users or (login is not None and _key(loaded, *login) in loaded.logins)

    def accepts_login(self, authorization: str) -> bool:
        """Return whether a request with this Authorization header may be answered. Slow: it may compute bcrypt."""
        loaded = self._loaded
        if self.knows_login(authorization):
            return True
        login = _login_in(authorization)
        return login is not None and _is_password_of(loaded, *login)

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


def _login_in(authorization: str) -> tuple[str, bytes] | None:
    """Return name and password of an Authorization header; None if it cannot be right."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        name, _, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    if scheme.lower() != "basic" or len(password) > _MAX_PASSWORD:
        return None
    return name.decode(errors="replace"), password


def _key(loaded: _Loaded, name: str, password: bytes) -> bytes:
    hashed = _hash_of(loaded, name)
    return hmac.digest(hashed.encode(), name.encode() + b"\0" + password, "sha256")


def _hash_of(loaded: _Loaded, name: str) -> str:
    """Return the hash of a user; of another one if the name does not exist, so that it takes as long."""
    users = loaded.config.users
    return users.get(name, next(iter(users.values())))


def _is_password_of(loaded: _Loaded, name: str, password: bytes) -> bool:
    import bcrypt  # as PyYAML in web_config.py

    accepted = bcrypt.checkpw(password, _hash_of(loaded, name).encode()) and name in loaded.config.users
    if accepted:
        loaded.logins[_key(loaded, name, password)] = None
        if len(loaded.logins) > _MAX_LOGINS:
            loaded.logins.popitem(last=False)
    return accepted


class Guesses:
    """The turns of logins that are not known yet: bcrypt is slow on purpose, and guessing must not take more than its share.

    One login is computed at a time, at most `_MAX_GUESSES` wait for it, and one of each address. After a few wrong ones an
    address waits, longer each time.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._one = asyncio.Lock()
        self._waiting: set[str] = set()
        self._refused: OrderedDict[str, tuple[float, int]] = (
            OrderedDict()
        )  # address → when it may try, wrong logins

    async def check(self, address: str, accepts: Callable[[], bool]) -> bool | None:
        """Return whether a login is accepted; None if its address has no turn now."""
        until, number = self._refused.get(address, (0.0, 0))
        if self._clock() < until or address in self._waiting or len(self._waiting) >= _MAX_GUESSES:
            return None
        self._waiting.add(address)
        try:
            async with self._one:
                accepted = await asyncio.to_thread(accepts)
        finally:
            self._waiting.discard(address)
        self._refused.pop(address, None)
        if not accepted:
            pause = min(2.0 ** (number - _FREE), _LONGEST_PAUSE) if number >= _FREE else 0.0
            self._refused[address] = self._clock() + pause, min(number + 1, 100)
            if len(self._refused) > _MAX_ADDRESSES:
                self._refused.popitem(last=False)
        return accepted


def _load(path: Path) -> _Loaded:
    """Read the file and those that it names. Raises WebConfigError."""
    try:
        config = parse_web_config(read_regular(path, _MAX_FILE).decode(), path.parent)
    except (OSError, ValueError) as error:
        text = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise WebConfigError(f"{path}: {getattr(error, 'strerror', None) or text}") from None
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
    """Refuses requests that `WebAccess` does not allow, and names that are not this host's.

    A page of another site can have its name lead to this host (DNS rebinding), so that a browser here reads the answer for
    it. Its requests still have that name. Requests through the Unix socket have been allowed by its mode.

    Args:
        app: the application.
        access: who may send requests.
        is_own_name: returns whether a name in a Host header is this host's.
    """

    def __init__(self, app: ASGIApp, access: WebAccess, is_own_name: Callable[[str], bool]) -> None:
        self._app = app
        self._access = access
        self._is_own_name = is_own_name
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or let the application answer it."""
        is_open = scope["path"] in _OPEN_PATHS or scope["state"].get("is_local", False)
        refusal = None if is_open else await self._refusal(scope)
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not self._access.within_rate():
            return PlainTextResponse("too many requests\n", 429)
        if not self._access.accepts_certificate(scope["state"].get("certificate")):
            return PlainTextResponse("the client certificate's name is not allowed here\n", 403)
        if scope["path"] != "/metrics" and not self._is_own_name(headers.get(b"host", "")):
            return PlainTextResponse("this is not a name of this host; add it to web.hosts\n", 421)
        authorization = headers.get(b"authorization", "")
        if self._access.knows_login(authorization):
            return None
        if _login_in(authorization) is None:
            return _login_required()
        address = (scope["client"] or ("",))[0]
        accepted = await self._guesses.check(address, lambda: self._access.accepts_login(authorization))
        if accepted:
            return None
        if accepted is None:
            return PlainTextResponse("too many logins; try again later\n", 429, {"Retry-After": "5"})
        return _login_required()


def _login_required() -> Response:
    return PlainTextResponse("a login is required\n", 401, {"WWW-Authenticate": "Basic"})

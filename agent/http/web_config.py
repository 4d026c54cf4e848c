"""The exporter-toolkit's web.config file: TLS, client certificates, basic auth, headers and a rate limit for the endpoint.

`parse_web_config` takes the file's text. Every key of the format is known: what is not supported here (HTTP/2, cipher
lists by Go's names) is refused by name rather than passed over, because the file is about who may come in.

`WebAccess` keeps what is in force and looks at the files again when they change: certificates are renewed under a
running agent. A file that became bad is told, and what was in force stays.
"""

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
import yaml

_CLIENT_AUTH: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_OPTIONAL,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAnyClientCert": ssl.CERT_REQUIRED,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
# The headers that the exporter-toolkit allows.
_HEADERS: Final = frozenset(
    {
        "Strict-Transport-Security",
        "X-Frame-Options",
        "X-Content-Type-Options",
        "X-XSS-Protection",
        "Content-Security-Policy",
    }
)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# A file that is changed back within this time is not seen; a renewal takes longer.
_LOOK_AGAIN: Final = 1.0  # seconds
_MAX_REMEMBERED: Final = 64  # logins whose bcrypt, which is slow on purpose, is not computed again

_log = logging.getLogger("postward")


class WebConfigError(Exception):
    """The file cannot be used; the text says which key, and what would be right."""


@dataclass(frozen=True, slots=True)
class TlsServer:
    """`tls_server_config`."""

    cert_file: Path
    key_file: Path
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    client_ca_file: Path | None = None
    allowed_sans: tuple[str, ...] = ()
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3

    @property
    def files(self) -> tuple[Path, ...]:
        """What must be read for it."""
        return (self.cert_file, self.key_file, *([self.client_ca_file] if self.client_ca_file else []))

    def context(self) -> ssl.SSLContext:
        """What a connection is encrypted with. Raises OSError (ssl.SSLError is one)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version, context.maximum_version = self.min_version, self.max_version
        context.load_cert_chain(self.cert_file, self.key_file)
        if self.client_ca_file is not None:
            context.load_verify_locations(self.client_ca_file)
        context.verify_mode = self.client_auth
        return context


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The whole file. `users` maps names to bcrypt hashes; `interval` is seconds between two requests."""

    tls: TlsServer | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    interval: float = 0.0
    burst: int = 0


def parse_web_config(text: str, folder: Path) -> WebConfig:
    """The text of a file that stands in `folder`, to which relative paths refer. Raises WebConfigError."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise WebConfigError(f"is not YAML{where}") from None
    top = _table(
        {} if data is None else data,
        "",
        ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"),
    )
    interval, burst = _rate_limit(top.get("rate_limit"))
    return WebConfig(
        _tls(top.get("tls_server_config"), folder),
        _users(top.get("basic_auth_users")),
        _headers(top.get("http_server_config")),
        interval,
        burst,
    )


def _table(value: Any, key: str, known: tuple[str, ...]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WebConfigError(f"{key or 'the file'}: is no table; write key: value lines")
    for name in value:
        if name not in known:
            raise WebConfigError(
                f"{key}{'.' if key else ''}{name}: is not supported; there are: {', '.join(known)}"
            )
    return value


def _tls(value: Any, folder: Path) -> TlsServer | None:
    key = "tls_server_config"
    known = ("cert_file", "key_file", "client_auth_type", "client_ca_file", "client_allowed_sans", "min_version",
             "max_version", "prefer_server_cipher_suites")  # fmt: skip
    table = _table(value, key, known)
    if not table:
        return None
    missing = [name for name in ("cert_file", "key_file") if not table.get(name)]
    if missing:
        raise WebConfigError(f"{key}.{missing[0]}: is missing; write the file's path")
    mode = _choice(table, key, "client_auth_type", _CLIENT_AUTH, "NoClientCert")
    ca_file = table.get("client_ca_file")
    if mode is not ssl.CERT_NONE and not ca_file:
        raise WebConfigError(f"{key}.client_ca_file: is missing; client certificates are judged by it")
    if mode is ssl.CERT_NONE and ca_file:
        raise WebConfigError(f"{key}.client_auth_type: is missing; write RequireAndVerifyClientCert")
    sans = table.get("client_allowed_sans") or []
    if not isinstance(sans, list) or not all(isinstance(name, str) for name in sans):
        raise WebConfigError(f"{key}.client_allowed_sans: is no list of names")
    return TlsServer(
        folder / str(table["cert_file"]),
        folder / str(table["key_file"]),
        mode,
        folder / str(ca_file) if ca_file else None,
        tuple(sans),
        _choice(table, key, "min_version", _VERSIONS, "TLS12"),
        _choice(table, key, "max_version", _VERSIONS, "TLS13"),
    )


def _choice(table: Mapping[str, Any], key: str, name: str, known: Mapping[str, Any], default: str) -> Any:
    value = table.get(name) or default
    if value not in known:
        raise WebConfigError(f"{key}.{name}: is {str(value)!r}; write one of: {', '.join(known)}")
    return known[value]


def _users(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WebConfigError("basic_auth_users: is no table; write name: bcrypt hash")
    for name, hashed in value.items():
        if (
            not isinstance(hashed, str)
            or not hashed.startswith(("$2a$", "$2b$", "$2y$"))
            or len(hashed) != 60
        ):
            # Never the value: it may be a password.
            raise WebConfigError(
                f'basic_auth_users.{name}: is no bcrypt hash; make one with: htpasswd -nBC 10 ""'
            )
    return {str(name): hashed for name, hashed in value.items()}


def _headers(value: Any) -> dict[str, str]:
    table = _table(value, "http_server_config", ("headers", "http2"))
    if table.get("http2"):
        raise WebConfigError("http_server_config.http2: is not supported; leave it out, or write false")
    headers = table.get("headers") or {}
    if not isinstance(headers, dict):
        raise WebConfigError("http_server_config.headers: is no table; write name: value")
    for name, text in headers.items():
        if name not in _HEADERS:
            raise WebConfigError(
                f"http_server_config.headers.{name}: is not allowed; there are: {', '.join(sorted(_HEADERS))}"
            )
        if not isinstance(text, str) or not text.isprintable() or not text.isascii():
            raise WebConfigError(f"http_server_config.headers.{name}: is no text of one line")
    return dict(headers)


def _rate_limit(value: Any) -> tuple[float, int]:
    table = _table(value, "rate_limit", ("interval", "burst"))
    interval, burst = table.get("interval", 0), table.get("burst", 0)
    seconds = _seconds(interval)
    if seconds is None:
        raise WebConfigError("rate_limit.interval: is no time; write it as in 1s or 100ms")
    if not isinstance(burst, int) or isinstance(burst, bool) or burst < 0:
        raise WebConfigError("rate_limit.burst: is no whole number")
    return seconds, burst


def _seconds(value: Any) -> float | None:
    if value == 0:
        return 0.0
    text = str(value)
    unit = text.lstrip("0123456789.")
    try:
        return float(text.removesuffix(unit)) * _UNITS[unit]
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _InForce:
    config: WebConfig
    context: ssl.SSLContext | None


class WebAccess:
    """Who may come in, as the file says now.

    Args:
        path: the web.config file; None: plain HTTP for everybody.
        clock: monotonic seconds.

    Raises:
        WebConfigError: on construction, when the file cannot be used.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked = clock()
        self._seen: object = None
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._allowance = 0.0
        self._asked = clock()
        self.loaded = True
        self.loaded_at = time.time()
        self._in_force = _InForce(WebConfig(), None)
        if path is not None:
            self._seen = self._state()
            self._in_force = self._read(path)
        self._allowance = float(self._in_force.config.burst)

    @property
    def config(self) -> WebConfig:
        """What is in force."""
        return self._in_force.config

    def context(self) -> ssl.SSLContext | None:
        """What the next connection is encrypted with; None for plain HTTP."""
        self.look()
        return self._in_force.context

    def look(self, *, now: bool = False) -> None:
        """Read the files again if they have changed."""
        if self._path is None or (not now and self._clock() - self._looked < _LOOK_AGAIN):
            return
        self._looked = self._clock()
        state = self._state()
        if state == self._seen and self.loaded:
            return
        fresh = state != self._seen
        self._seen = state
        try:
            self._in_force = self._read(self._path)
        except WebConfigError as error:
            self.loaded = False
            if fresh:
                _log.error("web.config_file: %s; what was in force stays", error)
            return
        self.loaded, self.loaded_at = True, time.time()
        self._known.clear()
        if fresh:
            _log.info("web.config_file: %s was read", self._path)

    def admits(self, authorization: str) -> bool:
        """True if a request with this header may be answered."""
        users = self.config.users
        if not users:
            return True
        scheme, _, encoded = authorization.partition(" ")
        try:
            name, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        if scheme.lower() != "basic" or len(password) > 72:  # bcrypt(3) looks at no more
            return False
        return self._is_password_of(name.decode(errors="replace"), password)

    def _is_password_of(self, name: str, password: bytes) -> bool:
        # A name that does not exist takes as long as one that does.
        hashed = self.config.users.get(name, next(iter(self.config.users.values())))
        key = hmac.digest(hashed.encode(), name.encode() + b"\0" + password, "sha256")
        if key in self._known:
            return True
        right = bcrypt.checkpw(password, hashed.encode()) and name in self.config.users
        if right:
            self._known[key] = None
            if len(self._known) > _MAX_REMEMBERED:
                self._known.popitem(last=False)
        return right

    def allows(self) -> bool:
        """True unless requests come faster than `rate_limit` says (a token bucket)."""
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

    def admits_certificate(self, certificate: Mapping[str, Any] | None) -> bool:
        """True if a client certificate bears one of the allowed names, or none is asked for."""
        tls = self.config.tls
        if tls is None or not tls.allowed_sans:
            return True
        names = {value for _, value in (certificate or {}).get("subjectAltName", ())}
        return bool(names & set(tls.allowed_sans))

    def _read(self, path: Path) -> _InForce:
        try:
            config = parse_web_config(path.read_text(encoding="utf-8"), path.parent)
        except (OSError, UnicodeDecodeError) as error:
            raise WebConfigError(
                f"{path}: {getattr(error, 'strerror', None) or 'is not text in UTF-8'}"
            ) from None
        except WebConfigError as error:
            raise WebConfigError(f"{path}: {error}") from None
        try:
            context = config.tls.context() if config.tls else None
        except OSError as error:
            files = ", ".join(map(str, config.tls.files)) if config.tls else ""
            raise WebConfigError(f"{path}: tls_server_config: {error.strerror or error} ({files})") from None
        return _InForce(config, context)

    def _state(self) -> object:
        """What tells that one of the files has changed."""
        files = [self._path, *(self._in_force.config.tls.files if self._in_force.config.tls else ())]
        return tuple(_stamp(path) for path in files if path is not None)


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_size, status.st_ino

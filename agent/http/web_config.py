"""Parse the exporter-toolkit's web.config file: TLS, client certificates, basic auth, headers and a rate limit. Pure.

Every key of the format is known. A key that is not supported here (HTTP/2, cipher lists by Go's names) is refused by name
instead of ignored, because the file restricts access.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

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
_MAX_COST: Final = 14  # of bcrypt: about one second
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class WebConfigError(Exception):
    """The file cannot be used; the text names the key and the fix."""


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
        """The files that it names."""
        return (self.cert_file, self.key_file, *([self.client_ca_file] if self.client_ca_file else []))


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The file. `users` maps names to bcrypt hashes; `interval` is seconds between two requests."""

    tls: TlsServer | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    interval: float = 0.0
    burst: int = 0


def parse_web_config(text: str, folder: Path) -> WebConfig:
    """Parse the text of a file in `folder`, to which relative paths refer. Raises WebConfigError."""
    import yaml  # few hosts have such a file: the others save the memory

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise WebConfigError(f"is not YAML{where}") from None
    except (ValueError, RecursionError):  # a date that does not exist, or too many brackets
        raise WebConfigError("is not YAML that can be read") from None
    top = _mapping(
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


def _mapping(value: Any, key: str, known: tuple[str, ...]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WebConfigError(f"{key or 'the file'}: must be a mapping; write key: value lines")
    for name in value:
        if name not in known:
            raise WebConfigError(
                f"{key}{'.' if key else ''}{name}: is not supported; there are: {', '.join(known)}"
            )
    return value


def _tls(value: Any, folder: Path) -> TlsServer | None:
    key = "tls_server_config"
    known = (
        "cert_file",
        "key_file",
        "client_auth_type",
        "client_ca_file",
        "client_allowed_sans",
        "min_version",
        "max_version",
        "prefer_server_cipher_suites",
    )
    values = _mapping(value, key, known)
    if not values:
        return None
    missing = [name for name in ("cert_file", "key_file") if not values.get(name)]
    if missing:
        raise WebConfigError(f"{key}.{missing[0]}: is missing; write the file's path")
    mode = _choice(values, key, "client_auth_type", _CLIENT_AUTH, "NoClientCert")
    ca_file = values.get("client_ca_file")
    if mode is not ssl.CERT_NONE and not ca_file:
        raise WebConfigError(f"{key}.client_ca_file: is missing; client certificates are verified by it")
    if mode is ssl.CERT_NONE and ca_file:
        raise WebConfigError(f"{key}.client_auth_type: is missing; write RequireAndVerifyClientCert")
    sans = values.get("client_allowed_sans") or []
    if not isinstance(sans, list) or not all(isinstance(name, str) for name in sans):
        raise WebConfigError(f"{key}.client_allowed_sans: must be a list of names")
    return TlsServer(
        folder / str(values["cert_file"]),
        folder / str(values["key_file"]),
        mode,
        folder / str(ca_file) if ca_file else None,
        tuple(sans),
        _choice(values, key, "min_version", _VERSIONS, "TLS12"),
        _choice(values, key, "max_version", _VERSIONS, "TLS13"),
    )


def _choice(values: Mapping[str, Any], key: str, name: str, known: Mapping[str, Any], default: str) -> Any:
    value = values.get(name) or default
    if value not in known:
        raise WebConfigError(f"{key}.{name}: is {str(value)!r}; write one of: {', '.join(known)}")
    return known[value]


def _users(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WebConfigError("basic_auth_users: must be a mapping; write name: bcrypt hash")
    for name, hashed in value.items():
        if (
            not isinstance(hashed, str)
            or not hashed.startswith(("$2a$", "$2b$", "$2y$"))
            or len(hashed) != 60
        ):
            # Never the value: it may be a password.
            raise WebConfigError(
                f'basic_auth_users.{name}: must be a bcrypt hash; make one with: htpasswd -nBC 10 ""'
            )
        if not hashed[4:6].isdecimal() or int(hashed[4:6]) > _MAX_COST:
            raise WebConfigError(
                f"basic_auth_users.{name}: must have a cost of at most {_MAX_COST}, or a login takes seconds; "
                'make one with: htpasswd -nBC 10 ""'
            )
    return {str(name): hashed for name, hashed in value.items()}


def _headers(value: Any) -> dict[str, str]:
    values = _mapping(value, "http_server_config", ("headers", "http2"))
    if values.get("http2"):
        raise WebConfigError("http_server_config.http2: is not supported; leave it out, or write false")
    headers = values.get("headers") or {}
    if not isinstance(headers, dict):
        raise WebConfigError("http_server_config.headers: must be a mapping; write name: value")
    for name, text in headers.items():
        if name not in _HEADERS:
            raise WebConfigError(
                f"http_server_config.headers.{name}: is not allowed; there are: {', '.join(sorted(_HEADERS))}"
            )
        if not isinstance(text, str) or not text.isprintable() or not text.isascii():
            raise WebConfigError(f"http_server_config.headers.{name}: must be one line of ASCII text")
    return dict(headers)


def _rate_limit(value: Any) -> tuple[float, int]:
    values = _mapping(value, "rate_limit", ("interval", "burst"))
    interval, burst = values.get("interval", 0), values.get("burst", 0)
    seconds = _seconds(interval)
    if seconds is None:
        raise WebConfigError("rate_limit.interval: must be a duration such as 1s or 100ms")
    if not isinstance(burst, int) or isinstance(burst, bool) or burst < 0:
        raise WebConfigError("rate_limit.burst: must be a non-negative integer")
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

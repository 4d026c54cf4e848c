"""An authorization server like Microsoft's or Google's, on loopback over TLS: authlib's grants, expiry, rotation, faults.

A refresh token is replaced at each use. The former one dies when its successor, or an access token that came with the
successor, is used for the first time. Secrets are in no repr.
"""

import json
import secrets
import threading
import time
import warnings
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
    from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant, RefreshTokenGrant
    from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
    from authlib.oauth2.rfc6750 import BearerTokenGenerator
    from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
    from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant, DeviceCredentialDict

from joserfc.jwk import RSAKey

from tests.support.ca import CA

SCOPE = "mail.send offline_access"
_METHODS = ["none", "client_secret_post", "client_assertion_jwt"]


@dataclass
class Client(ClientMixin):  # type: ignore[misc]
    """A registered application: public, with a secret, or with a certificate's public key in PEM."""

    client_id: str
    secret: str = field(default="", repr=False)
    public_key: bytes = b""

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or SCOPE

    def check_client_secret(self, secret: str) -> bool:
        return secrets.compare_digest(self.secret, secret)

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        expected = (
            "client_secret_post" if self.secret else "client_assertion_jwt" if self.public_key else "none"
        )
        return method == expected

    def check_grant_type(self, _grant_type: str) -> bool:
        return True


@dataclass
class _Refresh:
    """A refresh token, and the token whose first use ends it."""

    token: str = field(repr=False)
    client_id: str
    user: str
    scope: str = SCOPE
    followed_by: "_Refresh | None" = None
    alive: bool = True

    def check_client(self, client: Client) -> bool:
        return client.client_id == self.client_id

    def get_scope(self) -> str:
        return self.scope


class Authorization(AuthorizationServer):  # type: ignore[misc]
    """The server. Its attributes may be changed while it runs.

    Args:
        ca: issues its certificate.
        clients: the registered applications.
        name: its host name.
        address: where it listens.
        path: of its endpoints; requests with another path are of an unknown tenant.

    Attributes:
        clients: client ID → the application.
        lifetime: of access tokens, in seconds.
        faults: (status, body) of the next answers; each is used once.
        down: connections are closed without an answer.
        requests: the forms that were received.
        approved: user codes that were entered in a browser → the mailbox.
        slow: ask the next request for a device code's token to slow down.
    """

    def __init__(
        self,
        ca: CA,
        *clients: Client,
        name: str = "localhost",
        address: tuple[str, int] = ("127.0.0.1", 0),
        path: str = "",
    ) -> None:
        super().__init__()
        self.clients = {client.client_id: client for client in clients}
        self.lifetime = 3600
        self.faults: list[tuple[int, bytes]] = []
        self.down = False
        self.requests: list[dict[str, str]] = []
        self.approved: dict[str, str] = {}
        self.codes: list[str] = []
        self.slow = False
        self._refresh: dict[str, _Refresh] = {}
        self._access: dict[str, tuple[str, float, _Refresh | None]] = {}
        self._devices: dict[str, DeviceCredentialDict] = {}
        self._ids: set[str] = set()
        self.certificate = ca.server_context(name)
        self._server = ThreadingHTTPServer(address, _handler(self))
        self._server.socket = self.certificate.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        port = self._server.server_port
        self.path = path
        self.url = f"https://{name}{'' if port == 443 else f':{port}'}{path}"
        for grant in (_ClientCredentials, _RefreshToken, _DeviceCode, _JwtBearer):
            self.register_grant(grant)
        self.register_endpoint(_DeviceEndpoint(self))
        self.register_client_auth_method("client_assertion_jwt", _Assertion(self))
        self.register_token_generator(
            "default",
            BearerTokenGenerator(
                lambda **_: "eyJ0." + secrets.token_urlsafe(2200),
                lambda **_: secrets.token_urlsafe(900),
                lambda *_: self.lifetime,
            ),
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    # Used by tests

    def issue(self, client_id: str, user: str) -> str:
        """Return a refresh token, as after a sign-in in a browser."""
        refresh = _Refresh(secrets.token_urlsafe(900), client_id, user)
        self._refresh[refresh.token] = refresh
        return refresh.token

    def accepts(self, user: str, token: str) -> bool:
        """Return whether a relay takes an access token. Its use ends the refresh token before the one it came with."""
        owner, ends, refresh = self._access.get(token, ("", 0.0, None))
        self._used(refresh)
        return owner == user and time.time() < ends

    def is_alive(self, refresh_token: str) -> bool:
        """Return whether a refresh token can be used."""
        return refresh_token in self._refresh and self._refresh[refresh_token].alive

    def revoke(self) -> None:
        """End all refresh tokens, as a change of the password does."""
        for refresh in self._refresh.values():
            refresh.alive = False

    def secrets(self) -> set[str]:
        """Return all tokens and device codes that were issued."""
        return {*self._refresh, *self._access, *self._devices}

    def _used(self, refresh: _Refresh | None) -> None:
        for former in self._refresh.values():
            if refresh is not None and former.followed_by is refresh:
                former.alive = False

    # Called by authlib

    def query_client(self, client_id: str) -> Client | None:
        return self.clients.get(client_id)

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        refresh = None
        if text := token.get("refresh_token"):
            refresh = self._refresh[text] = _Refresh(
                text, request.client.client_id, request.user, token.get("scope") or SCOPE
            )
            if former := request.refresh_token:
                former.followed_by = refresh
        self._access[token["access_token"]] = (request.user or "", time.time() + self.lifetime, refresh)

    def send_signal(self, *_: Any, **__: Any) -> None:
        """Nothing listens."""

    def create_oauth2_request(self, request: Any) -> Any:
        form, url = request
        made = OAuth2Request("POST", url, headers={})
        made.payload = BasicOAuth2Payload(form)
        made._body = form
        return made

    def handle_response(self, status: int, body: Any, _headers: Any) -> tuple[int, bytes]:
        return status, json.dumps(body).encode()

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, bytes]:
        """Answer a POST. With /use, a relay of another process uses a token."""
        if path == "/use":
            return (200 if self.accepts(form["user"], form["token"]) else 401), b"{}"
        self.requests.append(form)
        if self.faults:
            return self.faults.pop(0)
        if not path.startswith(self.path):
            return refusal("invalid_request", 90002)
        path = path.removeprefix(self.path)
        request = form, f"{self.url}{path}"
        if path == "/devicecode":
            answer: tuple[int, bytes] = self.create_endpoint_response("device_authorization", request)
        else:
            answer = self.create_token_response(request)
        return answer


def refusal(error: str, number: int) -> tuple[int, bytes]:
    """Return a refusal with Microsoft's number, as a fault."""
    return 400, json.dumps({"error": error, "error_description": f"AADSTS{number}: a text."}).encode()


class _ClientCredentials(ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS

    def create_token_response(self) -> Any:
        self.request.user = "app@example.com"
        return super().create_token_response()


class _RefreshToken(RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, text: str) -> _Refresh | None:
        refresh = self.server._refresh.get(text)
        if refresh is None or not refresh.alive:
            return None
        self.server._used(refresh)
        return refresh  # type: ignore[no-any-return]

    def authenticate_user(self, refresh: _Refresh) -> str:
        return refresh.user

    def revoke_old_credential(self, refresh: _Refresh) -> None:
        """The former token dies when its successor is used."""


class _DeviceCode(DeviceCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS

    def query_device_credential(self, code: str) -> Any:
        return self.server._devices.get(code)

    def query_user_grant(self, code: str) -> tuple[str, bool] | None:
        user = self.server.approved.get(code)
        return (user, user != "") if user is not None else None

    def should_slow_down(self, _credential: Any) -> bool:
        slow, self.server.slow = self.server.slow, False
        return bool(slow)


class _DeviceEndpoint(DeviceAuthorizationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = _METHODS
    INTERVAL = 1
    EXPIRES_IN = 60

    def get_verification_uri(self) -> str:
        return f"{self.server.url}/device"

    def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
        self.server._devices[data["device_code"]] = DeviceCredentialDict(
            client_id=client_id, scope=scope, expires_at=time.time() + self.EXPIRES_IN, **data
        )
        self.server.codes.append(data["user_code"])


class _JwtBearer(JWTBearerGrant):  # type: ignore[misc]
    def get_audiences(self) -> list[str]:
        return [f"{self.server.url}/token"]

    def resolve_issuer_client(self, issuer: str) -> Client | None:
        return self.server.query_client(issuer)  # type: ignore[no-any-return]

    def resolve_client_public_key(self, client: Client) -> Any:
        return RSAKey.import_key(client.public_key)

    def authenticate_user(self, subject: str) -> str:
        return subject

    def has_granted_permission(self, _client: Client, user: str) -> bool:
        return user.endswith("@example.com")


class _Assertion(JWTBearerClientAssertion):  # type: ignore[misc]
    def __init__(self, server: Authorization) -> None:
        super().__init__()
        self._server = server

    def get_audiences(self) -> list[str]:
        return [f"{self._server.url}/token"]

    def validate_jti(self, _claims: Any, jti: str) -> bool:
        known = jti in self._server._ids
        self._server._ids.add(jti)
        return not known

    def resolve_client_public_key(self, client: Client) -> Any:
        return RSAKey.import_key(client.public_key)


def _handler(server: Authorization) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            if server.down:
                self.close_connection = True
                return
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, body = server.answer(self.path, dict(parse_qsl(text)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    return Handler

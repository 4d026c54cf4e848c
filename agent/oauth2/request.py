"""Requests to an authorization server: the form of each grant, and its answer.

Promise: an exchange is bounded in time and size (`postward.agent.http_client`), and its URL is HTTPS. No error shows a
part of the request or of the answer, apart from the error code.

How it fails: TokenError says what it means and what to do, and whether the same request may succeed later.
"""

from typing import Annotated
from urllib.parse import urlencode

from pydantic import AfterValidator, AliasChoices, BaseModel, Field, ValidationError

from postward.agent.http_client import HttpError, request
from postward.agent.oauth2.client import Form, client_form, service_account_assertion
from postward.agent.oauth2.refusals import Fault, parse_refusal
from postward.config.oauth2 import STORED_GRANTS, OAuth2, is_token
from postward.config.relay import Relay

_DEADLINE = 30.0  # seconds
_MAX_ANSWER = 1 << 16  # bytes
_DAY = 86400.0  # seconds
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523, 2.1
_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"  # RFC 8628, 3.4
# OpenSSL, crypto/x509/x509_txt.c
_NOT_YET_VALID = "certificate is not yet valid"
_EXPIRED = "certificate has expired"


class TokenError(Exception):
    """No token; the text says why, and what to do.

    Attributes:
        lasting: the same request would be refused again.
        error: the server's error code; "" if it gave none.
        fault: its kind, see `refusals.Fault`.
    """

    def __init__(self, text: str, *, lasting: bool = False, error: str = "", fault: Fault = "server") -> None:
        super().__init__(text)
        self.lasting = lasting
        self.error = error
        self.fault = fault


def _token(value: str) -> str:
    if not is_token(value):
        raise ValueError
    return value


def _bearer(value: str) -> str:
    if value.lower() != "bearer":
        raise ValueError
    return value


class Answer(BaseModel):
    """A server's answer to a request for a token (RFC 6749, 5.1).

    Attributes:
        access_token: the token.
        expires_in: its lifetime, in seconds.
        refresh_token: replaces the former refresh token; None or "" if that one stays.
        refresh_token_expires_in: its lifetime, in seconds, if the server names one.
    """

    access_token: Annotated[str, AfterValidator(_token)] = Field(repr=False)
    token_type: Annotated[str, AfterValidator(_bearer)] = "bearer"  # noqa: S105 -- a kind
    expires_in: float = Field(default=3600.0, gt=0, le=_DAY * 366)
    refresh_token: str | None = Field(default=None, repr=False)
    refresh_token_expires_in: float | None = None


class DeviceCode(BaseModel):
    """A code that a person enters in a browser (RFC 8628, 3.2).

    Attributes:
        device_code: by which the token is asked for.
        user_code, verification_uri: the code, and where to enter it.
        verification_uri_complete: likewise, with the code in it; "" if the server has no such address.
        expires_in, interval: the lifetime of the code, and the time between two requests, in seconds.
    """

    device_code: str = Field(repr=False)
    user_code: str
    verification_uri: str = Field(validation_alias=AliasChoices("verification_uri", "verification_url"))
    verification_uri_complete: str = ""
    expires_in: float = 900.0
    interval: float = Field(default=5.0, gt=0)


def fetch(relay: Relay, refresh_token: str = "") -> Answer:
    """Ask for a token by the relay's grant. Blocks. Raises TokenError, SettingsError."""
    oauth2 = _oauth2(relay)
    if oauth2.grant in STORED_GRANTS:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "scope": oauth2.scope}
    elif oauth2.grant == "service_account":
        form = {"grant_type": _JWT_BEARER, "assertion": service_account_assertion(relay, oauth2)}
    else:
        form = {"grant_type": "client_credentials", "scope": oauth2.scope}
    return _ask(relay, oauth2, form)


def fetch_device_code(relay: Relay) -> DeviceCode:
    """Ask for a device code. Blocks. Raises TokenError, SettingsError."""
    oauth2 = _oauth2(relay)
    body = _post(oauth2.device_endpoint, {"scope": oauth2.scope, **client_form(relay, oauth2)}, relay.name)
    try:
        return DeviceCode.model_validate_json(body)
    except ValidationError:
        raise TokenError(_no_answer("device code", "device_endpoint"), lasting=True) from None


def fetch_by_device_code(relay: Relay, code: DeviceCode) -> Answer | None:
    """Ask for the token of a device code. Blocks. None: the person has not entered it yet. Raises as `fetch`."""
    try:
        return _ask(relay, _oauth2(relay), {"grant_type": _DEVICE_CODE, "device_code": code.device_code})
    except TokenError as error:
        if error.error == "slow_down":
            code.interval += 5  # RFC 8628, 3.5
        if error.error in {"authorization_pending", "slow_down"}:
            return None
        raise


def _ask(relay: Relay, oauth2: OAuth2, form: Form) -> Answer:
    body = _post(oauth2.token_endpoint, form | client_form(relay, oauth2), relay.name)
    try:
        return Answer.model_validate_json(body)
    except ValidationError:
        raise TokenError(_no_answer("bearer token", "token_endpoint")) from None


def _oauth2(relay: Relay) -> OAuth2:
    assert relay.oauth2 is not None  # noqa: S101 -- called for relays with tokens only
    return relay.oauth2


def _no_answer(thing: str, setting: str) -> str:
    return f"the authorization server's answer holds no {thing}; is {setting} right?"


def _post(url: str, form: Form, relay: str) -> bytes:
    """POST a form and return the answer. Raises TokenError."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    try:
        return request(url, urlencode(form).encode(), headers, deadline=_DEADLINE, max_bytes=_MAX_ANSWER).body
    except HttpError as error:
        if error.status in {400, 401, 403}:
            refusal = parse_refusal(error.body)
            raise TokenError(
                refusal.text(relay), lasting=refusal.lasting, error=refusal.error, fault=refusal.fault
            ) from None
        happened = str(error) if error.status else f"cannot be reached: {error}"
        fault: Fault = "clock" if _NOT_YET_VALID in happened else "server"
        if _EXPIRED in happened:
            happened += ", unless this host's clock is ahead"
        raise TokenError(f"the authorization server {happened}; it is asked again", fault=fault) from None
    except ValueError:
        raise TokenError("the endpoint is not a URL; correct it", lasting=True, fault="settings") from None

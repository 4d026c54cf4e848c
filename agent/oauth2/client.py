"""The client's proof of its identity: a secret, an assertion signed with a certificate's key, or a service account.

How it fails: SettingsError names the file and what it must hold, without its content.
"""

import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha1, sha256
from pathlib import Path
from secrets import token_urlsafe

from pydantic import BaseModel, Field, ValidationError

from postward.agent.relay.x509 import der_of
from postward.config.errors import SettingsError
from postward.config.oauth2 import OAuth2
from postward.config.passwords import password_from_credential, password_from_file, secret_text
from postward.config.relay import Relay

Form = dict[str, str]
_ASSERTION_LIFETIME = 600  # seconds
_JWT_CLIENT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523, 2.2


class _ServiceAccount(BaseModel):
    """The JSON key of a service account, as Google saves it."""

    client_email: str
    private_key: str = Field(repr=False)
    private_key_id: str = ""


def client_form(relay: Relay, oauth2: OAuth2) -> Form:
    """Return the fields of a request that identify the client. Raises SettingsError."""
    if oauth2.grant == "service_account":
        return {}
    form = {"client_id": oauth2.client_id}
    if oauth2.certificate_file:
        return form | {
            "client_assertion_type": _JWT_CLIENT,
            "client_assertion": _client_assertion(relay, oauth2),
        }
    key = f"relay.{relay.name}.oauth2"
    if oauth2.client_secret_file:
        secret = password_from_file(Path(oauth2.client_secret_file), f"{key}.client_secret_file")
    elif oauth2.client_secret_credential:
        name = oauth2.client_secret_credential
        secret = password_from_credential(name, f"{key}.client_secret_credential")
    else:
        return form
    return form | {"client_secret": secret}


def certificate_of(relay: Relay, oauth2: OAuth2) -> bytes:
    """Return the client's certificate, in DER. Raises SettingsError."""
    key = f"relay.{relay.name}.oauth2.certificate_file"
    try:
        return der_of(secret_text(Path(oauth2.certificate_file), key))
    except ValueError:
        raise SettingsError([f"{oauth2.certificate_file}: {key}: must be a certificate in PEM"]) from None


def _client_assertion(relay: Relay, oauth2: OAuth2) -> str:
    """Return an assertion of the client (RFC 7523, 3). By the thumbprints, Microsoft finds its certificate."""
    key = f"relay.{relay.name}.oauth2.key_file"
    der = certificate_of(relay, oauth2)
    header = {"x5t": _base64url(sha1(der).digest()), "x5t#S256": _base64url(sha256(der).digest())}  # noqa: S324
    claims = {
        "iss": oauth2.client_id,
        "sub": oauth2.client_id,
        "aud": oauth2.token_endpoint,
        "jti": token_urlsafe(16),
    }
    return _signed(header, claims, secret_text(Path(oauth2.key_file), key), f"{oauth2.key_file}: {key}")


def service_account_assertion(relay: Relay, oauth2: OAuth2) -> str:
    """Return the assertion by which a service account acts for a mailbox (RFC 7523, 2.1). Raises SettingsError."""
    key = f"relay.{relay.name}.oauth2.service_account_file"
    source = f"{oauth2.service_account_file}: {key}"
    try:
        account = _ServiceAccount.model_validate_json(secret_text(Path(oauth2.service_account_file), key))
    except ValidationError:
        raise SettingsError(
            [f"{source}: must be the JSON key of a service account, as Google saves it"]
        ) from None
    claims = {
        "iss": account.client_email,
        "sub": relay.username,
        "scope": oauth2.scope,
        "aud": oauth2.token_endpoint,
    }
    return _signed({"kid": account.private_key_id}, claims, account.private_key, source)


def _signed(header: Mapping[str, str], claims: Mapping[str, str], private_key: str, source: str) -> str:
    """Return a JWT. Raises SettingsError for a key that cannot sign."""
    from joserfc import jwt  # needed by few hosts, and its import takes longer than all others together
    from joserfc.errors import JoseError
    from joserfc.jwk import RSAKey

    now = int(time.time())
    times = {"iat": now, "nbf": now, "exp": now + _ASSERTION_LIFETIME}
    try:
        key = RSAKey.import_key(private_key)
        return jwt.encode({"alg": "RS256", "typ": "JWT", **header}, {**claims, **times}, key)
    except (JoseError, ValueError, TypeError):
        raise SettingsError([f"{source}: must be an RSA key in PEM, without a passphrase"]) from None


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()

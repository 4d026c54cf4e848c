"""`[relay.oauth2]`: the grant by which Postward gets the tokens that Postfix sends in place of a password.

Pure, apart from `OAuth2.token`. The settings hold no secret: client secrets and keys stay in files of their own.
`oauth2_problems` finds contradictions in the table before validation.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from postward.config.errors import SettingsError
from postward.config.fields import (
    AbsolutePath,
    CredentialName,
    OptionalPath,
    Section,
    Text,
    plain_text,
    quoted,
)

Grant = Literal["device_code", "refresh_token", "client_credentials", "service_account"]
# Grants that begin with a refresh token, which `postward login` stores.
STORED_GRANTS = frozenset({"device_code", "refresh_token"})
MECHANISMS = ("xoauth2", "oauthbearer")
_SECRETS = ("client_secret_file", "client_secret_credential")
_CERTIFICATE = ("certificate_file", "key_file")
_MAX_TOKEN = 16384  # bytes; Microsoft's have up to 3000
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
TENANT = "{tenant}"  # in an endpoint


class Identity(NamedTuple):
    """The known values of a provider's authorization server.

    Attributes:
        name: the provider.
        token_endpoint: the URL for tokens; "{tenant}" stands for the tenant.
        device_endpoint: the URL for device codes; "" if it gives none for mail.
        scope: of tokens for a mailbox whose owner consents.
        application_scope: of tokens for an application; "" if it gives none for mail.
        tenant: the only possible tenant.
    """

    name: str
    token_endpoint: str
    device_endpoint: str
    scope: str
    application_scope: str = ""
    tenant: str = ""


MICROSOFT = Identity(
    "Microsoft",
    "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
    "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode",
    "https://outlook.office.com/SMTP.Send offline_access",
    "https://outlook.office365.com/.default",
)
OUTLOOK = MICROSOFT._replace(application_scope="", tenant="consumers")
# Google's device codes do not allow the scope of mail.
GOOGLE = Identity("Google", "https://oauth2.googleapis.com/token", "", "https://mail.google.com/")


def grants_of(identity: Identity) -> tuple[Grant, ...]:
    """Return the grants by which a provider gives tokens for mail, the simplest first."""
    grants: dict[Grant, bool] = {
        "device_code": bool(identity.device_endpoint),
        "client_credentials": bool(identity.application_scope),
        "service_account": identity == GOOGLE,
        "refresh_token": True,
    }
    return tuple(grant for grant, is_offered in grants.items() if is_offered)


def with_identity(oauth2: dict[str, Any], identity: Identity) -> dict[str, Any]:
    """Return the table with the provider's values for the keys that it leaves out."""
    tenant = oauth2.get("tenant") or identity.tenant
    tenant = tenant if isinstance(tenant, str) else ""
    application = oauth2.get("grant") == "client_credentials" and identity.application_scope
    preset = {
        "token_endpoint": identity.token_endpoint.replace(TENANT, tenant or TENANT),
        "device_endpoint": identity.device_endpoint.replace(TENANT, tenant or TENANT),
        "scope": application or identity.scope,
    }
    return preset | oauth2


def _https(value: str) -> str:
    if value and not re.fullmatch(r"https://[^\s/@]+(/\S*)?", value):
        raise ValueError(
            f'must be an HTTPS URL, as in "https://login.example.com/oauth2/token", not {quoted(value)}'
        )
    return value


def _day(value: object) -> object:
    return value.isoformat() if type(value) is date else value


def _is_day(value: str) -> str:
    try:
        return value and date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError(f'must be a date, as in "2027-05-01", not {quoted(value)}') from None


def _directory_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]*", value):
        raise ValueError(
            f'must be a directory\'s ID or domain, as in "example.onmicrosoft.com", not {quoted(value)}'
        )
    return value


Tenant = Annotated[str, AfterValidator(plain_text), AfterValidator(_directory_name)]
Url = Annotated[str, AfterValidator(plain_text), AfterValidator(_https)]
Day = Annotated[str, BeforeValidator(_day), AfterValidator(plain_text), AfterValidator(_is_day)]


class OAuth2(Section):
    """A token in place of the password, for relays that end password logins. Left out: the password is used."""

    grant: Grant = Field(
        description="device_code: a person signs in once, by `postward login`. refresh_token: a refresh token from "
        "elsewhere, stored by `postward login`. client_credentials: the application signs in by itself. "
        "service_account: of Google Workspace, for any mailbox of the domain.",
        examples=["client_credentials"],
    )
    tenant: Tenant = Field(
        default="",
        description="Microsoft's directory: its ID or domain. Required by provider office365.",
        examples=["example.onmicrosoft.com"],
    )
    client_id: Text = Field(
        default="",
        description="ID of the application. Left out only by service_account.",
        examples=["11111111-2222-3333-4444-555555555555"],
    )
    client_secret_file: OptionalPath = Field(
        default="",
        description="File that holds only the application's secret.",
        examples=["/etc/postward/oauth2/client-secret"],
    )
    client_secret_credential: CredentialName = Field(
        default="", description="Alternative: the name of a systemd credential (LoadCredential=)."
    )
    secret_expires: Day = Field(
        default="",
        description="Day on which the secret ends. Postward warns before it.",
        examples=["2027-05-01"],
    )
    certificate_file: OptionalPath = Field(
        default="",
        description="Alternative to a secret: the application's certificate, in PEM.",
        examples=["/etc/postward/oauth2/client.pem"],
    )
    key_file: OptionalPath = Field(
        default="",
        description="The certificate's key, in PEM.",
        examples=["/etc/postward/oauth2/client.key"],
    )
    service_account_file: OptionalPath = Field(
        default="",
        description="Key of the service account, in JSON, as Google's console saves it.",
        examples=["/etc/postward/oauth2/service-account.json"],
    )
    token_endpoint: Url = Field(
        default="",
        description="URL of the authorization server for tokens. Left out: the provider's.",
        examples=["https://login.example.com/oauth2/token"],
    )
    device_endpoint: Url = Field(
        default="",
        description="Its URL for device codes. Left out: the provider's.",
        examples=["https://login.example.com/oauth2/devicecode"],
    )
    scope: Text = Field(
        default="",
        description="Scopes, separated by blanks. Left out: the provider's for sending mail.",
        examples=["https://outlook.office.com/SMTP.Send offline_access"],
    )
    directory: AbsolutePath = Field(
        default="/var/lib/postward-token",
        description="Directory of the tokens. The token service writes to it.",
    )

    @property
    def secret_files(self) -> tuple[str, ...]:
        """The files with the application's secrets."""
        files = (self.client_secret_file, self.certificate_file, self.key_file, self.service_account_file)
        return tuple(path for path in files if path)

    def token_file(self, relay: str) -> Path:
        """Return the file of a relay's access token."""
        return Path(self.directory) / f"{relay}.token"

    def token(self, relay: str) -> str:
        """Return a relay's access token.

        The token service's user writes the file, and root reads it: no link is followed, and nothing but a token is
        returned.

        Raises:
            SettingsError: the relay has no token yet, or it cannot be read.
        """
        path, key = self.token_file(relay), f"relay.{relay}.oauth2"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            how = f"run: postward login {relay}" if self.grant in STORED_GRANTS else "see: postward doctor"
            raise SettingsError([f"{path}: {key}: the relay has no token yet; {how}"]) from None
        except OSError as error:
            raise SettingsError(
                [f"{path}: {key}: {error.strerror}; it must be a file that only postward-token writes"]
            ) from None
        with os.fdopen(descriptor, "rb") as file:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            text = file.read(_MAX_TOKEN + 1).decode("ascii", "replace") if regular else ""
        if not is_token(text):
            raise SettingsError([f"{path}: {key}: must hold a token; restart postward-token.service"])
        return text


def is_token(text: str) -> bool:
    """Return True for text that a mail relay can take as a bearer token, of at most 16 KiB."""
    return len(text) <= _MAX_TOKEN and _TOKEN.fullmatch(text) is not None


# --- contradictions


def oauth2_problems(oauth2: Mapping[str, Any], identity: Identity | None) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for each contradiction in the table of a relay.

    Args:
        oauth2: its values that are not empty, with those of the provider.
        identity: the provider's authorization server; None if it is not known.
    """
    grant = oauth2.get("grant")
    if "token_endpoint" not in oauth2:
        yield "token_endpoint", 'is required: the provider\'s is not known; write it as in "https://…/token"'
    yield from _tenant(oauth2, grant, identity)
    yield from _fits_provider(grant, identity)
    if grant == "service_account":
        yield from _service_account(oauth2)
    elif grant in {"device_code", "refresh_token", "client_credentials"}:
        yield from _client(oauth2, grant)
        if grant == "device_code" and identity is None and "device_endpoint" not in oauth2:
            yield "device_endpoint", 'is required by grant device_code; write it as in "https://…/devicecode"'


def _tenant(oauth2: Mapping[str, Any], grant: object, identity: Identity | None) -> Iterator[tuple[str, str]]:
    tenant = oauth2.get("tenant")
    if TENANT in oauth2.get("token_endpoint", ""):
        yield "tenant", 'is required; write the directory\'s ID or domain, as in "example.onmicrosoft.com"'
    if tenant and (identity == GOOGLE or (identity == OUTLOOK and tenant != OUTLOOK.tenant)):
        yield "tenant", "must be left out: only provider office365 has tenants"
    if grant == "client_credentials" and tenant in {"common", "organizations", "consumers"}:
        yield "tenant", "must be the directory's ID or domain: an application signs in to one directory"


def _fits_provider(grant: object, identity: Identity | None) -> Iterator[tuple[str, str]]:
    if identity is None:
        return
    if grant == "client_credentials" and not identity.application_scope:
        right = "service_account" if identity == GOOGLE else "device_code"
        yield (
            "grant",
            f'must not be "client_credentials": {identity.name} does not offer it for these mailboxes; write grant = "{right}"',
        )
    if grant == "device_code" and not identity.device_endpoint:
        yield (
            "grant",
            f'must not be "device_code": {identity.name} does not allow it for mail; write grant = "refresh_token"',
        )
    if grant == "service_account" and identity != GOOGLE:
        yield "grant", 'must not be "service_account", which is Google\'s; write grant = "client_credentials"'


def _service_account(oauth2: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "service_account_file" not in oauth2:
        yield "service_account_file", "is required by grant service_account; write the path of its JSON key"
    for key in ("client_id", *_SECRETS, *_CERTIFICATE, "secret_expires"):
        if key in oauth2:
            yield key, "must be left out: the key of the service account has it all"


def _client(oauth2: Mapping[str, Any], grant: object) -> Iterator[tuple[str, str]]:
    secrets = [key for key in _SECRETS if key in oauth2]
    certificate = [key for key in _CERTIFICATE if key in oauth2]
    if "client_id" not in oauth2:
        yield "client_id", f"is required by grant {grant}; write the ID of the application"
    if "service_account_file" in oauth2:
        yield "service_account_file", f"must be left out: grant {grant} does not use it"
    if len(certificate) == 1:
        missing = next(key for key in _CERTIFICATE if key not in certificate)
        yield missing, f"is required by {certificate[0]}; write the path of both"
    if len(secrets) + bool(certificate) > 1:
        yield (
            (secrets or certificate)[-1],
            f"is given by {' and '.join(secrets + certificate)}; keep one of them",
        )
    if grant == "client_credentials" and not secrets and not certificate:
        yield (
            "client_secret_file",
            "is required by grant client_credentials; write it, or certificate_file and key_file",
        )
    if "secret_expires" in oauth2 and not secrets:
        yield "secret_expires", "must be left out without a client secret: a certificate has its own end"

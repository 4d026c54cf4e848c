"""A `[[relay]]` table: the relay's address, the encryption of the connection, and the login.

Postfix accepts some contradictions and then sends no mail. They are refused here, each with a correct form.
`Relay.read_password()` reads the password when it is needed.
"""

import contextlib
import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from postward.config.errors import SettingsError
from postward.config.fields import (
    OptionalPath,
    Section,
    Text,
    is_address,
    is_host_name,
    plain_text,
    quoted,
    suggest_host_name,
)
from postward.config.oauth2 import MECHANISMS, OAuth2
from postward.config.passwords import password_fault, password_from_credential, password_from_file
from postward.config.providers import PROVIDERS, with_provider
from postward.parsers.scrub import hide

TlsMode = Literal["starttls", "implicit", "opportunistic", "none"]
IMPLICIT_TLS_PORTS = frozenset({443, 465, 2465, 8465})
STARTTLS_PORTS = frozenset({25, 80, 587, 2525, 2587, 8025})
PASSWORD_SOURCES = ("password_file", "password_credential", "password")
# Mechanisms of SASL without a password. Postfix gets their tickets from elsewhere.
PASSWORDLESS = frozenset({"gssapi", "gs2-krb5", "gss-spnego", "external"})


def _sender(value: str) -> str:
    if not re.fullmatch(r'[^\s@#"*]*@[^\s@*]+', value):
        raise ValueError(
            f'must be an address such as "app@example.com" or a domain such as "@example.com", not {quoted(value)}'
        )
    return value


Sender = Annotated[str, AfterValidator(plain_text), AfterValidator(_sender)]


def with_port_and_tls(relay: dict[str, Any]) -> dict[str, Any]:
    """Return a relay's table with both port and tls: each follows from the other, if it is left out."""
    port, tls = relay.get("port"), relay.get("tls")
    if port is None:
        port = 465 if tls == "implicit" else 587
    if tls is None:
        tls = "implicit" if isinstance(port, int) and port in IMPLICIT_TLS_PORTS else "starttls"
    return relay | {"port": port, "tls": tls}


class Relay(Section):
    """A mail relay. The first relay takes all mail; each further relay takes the mail of its `senders`."""

    name: Text = Field(
        description="Name in metrics and messages: lowercase letters, digits, - and _.",
        examples=["sendcloud"],
    )
    provider: Text = Field(
        default="",
        description="Known provider. It supplies host, port, tls and limits that are left out: "
        f"{', '.join(PROVIDERS)}.",
        examples=["sendcloud"],
    )
    region: Text = Field(
        default="", description="Region of the provider. Only for ses.", examples=["eu-west-1"]
    )
    host: Text = Field(
        description="Host name, without brackets and port. Left out: the provider's.",
        examples=["smtp587.sendcloud.net"],
    )
    allow_unusual_port: bool = Field(
        default=False, description="True: do not check that port and tls fit each other."
    )
    port: int = Field(
        ge=1,
        le=65535,
        description="Port: 587 or 2525 for starttls, 465 for implicit TLS. Left out: 465 for implicit TLS, else 587.",
    )
    tls: TlsMode = Field(
        description="starttls: encrypt after STARTTLS, always. implicit: TLS from the first byte (port 465). "
        "opportunistic: encrypt if the relay offers it; the password is sent only encrypted. none: no TLS. "
        "Left out: the usual mode of the port."
    )
    verify: bool = Field(
        default=False,
        description="True: send mail only if the relay's certificate is valid for its host name. Requires ca_file. "
        "False: do not check it. Left out: a level that checks it stays as main.cf has it.",
    )
    ca_file: OptionalPath = Field(
        default="",
        description="File with the certificate authorities to trust, for all relays. Empty: smtp_tls_CAfile of Postfix.",
    )
    client_certificate: OptionalPath = Field(
        default="",
        description="File with the certificate that this host presents, and its chain, in PEM. Postfix reads it as root.",
        examples=["/etc/postward/client.pem"],
    )
    client_key: OptionalPath = Field(
        default="", description="Its key, in PEM.", examples=["/etc/postward/client.key"]
    )
    username: Text = Field(
        default="", description="Login name. Empty: no authentication.", examples=["API_USER"]
    )
    auth: Text = Field(
        default="",
        description="The only SASL mechanism that Postfix may use, as in plain, scram-sha-256 or gssapi. Postfix itself "
        "gets the tickets of gssapi. Left out: xoauth2 and oauthbearer with [relay.oauth2], else any that takes a password.",
        examples=["gssapi"],
    )
    password_file: OptionalPath = Field(
        default="",
        description="File that holds only the password.",
        examples=["/etc/postward/sendcloud.password"],
    )
    password_credential: Text = Field(
        default="", description="Alternative: the name of a systemd credential (LoadCredential=)."
    )
    password: SecretStr | None = Field(
        default=None,
        description="Alternative: the password itself. Then only root may be able to read this file.",
        examples=["API_KEY"],
    )
    allow_cleartext_password: bool = Field(
        default=False, description='True: allow the password to be sent unencrypted (tls = "none").'
    )
    senders: list[Sender] = Field(
        default=[],
        description="Sender addresses or @domains whose mail goes to this relay. "
        "Required for every relay but the first, unless it is a fallback.",
    )
    fallback: bool = Field(
        default=False,
        description="True: use this relay when delivery to the regular relay fails (smtp_fallback_relay). "
        "Not allowed for the first relay.",
    )
    oauth2: OAuth2 | None = Field(default=None, description="Tokens in place of the password.")

    @model_validator(mode="before")
    @classmethod
    def _fill_port_and_tls(cls, data: Any) -> Any:
        return with_port_and_tls(with_provider(data)) if isinstance(data, dict) else data

    @field_validator("name")
    @classmethod
    def _is_label(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", value):
            raise ValueError(
                f'must be lowercase letters, digits, - and _, as in "sendcloud", not {quoted(value)}'
            )
        if value in {"other", "none", "local"}:
            raise ValueError(
                f'must not be "{value}": metrics use it for mail that took no configured relay; choose another name'
            )
        return value

    @field_validator("provider")
    @classmethod
    def _is_known_provider(cls, value: str) -> str:
        if value and value not in PROVIDERS:
            close = difflib.get_close_matches(value, PROVIDERS, n=1)
            hint = f"did you mean {close[0]}?" if close else "leave it out, and write host, port and tls"
            raise ValueError(f"must be a known provider, not {quoted(value)}; {hint}")
        return value

    @field_validator("region")
    @classmethod
    def _is_given_if_needed(cls, value: str, info: ValidationInfo) -> str:
        provider = PROVIDERS.get(info.data.get("provider", ""))
        if provider and "{region}" in provider.host and not value:
            raise ValueError('is required: the provider has one host per region; write it as in "eu-west-1"')
        return value

    @field_validator("host")
    @classmethod
    def _is_bare_host(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("must not contain a login; write host, username and password_file separately")
        bare, port = _split_notation(value)
        if bare == value and (is_host_name(value) or is_address(value)):
            return value
        if is_host_name(bare) or is_address(bare):
            settings = f'host = "{bare}"' + (f" and port = {port}" if port else "")
            raise ValueError(
                f"must be a host name without brackets and port, not {quoted(value)}; write {settings}"
            )
        advice = suggest_host_name(bare, "smtp587.sendcloud.net")
        raise ValueError(f"must be a host name or an IP address, not {quoted(value)}; {advice}")

    @field_validator("tls")
    @classmethod
    def _fits_port(cls, value: TlsMode, info: ValidationInfo) -> TlsMode:
        port = info.data.get("port")
        if info.data.get("allow_unusual_port"):
            return value
        if value == "implicit" and port in STARTTLS_PORTS:
            raise ValueError(
                f'is "implicit" (TLS from the first byte, smtp_tls_wrappermode = yes) on port {port}, where relays greet in '
                'clear text and offer STARTTLS: no mail would leave. Write tls = "starttls", or port = 465 if the relay offers '
                f"it. If the relay expects TLS from the first byte on port {port}, add allow_unusual_port = true"
            )
        if value != "implicit" and port in IMPLICIT_TLS_PORTS:
            raise ValueError(
                f'is "{value}" on port {port}, where relays expect TLS from the first byte: Postfix would wait for the '
                'greeting until it times out. Write tls = "implicit", or port = 587. '
                "If the relay greets in clear text on that port, add allow_unusual_port = true"
            )
        return value

    @field_validator("verify")
    @classmethod
    def _has_tls_and_name(cls, value: bool, info: ValidationInfo) -> bool:
        tls = info.data.get("tls")
        if value and tls in {"opportunistic", "none"}:
            raise ValueError(
                f'is true, but tls = "{tls}" sends mail without a certificate; write tls = "starttls" or "implicit"'
            )
        if value and is_address(info.data.get("host", "")):
            raise ValueError(
                f'is true, but host = "{info.data["host"]}" is an address, and Postfix finds only names in a certificate; '
                "write the relay's host name"
            )
        return value

    @field_validator("ca_file")
    @classmethod
    def _is_given_to_verify(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("verify") and not value:
            raise ValueError(
                'is required by verify = true: without it Postfix defers all mail; write "/etc/ssl/certs/ca-certificates.crt" '
                '(Debian, Alpine) or "/etc/pki/tls/certs/ca-bundle.crt" (RHEL)'
            )
        return value

    @field_validator("username")
    @classmethod
    def _fits_sasl_passwd(cls, value: str) -> str:
        if ":" in value:
            raise ValueError(
                "must not contain a colon: Postfix reads the rest as the password; ask the relay's operator for another login"
            )
        if value != value.strip():
            raise ValueError(
                "must not begin or end with a blank: postmap drops it; write the username without"
            )
        return value

    @field_validator("auth")
    @classmethod
    def _is_mechanism(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", value):  # RFC 4422, 3.1
            raise ValueError(f'must be the name of one mechanism, as in "gssapi", not {quoted(value)}')
        return value.lower()

    @field_validator("password_credential")
    @classmethod
    def _is_credential_name(cls, value: str) -> str:
        if "/" in value or value in {".", ".."}:
            raise ValueError(f"must be the name before the colon in LoadCredential=, not {quoted(value)}")
        return value

    @field_validator("password")
    @classmethod
    def _is_one_line(cls, value: SecretStr | None) -> SecretStr | None:
        if value and (fault := password_fault(value.get_secret_value())):
            raise ValueError(fault)
        return value

    @field_validator("allow_cleartext_password")
    @classmethod
    def _is_given_without_tls(cls, value: bool, info: ValidationInfo) -> bool:
        has_password = info.data.get("username") and info.data.get("auth") not in PASSWORDLESS
        if info.data.get("tls") == "none" and has_password and not value:
            raise ValueError(
                'is required: with tls = "none" anyone on the network can read the password. Write tls = "starttls"; '
                "on a network that you trust, write allow_cleartext_password = true"
            )
        return value

    @property
    def next_hop(self) -> str:
        """The relay in Postfix's notation, `[host]:port`: the value of relayhost and the key in sasl_passwd."""
        return f"[{self.host}]:{self.port}"

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms that Postfix may use; empty for all that take a password."""
        if self.auth:
            return (self.auth,)
        return MECHANISMS if self.oauth2 else ()

    @property
    def own_parameters(self) -> dict[str, str]:
        """The parameters of smtp(8) that a service has for one relay only, without white space in their values."""
        return {
            "smtp_tls_chain_files": f"{self.client_key},{self.client_certificate}" if self.client_key else "",
            "smtp_sasl_mechanism_filter": ",".join(self.mechanisms),
            # Postward's plug-in is not used where "noanonymous" is demanded, so that it takes no password for a token.
            "smtp_sasl_tls_security_options": "" if self.oauth2 else "noanonymous",
        }

    @property
    def login_file(self) -> Path | None:
        """The file that holds the password or the token, if there is one."""
        if self.oauth2:
            return self.oauth2.token_file(self.name)
        return Path(self.password_file) if self.password_file else None

    def read_password(self) -> str:
        """Return the password or the token from its source; "" for a mechanism without one.

        Log lines that this process shows have it masked from then on.

        Raises:
            SettingsError: the file or credential cannot be read, or sasl_passwd cannot carry its content.
        """
        password = self._password_of_source()
        hide([(self.username, password)])
        return password

    def _password_of_source(self) -> str:
        key = f"relay.{self.name}"
        if self.oauth2:
            return self.oauth2.token(self.name)
        if self.auth in PASSWORDLESS:
            return ""
        if self.password is not None:
            password = self.password.get_secret_value()
            if fault := password_fault(password):
                raise SettingsError([f"{key}.password: {fault}"])
            return password
        if self.password_file:
            return password_from_file(Path(self.password_file), f"{key}.password_file")
        return password_from_credential(self.password_credential, f"{key}.password_credential")


def hide_passwords(relays: Iterable[Relay]) -> None:
    """Mask the passwords that this process may read in all log lines that it shows."""
    for relay in relays:
        with contextlib.suppress(SettingsError):
            if relay.username:
                relay.read_password()


def _split_notation(value: str) -> tuple[str, str]:
    """Return host and port of other notations: `[host]:587`, `smtp://host:587`, `smtp:[host]`, `[ipv6:::1]`, `host.`."""
    bare = re.sub(r"^([a-z]+://|[a-z]+:(?=\[))", "", value.strip(), flags=re.IGNORECASE).rstrip("/")
    port = ""
    if bracketed := re.fullmatch(r"\[(.*)\](?::([0-9]{1,5}))?", bare):
        bare, port = bracketed[1], bracketed[2] or ""
    bare = re.sub(r"^ipv6:", "", bare, flags=re.IGNORECASE)
    if not is_address(bare) and (with_port := re.fullmatch(r"([^:]*):([0-9]{1,5})", bare)):
        bare, port = with_port[1], with_port[2]
    return bare.rstrip("."), port


def read_passwords(relays: list[Relay]) -> dict[str, str]:
    """Return relay name → password, for the relays with a login.

    Raises:
        SettingsError: passwords cannot be read; all of them are listed.
    """
    passwords: dict[str, str] = {}
    problems: list[str] = []
    for relay in relays:
        try:
            if relay.username:
                passwords[relay.name] = relay.read_password()
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return passwords

"""A `[[relay]]` table: where mail goes, how the connection is encrypted, and who we are there.

Contradictions that Postfix would only show in mail that never leaves are refused here, each with the right form.
The password is read by `Relay.read_password()`, when it is needed and by whom may read it.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from postward.config.errors import SettingsError
from postward.config.fields import (
    Section,
    Text,
    host_name_meant,
    is_address,
    is_host_name,
    plain_text,
    quoted,
)
from postward.config.passwords import password_fault, password_from_credential, password_from_file
from postward.config.providers import PROVIDERS, with_provider

TlsMode = Literal["starttls", "implicit", "opportunistic", "none"]
IMPLICIT_TLS_PORTS = frozenset({443, 465, 2465, 8465})
STARTTLS_PORTS = frozenset({25, 80, 587, 2525, 2587, 8025})
_PASSWORD_SOURCES = ("password_file", "password_credential", "password")


def _sender(value: str) -> str:
    if not re.fullmatch(r'[^\s@#"]*@[^\s@]+', value):
        raise ValueError(
            f'is {quoted(value)}; write an address as in "app@example.com" or a whole domain as in "@example.com"'
        )
    return value


Sender = Annotated[str, AfterValidator(plain_text), AfterValidator(_sender)]


def with_port_and_tls(relay: dict[str, Any]) -> dict[str, Any]:
    """A relay's table with what was left out: each of port and tls follows from the other."""
    port, tls = relay.get("port"), relay.get("tls")
    if port is None:
        port = 465 if tls == "implicit" else 587
    if tls is None:
        tls = "implicit" if isinstance(port, int) and port in IMPLICIT_TLS_PORTS else "starttls"
    return relay | {"port": port, "tls": tls}


class Relay(Section):
    """A mail relay. The first one takes all mail; further ones take the mail of their `senders`."""

    name: Text = Field(
        description="What metrics and messages call it: small letters, digits, - and _.",
        examples=["sendcloud"],
    )
    provider: Text = Field(
        default="",
        description="A known provider, which fills in host, port, tls and limits where they are left out: "
        f"{', '.join(PROVIDERS)}.",
        examples=["sendcloud"],
    )
    region: Text = Field(default="", description="The provider's region, for ses.", examples=["eu-west-1"])
    host: Text = Field(
        description="Its host name, without brackets and without a port.", examples=["smtp587.sendcloud.net"]
    )
    unusual_port: bool = Field(
        default=False,
        description="True: port and tls are meant as they are, although they seem to contradict.",
    )
    port: int = Field(
        ge=1,
        le=65535,
        description="587 or 2525 for starttls, 465 for implicit TLS. Left out: 465 for implicit, else 587.",
    )
    tls: TlsMode = Field(
        description="starttls: encrypt after STARTTLS, never without. implicit: TLS from the first byte (port 465). "
        "opportunistic: encrypt where offered; the password is only sent encrypted. none: no TLS. "
        "Left out: what the port stands for."
    )
    verify: bool = Field(
        default=False,
        description="True: mail goes out only if the relay's certificate is valid for its host name.",
    )
    ca_file: Text = Field(
        default="",
        description="File with the certificate authorities to trust. Empty: as Postfix has it. Needed for verify.",
    )
    username: Text = Field(
        default="", description="The login. Empty: no authentication.", examples=["API_USER"]
    )
    password_file: Text = Field(
        default="",
        description="A file that holds only the password.",
        examples=["/etc/postward/sendcloud.password"],
    )
    password_credential: Text = Field(
        default="", description="Or: the name of a systemd credential (LoadCredential=)."
    )
    password: SecretStr | None = Field(
        default=None,
        description="Or: the password itself; then keep this file readable by root alone.",
        examples=["API_KEY"],
    )
    cleartext_password: bool = Field(
        default=False, description='True: the password may cross the network unencrypted (tls = "none").'
    )
    senders: list[Sender] = Field(
        default=[],
        description="Sender addresses or @domains whose mail goes to this relay. Required for all but the first relay.",
    )
    fallback: bool = Field(
        default=False,
        description="True: takes all mail that the relay it is meant for does not take. Never the first relay; needs no senders.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_port_and_tls(cls, data: Any) -> Any:
        return with_port_and_tls(with_provider(data)) if isinstance(data, dict) else data

    @field_validator("name")
    @classmethod
    def _label(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", value):
            raise ValueError(f'is {quoted(value)}; write small letters, digits, - and _, as in "sendcloud"')
        if value in {"other", "none", "local"}:
            raise ValueError(
                f'is "{value}", which metrics use for mail that took no configured relay; choose another name'
            )
        return value

    @field_validator("provider")
    @classmethod
    def _known_provider(cls, value: str) -> str:
        if value and value not in PROVIDERS:
            close = difflib.get_close_matches(value, PROVIDERS, n=1)
            hint = f"did you mean {close[0]}?" if close else "leave it out, and write host, port and tls"
            raise ValueError(f"is {quoted(value)}, which is no provider known here; {hint}")
        return value

    @field_validator("region")
    @classmethod
    def _region_where_needed(cls, value: str, info: ValidationInfo) -> str:
        provider = PROVIDERS.get(info.data.get("provider", ""))
        if provider and "{region}" in provider.host and not value:
            raise ValueError('is missing, and the provider has a host in each; write it as in "eu-west-1"')
        return value

    @field_validator("host")
    @classmethod
    def _bare_host(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("has a login in it; write host, username and password_file each for itself")
        bare, port = _without_decoration(value)
        if bare == value and (is_host_name(value) or is_address(value)):
            return value
        if is_host_name(bare) or is_address(bare):
            right = f'host = "{bare}"' + (f" and port = {port}" if port else "")
            raise ValueError(f"is {quoted(value)}; Postward adds brackets and port itself: write {right}")
        meant = host_name_meant(bare, "smtp587.sendcloud.net")
        raise ValueError(f"is {quoted(value)}, which is no host name; {meant}")

    @field_validator("tls")
    @classmethod
    def _tls_fits_port(cls, value: TlsMode, info: ValidationInfo) -> TlsMode:
        port = info.data.get("port")
        if info.data.get("unusual_port"):
            return value
        if value == "implicit" and port in STARTTLS_PORTS:
            raise ValueError(
                f'is "implicit" (TLS from the first byte, Postfix\'s smtp_tls_wrappermode = yes) on port {port}, where relays '
                'greet in clear text and offer STARTTLS: no mail would ever leave. Write tls = "starttls", or port = 465 if the '
                f"relay has it; if it really speaks TLS at once on {port}, add unusual_port = true"
            )
        if value != "implicit" and port in IMPLICIT_TLS_PORTS:
            raise ValueError(
                f'is "{value}" on port {port}, where relays wait for TLS from the first byte: Postfix would hang in the '
                'greeting. Write tls = "implicit", or port = 587; if the relay greets in clear text there, add unusual_port = true'
            )
        return value

    @field_validator("verify")
    @classmethod
    def _verify_needs_tls(cls, value: bool, info: ValidationInfo) -> bool:
        tls = info.data.get("tls")
        if value and tls in {"opportunistic", "none"}:
            raise ValueError(
                f'is true, and tls = "{tls}" lets mail out without a certificate; write tls = "starttls" or "implicit"'
            )
        if value and is_address(info.data.get("host", "")):
            raise ValueError(
                f'is true, and host = "{info.data["host"]}" is an address, which Postfix never finds in a certificate; '
                "write the host's name"
            )
        return value

    @field_validator("ca_file")
    @classmethod
    def _verify_needs_authorities(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("verify") and not value:
            raise ValueError(
                'is missing, and verify = true defers all mail without it; write "/etc/ssl/certs/ca-certificates.crt" '
                '(Debian, Alpine) or "/etc/pki/tls/certs/ca-bundle.crt" (RHEL)'
            )
        return value

    @field_validator("username")
    @classmethod
    def _username_without_colon(cls, value: str) -> str:
        if ":" in value:
            raise ValueError(
                "has a colon, where Postfix would cut it off and take the rest as password; ask the relay for another login"
            )
        if value != value.strip():
            raise ValueError("begins or ends with a blank, which postmap drops; write it without")
        return value

    @field_validator("password_file", "ca_file")
    @classmethod
    def _whole_path(cls, value: str) -> str:
        if value and not value.startswith("/"):
            raise ValueError(f'is {quoted(value)}; write the whole path, beginning with "/"')
        return value

    @field_validator("password_credential")
    @classmethod
    def _credential_name(cls, value: str) -> str:
        if "/" in value or value in {".", ".."}:
            raise ValueError(
                f"is {quoted(value)}; write the name that stands before the colon in LoadCredential="
            )
        return value

    @field_validator("password")
    @classmethod
    def _one_password(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if not {"username", "password_file", "password_credential"} <= info.data.keys():
            return value  # one of them is wrong, which is told
        given = [key for key in _PASSWORD_SOURCES if (value if key == "password" else info.data[key])]
        if info.data["username"] and not given:
            raise ValueError(
                "is missing, but username is set; add password_file, password_credential or password"
            )
        if given and not info.data["username"]:
            raise ValueError(
                f"is given by {given[0]}, but username is missing; add username, or remove {given[0]}"
            )
        if len(given) > 1:
            raise ValueError(f"is given by {' and '.join(given)}, and only one can hold; remove the others")
        if value and (fault := password_fault(value.get_secret_value())):
            raise ValueError(fault)
        return value

    @field_validator("cleartext_password")
    @classmethod
    def _password_in_clear(cls, value: bool, info: ValidationInfo) -> bool:
        if info.data.get("tls") == "none" and info.data.get("username") and not value:
            raise ValueError(
                'is needed: with tls = "none" the password crosses the network readable for everyone. Write tls = "starttls"; '
                "on a network you trust, cleartext_password = true"
            )
        return value

    @property
    def next_hop(self) -> str:
        """The relay as Postfix writes it, `[host]:port`: the value of relayhost and the key of sasl_passwd."""
        return f"[{self.host}]:{self.port}"

    def read_password(self) -> str:
        """The password from where the settings say it is.

        Raises:
            SettingsError: the file or credential cannot be read, is empty, or holds what sasl_passwd cannot carry.
        """
        key = f"relay.{self.name}"
        if self.password is not None:
            password = self.password.get_secret_value()
            if fault := password_fault(password):
                raise SettingsError([f"{key}.password: {fault}"])
            return password
        if self.password_file:
            return password_from_file(Path(self.password_file), f"{key}.password_file")
        return password_from_credential(self.password_credential, f"{key}.password_credential")


def _without_decoration(value: str) -> tuple[str, str]:
    """Host and port of what people write: `[host]:587`, `smtp://host:587`, `smtp:[host]`, `[ipv6:::1]`, `host.`."""
    bare = re.sub(r"^([a-z]+://|[a-z]+:(?=\[))", "", value.strip(), flags=re.IGNORECASE).rstrip("/")
    port = ""
    if bracketed := re.fullmatch(r"\[(.*)\](?::([0-9]{1,5}))?", bare):
        bare, port = bracketed[1], bracketed[2] or ""
    bare = re.sub(r"^ipv6:", "", bare, flags=re.IGNORECASE)
    if not is_address(bare) and (with_port := re.fullmatch(r"([^:]*):([0-9]{1,5})", bare)):
        bare, port = with_port[1], with_port[2]
    return bare.rstrip("."), port


def read_passwords(relays: list[Relay]) -> dict[str, str]:
    """Relay name → password, of the relays that have a login.

    Raises:
        SettingsError: with every password that cannot be had.
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

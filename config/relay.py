"""A `[[relay]]` table: where mail goes, how the connection is encrypted, and who we are there.

Contradictions that Postfix would only show in mail that never leaves are refused here, each with the right form.
The password is read by `Relay.read_password()`, when it is needed and by whom may read it.
"""

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from config.errors import SettingsError
from config.fields import Section, Text, is_address

TlsMode = Literal["starttls", "implicit", "opportunistic", "none"]
IMPLICIT_TLS_PORTS = frozenset({443, 465, 2465, 8465})
STARTTLS_PORTS = frozenset({25, 80, 587, 2525, 2587, 8025})


class Relay(Section):
    """A mail relay. The first one takes all mail; further ones take the mail of their `senders`."""

    name: Text = Field(
        description="What metrics and messages call it: small letters, digits, - and _.",
        examples=["sendcloud"],
    )
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
    ca_file: str = Field(
        default="",
        description="File with the certificate authorities to trust. Empty: as Postfix has it. Needed for verify.",
    )
    username: Text = Field(
        default="", description="The login. Empty: no authentication.", examples=["API_USER"]
    )
    password_file: str = Field(
        default="",
        description="A file that holds only the password.",
        examples=["/etc/postward/sendcloud.password"],
    )
    password_credential: str = Field(
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
    senders: list[Text] = Field(
        default=[],
        description="Sender addresses or @domains whose mail goes to this relay. Required for all but the first relay.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_port_and_tls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        port, tls = data.get("port"), data.get("tls")
        if port is None:
            port = 465 if tls == "implicit" else 587
        if tls is None:
            tls = "implicit" if port in IMPLICIT_TLS_PORTS else "starttls"
        return data | {"port": port, "tls": tls}

    @field_validator("name")
    @classmethod
    def _label(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", value):
            raise ValueError(f'is "{value}"; write small letters, digits, - and _, as in "sendcloud"')
        if value in {"other", "none", "local"}:
            raise ValueError(
                f'is "{value}", which metrics use for mail that took no configured relay; choose another name'
            )
        return value

    @field_validator("host")
    @classmethod
    def _bare_host(cls, value: str) -> str:
        bare = value.strip().removeprefix("smtp://").removeprefix("smtps://")
        port = ""
        if bracketed := re.fullmatch(r"\[([^\]]*)\](?::(\w+))?", bare):
            bare, port = bracketed[1], bracketed[2] or ""
        elif bare.count(":") == 1:
            bare, port = bare.split(":")
        if bare != value:
            right = f'host = "{bare}"' + (f" and port = {port}" if port else "")
            raise ValueError(f'is "{value}"; Postward adds brackets and port itself: write {right}')
        if not is_address(value) and not re.fullmatch(
            r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?", value
        ):
            raise ValueError(f'is "{value}", which is no host name; write it as in "smtp587.sendcloud.net"')
        return value

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

    @field_validator("password")
    @classmethod
    def _one_password(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "username" not in info.data:
            return value
        given = [key for key in ("password_file", "password_credential") if info.data.get(key)]
        given += ["password"] if value else []
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

    @field_validator("senders")
    @classmethod
    def _sender_addresses(cls, value: list[str]) -> list[str]:
        for sender in value:
            if not re.fullmatch(r"[^\s@#]*@[^\s@]+", sender):
                raise ValueError(
                    f'has "{sender}"; write an address as in "app@example.com" or a whole domain as in "@example.com"'
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
            return _usable_password(self.password.get_secret_value(), f"{key}.password")
        if self.password_file:
            return _usable_password(
                _read_secret(Path(self.password_file), f"{key}.password_file"), f"{key}.password_file"
            )
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        key = f"{key}.password_credential"
        if not directory:
            raise SettingsError(
                [
                    f"{key}: this process was handed no credentials; systemd does it with LoadCredential={self.password_credential}:FILE"
                ]
            )
        return _usable_password(_read_secret(Path(directory) / self.password_credential, key), key)


def _read_secret(path: Path, key: str) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(
            [f"{key}: {path}: {error.strerror}; it must hold the password and be readable by root"]
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(
            [f"{key}: {path}: is not text in UTF-8; write the password alone into it"]
        ) from None


def _usable_password(password: str, key: str) -> str:
    """Refuse what a line of sasl_passwd cannot carry: postmap(1) trims blanks, and a line end ends the entry."""
    if not password:
        raise SettingsError([f"{key}: is empty; write the password"])
    if password != password.strip():
        raise SettingsError([f"{key}: begins or ends with a blank, which postmap drops; write it without"])
    if any(ord(char) < 32 or ord(char) == 127 for char in password):
        raise SettingsError(
            [f"{key}: has a line end or control character; write the password alone on one line"]
        )
    return password

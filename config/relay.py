"""A `[[relay]]` table: the relay's address, the encryption of the connection, and the login.

Postfix accepts some contradictions and then sends no mail. They are refused here, each with a correct form.
`Relay.read_password()` reads the password when it is needed.
"""

import contextlib
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator

from postward.config.errors import SettingsError
from postward.config.fields import (
    Addresses,
    CredentialName,
    MailAddress,
    OptionalPath,
    Section,
    Text,
    is_address,
    is_host_name,
    quoted,
    suggest_host_name,
)
from postward.config.oauth2 import MECHANISMS, OAuth2
from postward.config.parameters import LOGIN_IN_MAIN_CF
from postward.config.passwords import password_fault, password_from_credential, password_from_file
from postward.config.providers import PROVIDERS, with_provider
from postward.config.sasl import PASSWORDLESS
from postward.parsers.scrub import hide

TlsMode = Literal["starttls", "implicit", "opportunistic", "none"]
Protocol = Literal["smtp", "lmtp"]
IMPLICIT_TLS_PORTS = frozenset({443, 465, 2465, 8465})
STARTTLS_PORTS = frozenset({25, 80, 587, 2525, 2587, 8025})
PASSWORD_SOURCES = ("password_file", "password_credential", "password")


def _fingerprint(value: str) -> str:
    digits = value.replace(":", "").upper()
    if not re.fullmatch(r"[0-9A-F]{64}", digits):
        raise ValueError(
            f"must be a SHA-256 fingerprint, 64 hexadecimal digits, not {quoted(value)}; "
            "print it with openssl x509 -noout -fingerprint -sha256"
        )
    return ":".join(digits[place : place + 2] for place in range(0, 64, 2))


Fingerprint = Annotated[str, AfterValidator(_fingerprint)]


def has_server(relay: Mapping[str, Any]) -> bool:
    """Return True if a relay's table needs a host: mail does not go to recipients' own servers, or to a socket."""
    return relay.get("direct") is not True and not relay.get("socket")


def _is_other_way(relay: Mapping[str, Any]) -> bool:
    """Return True for direct delivery and lmtp, whose keys `delivery_contradictions` compares."""
    return relay.get("direct") is True or relay.get("protocol") == "lmtp"


def with_port_and_tls(relay: dict[str, Any]) -> dict[str, Any]:
    """Return a relay's table with host, port and tls: those that are left out follow from the others."""
    port, tls = relay.get("port"), relay.get("tls")
    if not has_server(relay) or relay.get("protocol") == "lmtp":
        usual_port, usual_tls = (25, "opportunistic") if relay.get("direct") else (24, "none")
    else:
        usual_port = 465 if tls == "implicit" else 587
        usual_tls = "implicit" if isinstance(port, int) and port in IMPLICIT_TLS_PORTS else "starttls"
    filled = relay | {"port": usual_port if port is None else port, "tls": usual_tls if tls is None else tls}
    return filled if has_server(relay) else {"host": "", **filled}


def given(relay: object) -> dict[str, Any]:
    """Return the values of a relay's table that are given, with provider, host, port and tls filled in."""
    if not isinstance(relay, dict):
        return {}
    filled = with_port_and_tls(with_provider(relay))
    return {key: value for key, value in filled.items() if value not in ("", None, [])}


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
    direct: bool = Field(
        default=False,
        description="True: no relay. Mail goes to the MX hosts of the recipient's domain. Then host, port and login are "
        "left out, and tls is opportunistic unless it is set.",
    )
    protocol: Protocol = Field(
        default="smtp", description="smtp, or lmtp for a server that stores mail. lmtp has no login."
    )
    socket: OptionalPath = Field(
        default="",
        description="Unix socket of an lmtp server, in the place of host and port.",
        examples=["/run/dovecot/lmtp"],
    )
    host: Text = Field(
        description="Host name, without brackets and port. Left out: the provider's.",
        examples=["smtp587.sendcloud.net"],
    )
    mx: bool = Field(
        default=False,
        description="True: host is a domain, and its MX records name the servers. Then the port is 25 in most cases.",
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
        description="True: send mail only if the relay's certificate is valid for its host name. Requires ca_file or "
        "ca_path. "
        "False: do not check it. Left out: a level that checks it stays as main.cf has it.",
    )
    ca_path: OptionalPath = Field(
        default="",
        description="Directory with certificate authorities to trust, each under the name of its hash (openssl rehash), for all "
        "relays. Empty: smtp_tls_CApath of Postfix.",
        examples=["/etc/ssl/certs"],
    )
    ca_file: OptionalPath = Field(
        default="",
        description="File with the certificate authorities to trust, for all relays. Empty: smtp_tls_CAfile of Postfix.",
    )
    verify_names: list[Text] = Field(
        default=[],
        description="Names that the certificate may have in the place of host, as behind a tunnel. .example.com: any name "
        "below that domain.",
        examples=[["relay.example.net"]],
    )
    fingerprints: list[Fingerprint] = Field(
        default=[],
        description="SHA-256 fingerprints of the certificates or public keys to accept, in the place of verify.",
        examples=[["B5BB9D8014A0F9B1D61E21E796D78DCCDF1352F23CD32812F4850B878AE4944C"]],
    )
    dane: bool = Field(
        default=False,
        description="True: check the certificate by TLSA records (DANE), which requires a resolver that validates DNSSEC. "
        "With direct, only for domains that have such records.",
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
    password_credential: CredentialName = Field(
        default="", description="Alternative: the name of a systemd credential (LoadCredential=)."
    )
    password: SecretStr | None = Field(
        default=None,
        description="Alternative: the password itself. Then only root may be able to read this file.",
        examples=["API_KEY"],
    )
    allow_cleartext_password: bool = Field(
        default=False,
        description='True: allow the password to be sent unencrypted: always with tls = "none", and with '
        'tls = "opportunistic" where the relay offers no TLS.',
    )
    login_table: Text = Field(
        default="",
        description="Alternative to username and password: a table with the login, which you keep. Postward names it in "
        "main.cf and checks that it answers.",
        examples=["ldap:/etc/postfix/logins.cf"],
    )
    senders: list[Addresses] = Field(
        default=[],
        description="Sender addresses, @domains or @.domains (subdomains) whose mail goes to this relay. Relays at one host "
        "and port log in by sender. Every relay but the first needs senders, recipients or fallback.",
        examples=[["shop@example.com", "@example.org", "@.example.org"]],
    )
    recipients: list[Addresses] = Field(
        default=[],
        description="Recipients whose mail goes to this relay, written like senders. They come before senders.",
        examples=[["@partner.example"]],
    )
    fallback: bool = Field(
        default=False,
        description="True: use this relay when delivery to the regular relay fails (smtp_fallback_relay). "
        "Not allowed for the first relay.",
    )
    helo_name: Text = Field(
        default="",
        description="Name of this host in EHLO to this relay. Empty: myhostname.",
        examples=["shop.example.com"],
    )
    bind_address: Text = Field(
        default="",
        description="Address of this host from which mail goes to this relay. Empty: the system's choice.",
        examples=["192.0.2.25"],
    )
    max_connections: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Max connections to this relay at the same time. 0: the provider's limit, else Postfix's.",
    )
    daily_limit: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="Recipients that the relay accepts in 24 hours. At 80 % an alert is raised; nothing is held back. "
        "0: no limit is known.",
        examples=[10000],
    )
    hourly_limit: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="As daily_limit, in an hour.",
        examples=[1000],
    )
    own_service: bool = Field(
        default=False,
        description="True: a service of its own in master.cf, whose name the log shows. Without it, the log does not show "
        "which of several relays at one host and port took a mail, and all count as the first of them.",
    )
    probe_recipients: list[MailAddress] = Field(
        default=[],
        description="Recipients of this relay's probes. Required to probe a relay that has recipients and no senders. Empty: "
        "probe.recipient.",
        examples=[["probe@partner.example"]],
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
    def _is_bare_host(cls, value: str, info: ValidationInfo) -> str:
        if not value and not has_server(info.data):
            return value
        if "@" in value:
            raise ValueError("must not contain a login; write host, username and password_file separately")
        bare, port = split_notation(value)
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
        if info.data.get("allow_unusual_port") or _is_other_way(info.data):
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
        if _is_other_way(info.data):
            return value
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
        if info.data.get("verify") and not value and not info.data.get("ca_path"):
            raise ValueError(
                'is required by verify = true: without it Postfix defers all mail; write "/etc/ssl/certs/ca-certificates.crt" '
                '(Debian, Alpine) or "/etc/pki/tls/certs/ca-bundle.crt" (RHEL)'
            )
        return value

    @field_validator("verify_names")
    @classmethod
    def _are_names(cls, value: list[str]) -> list[str]:
        for name in value:
            if not is_host_name(name.removeprefix(".")):
                raise ValueError(f'must list host names, as in "relay.example.net", not {quoted(name)}')
        return value

    @field_validator("login_table")
    @classmethod
    def _is_table(cls, value: str) -> str:
        if value and re.match(r"(static|inline):", value):
            raise ValueError(LOGIN_IN_MAIN_CF)
        if value and not re.fullmatch(r"(?:proxy:)?[a-z]+:[^\s,]+", value):
            raise ValueError(
                f'must be type and name of a table, as in "ldap:/etc/postfix/logins.cf", not {quoted(value)}'
            )
        return value

    @field_validator("helo_name")
    @classmethod
    def _is_helo(cls, value: str) -> str:
        if value and not is_host_name(value):
            raise ValueError(
                f"must be a host name, not {quoted(value)}; {suggest_host_name(value, 'mail.example.com')}"
            )
        return value

    @field_validator("bind_address")
    @classmethod
    def _is_bind_address(cls, value: str) -> str:
        if value and not is_address(value):
            raise ValueError(f'must be an IP address of this host, as in "192.0.2.25", not {quoted(value)}')
        return value

    @field_validator("username")
    @classmethod
    def _fits_sasl_passwd(cls, value: str) -> str:
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
        if info.data.get("tls") == "none" and has_password and not value and not _is_other_way(info.data):
            raise ValueError(
                'is required: with tls = "none" anyone on the network can read the password. Write tls = "starttls"; '
                "on a network that you trust, write allow_cleartext_password = true"
            )
        return value

    @property
    def next_hop(self) -> str:
        """The relay in Postfix's notation, `[host]:port`: the value of relayhost and the key in sasl_passwd.

        It is `host:port` for a domain with MX records, `unix:path` for a socket, and "" for direct delivery.
        """
        if self.direct:
            return ""
        if self.socket:
            return f"unix:{self.socket}"
        return f"{self.host}:{self.port}" if self.mx else f"[{self.host}]:{self.port}"

    @property
    def server(self) -> str:
        """The relay's place for a reader: host and port, a socket, or whose servers take the mail."""
        if self.direct:
            return "the recipients' servers"
        return self.socket or f"{'MX of ' if self.mx else ''}{self.host}:{self.port}"

    @property
    def has_known_server(self) -> bool:
        """True if the settings name the server: it is not left to MX records."""
        return not self.direct and not self.mx

    @property
    def selects(self) -> bool:
        """True if the relay takes the mail of some senders or recipients."""
        return bool(self.senders or self.recipients)

    @property
    def has_login(self) -> bool:
        """True if Postfix logs in at the relay."""
        return bool(self.username or self.login_table)

    @property
    def logs_in_by_password(self) -> bool:
        """True if Postfix sends a password, and neither a token nor a ticket."""
        return (
            bool(self.username)
            and not self.oauth2
            and self.auth not in PASSWORDLESS
            and self.auth not in MECHANISMS
        )

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms that Postfix may use; empty for all that take a password."""
        if self.auth:
            return (self.auth,)
        return MECHANISMS if self.oauth2 else ()

    @property
    def password_in_clear(self) -> bool:
        """True if the password may be sent unencrypted."""
        return self.tls == "none" or (self.tls == "opportunistic" and self.allow_cleartext_password)

    @property
    def own_parameters(self) -> dict[str, str]:
        """The parameters of smtp(8) that a service has for one relay only, without white space in their values."""
        return {
            "smtp_tls_chain_files": f"{self.client_key},{self.client_certificate}" if self.client_key else "",
            "smtp_sasl_mechanism_filter": ",".join(self.mechanisms),
            # Postward's plug-in is not used where "noanonymous" is demanded, so that it takes no password for a token.
            "smtp_sasl_tls_security_options": "" if self.oauth2 else "noanonymous",
            "smtp_helo_name": self.helo_name,
            "smtp_bind_address": "" if ":" in self.bind_address else self.bind_address,
            "smtp_bind_address6": self.bind_address if ":" in self.bind_address else "",
            "smtp_dns_support_level": "dnssec" if self.dane else "",
            "smtp_tls_fingerprint_digest": "sha256" if self.fingerprints else "",
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


def split_notation(value: str) -> tuple[str, str]:
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

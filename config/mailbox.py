"""`[mailbox]`: the mailbox of the probes' recipient, which shows whether accepted mail arrives, and in which folder.
`[bounces]`: the mailbox of the address to which this host's mail is returned.

Pure, apart from `Account.password`. `mailbox_problems` and `bounces_problems` find contradictions before validation.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from postward.config.errors import Problem
from postward.config.fields import (
    CredentialName,
    OptionalPath,
    Section,
    Text,
    is_address,
    is_host_name,
    quoted,
)
from postward.config.passwords import password_from_credential, password_from_file
from postward.parsers.scrub import hide

if TYPE_CHECKING:
    from postward.config.settings import Settings

PASSWORD_SOURCES = ("password_file", "password_credential", "token_of")
_OF_SERVERS = ("ca_file", "username", *PASSWORD_SOURCES)
_PORTS = {"implicit": 993, "starttls": 143}


class Account(Section):
    """A mailbox, read by IMAP or as a Maildir.

    Attributes:
        section: the name of its table in the settings.
    """

    section: ClassVar[str]

    host: Text = Field(
        default="",
        description="IMAP server of the mailbox. Empty: no mailbox is read by IMAP.",
        examples=["imap.example.com"],
    )
    port: int = Field(default=993, ge=1, le=65535, description="Port of the IMAP server.")
    tls: Literal["implicit", "starttls"] = Field(
        default="implicit",
        description="implicit: TLS from the first byte. starttls: upgrade, on port 143. The certificate is always verified.",
    )
    ca_file: OptionalPath = Field(
        default="",
        description="File with the certificate authorities of the server, in PEM. Empty: those of the host.",
        examples=["/etc/postward/imap-ca.pem"],
    )
    username: Text = Field(default="", description="Login at the IMAP server.", examples=["user@example.com"])
    password_file: OptionalPath = Field(
        default="",
        description="File that holds only the password.",
        examples=["/etc/postward/passwords/mailbox"],
    )
    password_credential: CredentialName = Field(
        default="", description="Alternative: the name of a systemd credential (LoadCredential=)."
    )
    token_of: Text = Field(
        default="",
        description="Alternative: the name of a relay with [relay.oauth2] whose token opens the mailbox too. Its scope "
        "must include IMAP.",
        examples=["m365"],
    )
    maildir: OptionalPath = Field(
        default="",
        description="Alternative to host: a Maildir of this host.",
        examples=["/var/mail/user/Maildir"],
    )
    inbox_folders: list[Text] = Field(
        default=["INBOX"],
        description="Folders where mail has arrived, with * and ? as wildcards.",
        examples=[["INBOX", "Probes"]],
    )
    spam_folders: list[Text] = Field(
        default=["*Junk*", "*Spam*", "*Bulk*"],
        description="Folders of mail that the receiver takes for spam. Folders that the server marks as such count too.",
    )

    @property
    def is_set(self) -> bool:
        """True if there is a mailbox to read."""
        return bool(self.host or self.maildir)

    @property
    def place(self) -> str:
        """The mailbox as messages name it."""
        return self.maildir or f"{self.host}:{self.port}"

    def password(self, settings: "Settings") -> str:
        """Return the password or the token from its source. Raises SettingsError."""
        if self.token_of:
            relay = next(relay for relay in settings.relay if relay.name == self.token_of)
            return relay.read_password()
        if self.password_file:
            password = password_from_file(Path(self.password_file), f"{self.section}.password_file")
        else:
            password = password_from_credential(
                self.password_credential, f"{self.section}.password_credential"
            )
        hide([(self.username, password)])
        return password

    @field_validator("host")
    @classmethod
    def _is_host(cls, value: str) -> str:
        if value and not (is_host_name(value) or is_address(value)):
            raise ValueError(
                f'must be a host name or an IP address, as in "imap.example.com", not {quoted(value)}'
            )
        return value

    @field_validator("inbox_folders")
    @classmethod
    def _names_a_folder(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError('must name at least one folder, as in ["INBOX"]')
        return value


class Mailbox(Account):
    """The mailbox that receives the probes: it shows whether accepted mail arrives, and in which folder."""

    section: ClassVar[str] = "mailbox"

    authserv_id: Text = Field(
        default="",
        description="Name of the receiving server in Authentication-Results, the only one that is trusted. Empty: its "
        "verdicts of SPF, DKIM and DMARC are not read.",
        examples=["mx.example.com"],
    )

    @field_validator("authserv_id")
    @classmethod
    def _is_one_name(cls, value: str) -> str:
        if not re.fullmatch(r"[^\s;()\"]*", value):
            raise ValueError(
                f'must be the first word of the field, as in "mx.example.com", not {quoted(value)}'
            )
        return value


class Bounces(Account):
    """The mailbox to which servers return this host's mail. It is only read: no mail is deleted, and none gets a flag."""

    section: ClassVar[str] = "bounces"

    interval_seconds: int = Field(
        default=60, ge=10, le=86400, description="Time between two looks into the mailbox, in seconds."
    )


def mailbox_problems(
    mailbox: Mapping[str, Any], probe: Mapping[str, Any], relays: object
) -> Iterator[Problem]:
    """Yield the location of each contradiction about the mailbox, and a message that says how to resolve it.

    Args:
        mailbox: the table, before validation.
        probe: the table of the probes.
        relays: the relays.
    """
    yield from _account_problems("mailbox", mailbox, relays)
    if mailbox.get("host") or mailbox.get("maildir"):
        yield from _probe_problems(probe)


def bounces_problems(bounces: Mapping[str, Any], relays: object) -> Iterator[Problem]:
    """Yield the location of each contradiction about the mailbox of bounces, and a message that says how to resolve it.

    Args:
        bounces: the table, before validation.
        relays: the relays.
    """
    yield from _account_problems("bounces", bounces, relays)


def _account_problems(section: str, table: Mapping[str, Any], relays: object) -> Iterator[Problem]:
    given = {key: value for key, value in table.items() if value}
    if "host" in given:
        yield from _server_problems(section, given, relays)
    elif unused := [key for key in _OF_SERVERS if key in given]:
        right = "leave it out" if "maildir" in given else "write the name of the server"
        yield (section, "host"), f"is required by {unused[0]}; {right}"
    if "host" in given and "maildir" in given:
        yield (section, "maildir"), "must be left out: host names an IMAP server; keep one of them"


def _server_problems(section: str, given: Mapping[str, Any], relays: object) -> Iterator[Problem]:
    if "username" not in given:
        yield (section, "username"), "is required by host; write the login of the mailbox"
    sources = [key for key in PASSWORD_SOURCES if key in given]
    if not sources:
        yield (section, "password_file"), "is required by host; write it, password_credential or token_of"
    if len(sources) > 1:
        yield (section, sources[-1]), f"is given besides {sources[0]}; keep one of them"
    if "token_of" in given and given["token_of"] not in _names_with_tokens(relays):
        yield (
            (section, "token_of"),
            "must be the name of a relay with [relay.oauth2]; without one, write password_file",
        )
    mode = given.get("tls", "implicit")
    port = given.get("port", _PORTS["implicit"])
    right = _PORTS.get(mode) if isinstance(mode, str) else None
    if right and port != right and port in _PORTS.values():
        yield (
            (section, "port"),
            f'is {port}, and tls is "{mode}": no server would answer; write port = {right}',
        )


def _names_with_tokens(relays: object) -> list[object]:
    tables = [relay for relay in relays if isinstance(relay, dict)] if isinstance(relays, list) else []
    return [relay.get("name") for relay in tables if relay.get("oauth2")]


def _probe_problems(probe: Mapping[str, Any]) -> Iterator[Problem]:
    if not probe.get("recipient"):
        yield ("probe", "recipient"), "is required by [mailbox]; write the address whose mail comes there"
    if probe.get("sink_url"):
        yield ("probe", "sink_url"), "must be left out: [mailbox] shows what arrives; keep one of them"
    elif not probe.get("key_file"):
        yield (
            ("probe", "key_file"),
            (
                "is required by [mailbox]: only signed probes are counted and deleted; write the path of a key, made by: "
                "openssl rand -hex 32"
            ),
        )

"""The first settings file of a host, made from a few answers: `postward init` writes it.

Promise: the file holds the answers and no setting that has a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from postward.config.toml import assignment

PASSWORDS = Path("/etc/postward/passwords")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The values of the first settings. "" and None leave a setting out.

    Attributes:
        myhostname: the host's full name.
        provider: a preset, or "" where `host` is given.
        region, host, port, tls, username: as in `[[relay]]`.
        login: the relay requires a login; its password is kept in `password_file`.
        recipient, sender: as in `[probe]`.
        send_only: the host receives no mail from others.
        ipv4_only: the host has no IPv6 route. It matters for a host that only sends.
    """

    myhostname: str
    provider: str = ""
    region: str = ""
    host: str = ""
    port: int | None = None
    tls: str = ""
    username: str = ""
    login: bool = True
    recipient: str = ""
    sender: str = ""
    send_only: bool = True
    ipv4_only: bool = False

    @property
    def relay_name(self) -> str:
        """The relay's name in the settings."""
        return self.provider or "relay"

    @property
    def password_file(self) -> Path | None:
        """The file that holds the password; None without a login."""
        return PASSWORDS / self.relay_name if self.login else None


def initial_settings(answers: Answers) -> str:
    """Return the text of the settings file."""
    host = {
        "profile": "send-only" if answers.send_only else "",
        "myhostname": answers.myhostname,
        "inet_protocols": "ipv4" if answers.send_only and answers.ipv4_only else "",
    }
    relay = {
        "name": answers.relay_name,
        "provider": answers.provider,
        "region": answers.region,
        "host": answers.host,
        "port": answers.port,
        "tls": answers.tls,
        # A port and TLS mode that were both given are deliberate.
        "allow_unusual_port": True if answers.port and answers.tls else None,
        "username": answers.username,
        "password_file": str(answers.password_file or ""),
    }
    probe = {"recipient": answers.recipient, "sender": answers.sender}
    tables: dict[str, Mapping[str, str | int | bool | None]] = {
        "[host]": host,
        "[[relay]]": relay,
        "[probe]": probe,
    }
    lines = ["# Settings of Postward. To see every setting, run: postward check --example"]
    for title, values in tables.items():
        given = {key: value for key, value in values.items() if value not in {"", None}}
        if given:
            lines += ["", title, *(assignment(key, value) for key, value in given.items())]
    return "\n".join(lines) + "\n"

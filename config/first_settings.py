"""The first settings file of a host, from a few answers: what `postward init` writes.

Promise: what stands in it is what was asked and nothing that has a default, so that it reads as a person would write it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PASSWORDS = Path("/etc/postward/passwords")


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """What the settings are made of; "" and None leave a setting out.

    Attributes:
        myhostname: this host's full name.
        provider: a preset, or "" where `host` is given.
        region, host, port, tls, username: as in `[[relay]]`.
        login: the relay wants one, so that its password is in a file of its own.
        recipient, sender: of probes.
        ipv4_only: this host has no route to IPv6.
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
    ipv4_only: bool = False

    @property
    def relay_name(self) -> str:
        """What metrics will call the relay."""
        return self.provider or "relay"

    @property
    def password_file(self) -> Path | None:
        """Where the password is kept; None without a login."""
        return PASSWORDS / self.relay_name if self.login else None


def first_settings(answers: Hooks) -> str:
    """The settings file."""
    host = {"myhostname": answers.myhostname, "inet_protocols": "ipv4" if answers.ipv4_only else ""}
    relay = {
        "name": answers.relay_name,
        "provider": answers.provider,
        "region": answers.region,
        "host": answers.host,
        "port": answers.port,
        "tls": answers.tls,
        # A port of one's own is meant as it is said.
        "unusual_port": True if answers.port and answers.tls else None,
        "username": answers.username,
        "password_file": str(answers.password_file or ""),
    }
    probe = {"recipient": answers.recipient, "sender": answers.sender}
    tables: dict[str, Mapping[str, str | int | bool | None]] = {
        "[host]": host,
        "[[relay]]": relay,
        "[probe]": probe,
    }
    lines = ["# Settings of Postward; every one with its meaning: postward check --example"]
    for title, values in tables.items():
        given = {key: value for key, value in values.items() if value not in {"", None}}
        if given:
            lines += ["", title, *(f"{key} = {_toml(value)}" for key, value in given.items())]
    return "\n".join(lines) + "\n"


def _toml(value: str | int | bool | None) -> str:
    """JSON's strings, numbers and truth values are TOML's as well."""
    return json.dumps(value, ensure_ascii=False)

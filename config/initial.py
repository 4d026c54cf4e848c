"""The first settings file of a host, made from a few answers: `postward init` writes it.

Promise: the file holds the answers and no setting that has a default.
"""

from dataclasses import dataclass
from pathlib import Path

from postward.config.providers import PROVIDERS
from postward.config.relay import IMPLICIT_TLS_PORTS, STARTTLS_PORTS
from postward.config.toml import assignment

PASSWORDS = Path("/etc/postward/passwords")
_Value = str | int
_USUAL_PORTS = {None, *STARTTLS_PORTS, *IMPLICIT_TLS_PORTS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The values of the first settings. "" and None leave a setting out.

    Attributes:
        myhostname: the host's full name.
        provider: a preset, or "" where `host` is given.
        region, host, port, tls, username: as in `[[relay]]`.
        login: the relay requires a login; its password is kept in `password_file`.
        recipient, sender: as in `[probe]`.
        rewrite_sender: as in `[host]`, for a provider that accepts one sender only.
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
    rewrite_sender: str = ""
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
    tables = {
        "[host]": _given(
            profile="send-only" if answers.send_only else "",
            myhostname=answers.myhostname,
            inet_protocols="ipv4" if answers.send_only and answers.ipv4_only else "",
            rewrite_sender=answers.rewrite_sender,
        ),
        "[[relay]]": _relay(answers),
        "[probe]": _given(recipient=answers.recipient, sender=answers.sender),
    }
    lines = ["# Settings of Postward. To see every setting, run: postward check --example"]
    for title, values in tables.items():
        if values:
            lines += ["", title, *(assignment(key, value) for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _relay(answers: Answers) -> dict[str, _Value]:
    relay = _given(
        name=answers.relay_name,
        provider=answers.provider,
        region=answers.region,
        host=answers.host,
        port=answers.port,
        tls=answers.tls,
        # A TLS mode that was given for a port without a usual one is deliberate.
        allow_unusual_port=True if answers.tls and answers.port not in _USUAL_PORTS else None,
        username=answers.username,
        password_file=str(answers.password_file or ""),
    )
    provider = PROVIDERS.get(answers.provider)
    if provider and provider.username and not answers.login:
        relay["username"] = ""  # without this line, the provider's username would apply
    return relay


def _given(**values: _Value | None) -> dict[str, _Value]:
    return {key: value for key, value in values.items() if value is not None and value != ""}

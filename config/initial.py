"""The first settings file of a host, made from a few answers: `postward init` writes it.

Promise: the file holds the answers and no setting that has a default.
"""

from dataclasses import dataclass
from pathlib import Path

from postward.config.providers import PROVIDERS
from postward.config.relay import IMPLICIT_TLS_PORTS, STARTTLS_PORTS
from postward.config.toml import assignment

PASSWORDS = Path("/etc/postward/passwords")
_SECRETS = Path("/etc/postward/oauth2")
# Grant → the setting that names the file of its secret. Other grants have none, or a refresh token.
SECRET_SETTINGS = {"client_credentials": "client_secret_file", "service_account": "service_account_file"}
_Value = str | int
_USUAL_PORTS = {None, *STARTTLS_PORTS, *IMPLICIT_TLS_PORTS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The values of the first settings. "" and None leave a setting out.

    Attributes:
        myhostname: the host's full name.
        provider: a preset, or "" where `host` is given.
        region, host, port, tls, username: as in `[[relay]]`.
        login: the relay requires a login; its password or secret is kept in `secret_file`.
        grant, tenant, client_id, secret_expires: as in `[relay.oauth2]`; grant is "" for a password.
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
    grant: str = ""
    tenant: str = ""
    client_id: str = ""
    secret_expires: str = ""
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
    def secret_file(self) -> Path | None:
        """The file that holds the password, or the secret of the grant; None without one."""
        if self.grant:
            return _SECRETS / self.relay_name if self.grant in SECRET_SETTINGS else None
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
        "[relay.oauth2]": _oauth2(answers),
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
        password_file="" if answers.grant else str(answers.secret_file or ""),
    )
    provider = PROVIDERS.get(answers.provider)
    if provider and provider.username and not answers.login:
        relay["username"] = ""  # without this line, the provider's username would apply
    return relay


def _oauth2(answers: Answers) -> dict[str, _Value]:
    oauth2 = _given(
        grant=answers.grant,
        tenant=answers.tenant,
        client_id=answers.client_id,
        secret_expires=answers.secret_expires,
    )
    if setting := SECRET_SETTINGS.get(answers.grant):
        oauth2[setting] = str(answers.secret_file)
    return oauth2


def _given(**values: _Value | None) -> dict[str, _Value]:
    return {key: value for key, value in values.items() if value is not None and value != ""}

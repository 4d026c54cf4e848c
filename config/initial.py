"""The first settings file of a host, made from a few answers: `postward init` writes it.

Promise: the file holds the answers and no setting that has a default.
"""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from postward.config.providers import PROVIDERS, login_fault
from postward.config.relay import IMPLICIT_TLS_PORTS, STARTTLS_PORTS
from postward.config.settings import Settings, find_problems, parse_settings
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
        region, host, port, tls: as in `[[relay]]`.
        username: the login, whose password or secret is kept in `secret_file`; "" if the relay requires none.
        grant, tenant, client_id, secret_expires: as in `[relay.oauth2]`; grant is "" for a password.
        recipient, sender: as in `[probe]`.
        rewrite_sender: as in `[host]`, for a provider that accepts one sender only.
        admin: as in `[host]`.
        send_only: the host receives no mail from others.
        ipv4_only: the host has no IPv6 route. It matters for a host that only sends.
    """

    myhostname: str = ""
    provider: str = ""
    region: str = ""
    host: str = ""
    port: int | None = None
    tls: str = ""
    username: str = ""
    grant: str = ""
    tenant: str = ""
    client_id: str = ""
    secret_expires: str = ""
    recipient: str = ""
    sender: str = ""
    rewrite_sender: str = ""
    admin: str = ""
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
        return PASSWORDS / self.relay_name if self.username else None


# Answers in place of those that are still to come.
_LATER = {"myhostname": "mail.example.com", "host": "relay.example.com"}


def completed(answers: Answers) -> Answers:
    """Return the answers so far as answers that form settings."""
    later: dict[str, Any] = {key: value for key, value in _LATER.items() if not getattr(answers, key)}
    if answers.provider and (answers.region or "{region}" not in PROVIDERS[answers.provider].host):
        later.pop("host", None)
    return replace(answers, **later)


def answer_faults(answers: Answers) -> dict[str, str]:
    """Return attribute of `Answers` → the fault of its value, for the answers so far."""
    raw = tomllib.loads(initial_settings(completed(answers)))
    faults = {str(loc[-1]).rpartition(".")[2]: message for loc, message in reversed(find_problems(raw))}
    if "allow_cleartext_password" in faults:
        faults["tls"] = (
            "sends the password unencrypted; answer starttls or implicit, or leave the login empty"
        )
    login = login_fault(answers.provider, answers.username) if answers.provider and answers.username else None
    return faults | ({"username": "; ".join(login)} if login else {})


def settings_of(answers: Answers) -> Settings:
    """Return the settings of the answers so far. Raises SettingsError for faults that `answer_faults` names."""
    return parse_settings(tomllib.loads(initial_settings(completed(answers))), "postward init")


def initial_settings(answers: Answers) -> str:
    """Return the text of the settings file."""
    tables = {
        "[host]": _given(
            profile="send-only" if answers.send_only else "",
            myhostname=answers.myhostname,
            inet_protocols="ipv4" if answers.send_only and answers.ipv4_only else "",
            rewrite_sender=answers.rewrite_sender,
            admin=answers.admin,
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
    if provider and provider.username and not answers.username:
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

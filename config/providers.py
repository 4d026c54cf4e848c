"""Known relay providers: `provider = "gmail"` supplies host, port, TLS mode, limits and endpoints. A relay's own settings win.

Sources: the providers' own documentation and the server tables of Thunderbird and nodemailer, as of November 2026.
Undocumented values are left out. Limits shape what Postfix sends; Postward refuses nothing because of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from postward.config.oauth2 import GOOGLE, MICROSOFT, OUTLOOK, Identity, with_identity


@dataclass(frozen=True, slots=True)
class Provider:
    """The preset of a provider.

    Attributes:
        host: the relay's host name; "{region}" stands for relay.region.
        starttls: the port for STARTTLS; None if none is documented.
        implicit: the port for implicit TLS; None if none is documented.
        username: the login name, if all customers have the same one.
        parameters: main.cf parameters that respect the provider's limits.
        identity: its authorization server for OAuth2, if it takes tokens.
        one_sender: it accepts only mail from the login's own address.
    """

    host: str
    starttls: int | None = 587
    implicit: int | None = 465
    username: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    identity: Identity | None = None
    one_sender: bool = False


PROVIDERS: Mapping[str, Provider] = {
    "aliyun-directmail": Provider("smtpdm.aliyun.com", starttls=None, one_sender=True),
    "brevo": Provider("smtp-relay.brevo.com"),
    "exmail": Provider("smtp.exmail.qq.com", starttls=None, one_sender=True),
    "fastmail": Provider("smtp.fastmail.com", starttls=None),
    "gmail": Provider("smtp.gmail.com", parameters={"message_size_limit": "35882577"}, identity=GOOGLE),
    "gmail-relay": Provider("smtp-relay.gmail.com", identity=GOOGLE),
    "mailgun": Provider("smtp.mailgun.org"),
    "mailgun-eu": Provider("smtp.eu.mailgun.org"),
    "mailjet": Provider("in-v3.mailjet.com"),
    # From the fourth connection on: "Concurrent connections limit exceeded".
    "office365": Provider(
        "smtp.office365.com",
        implicit=None,
        parameters={"smtp_destination_concurrency_limit": "2"},
        identity=MICROSOFT,
    ),
    "outlook": Provider("smtp-mail.outlook.com", implicit=None, identity=OUTLOOK),
    "postmark": Provider("smtp.postmarkapp.com", implicit=None),
    "qq": Provider("smtp.qq.com", starttls=None, one_sender=True),
    "163": Provider("smtp.163.com", starttls=None, one_sender=True),
    "126": Provider("smtp.126.com", starttls=None, one_sender=True),
    "sendcloud": Provider(
        "smtp587.sendcloud.net", implicit=None, parameters={"message_size_limit": "16000000"}
    ),
    "sendgrid": Provider("smtp.sendgrid.net", username="apikey"),
    "ses": Provider("email-smtp.{region}.amazonaws.com"),
    "smtp2go": Provider("mail.smtp2go.com"),
    "yandex": Provider("smtp.yandex.com", starttls=None),
    "zoho": Provider("smtp.zoho.com"),
}


# Ports that providers are known not to serve. A port that is not documented may be served all the same.
CLOSED_PORTS: Mapping[str, frozenset[int]] = {
    name: frozenset({465}) for name in ("office365", "postmark", "sendcloud")
}


def with_provider(relay: dict[str, Any]) -> dict[str, Any]:
    """Return a relay's table with the values of its provider for the keys that it leaves out."""
    name = relay.get("provider")
    provider = PROVIDERS.get(name) if isinstance(name, str) else None
    if provider is None:
        return relay
    preset: dict[str, Any] = {"host": provider.host.format(region=relay.get("region", ""))}
    if provider.username:
        preset["username"] = provider.username
    implicit = relay.get("tls") == "implicit" or ("tls" not in relay and provider.starttls is None)
    if port := provider.implicit if implicit else provider.starttls:
        preset["port"] = port
    if provider.identity and isinstance(oauth2 := relay.get("oauth2"), dict):
        preset["oauth2"] = with_identity(oauth2, provider.identity)
        relay = {key: value for key, value in relay.items() if key != "oauth2"}
    return preset | relay

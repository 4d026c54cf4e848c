"""Known relay providers: `provider = "gmail"` supplies host, port, TLS mode, limits and endpoints. A relay's own settings win.

Sources: the providers' own documentation and the server tables of Thunderbird and nodemailer, as of November 2026.
Undocumented values are left out. Limits shape what Postfix sends; Postward refuses nothing because of them.
"""

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import date
from typing import Any, Literal

from postward.config.oauth2 import GOOGLE, MICROSOFT, OUTLOOK, Identity, with_identity

ADDRESS = "the full mail address"
_APP = "an app password"
_CODE = "the authorization code, not the mailbox's password"


@dataclass(frozen=True, slots=True)
class Provider:
    """The preset of a provider.

    Attributes:
        title: its name.
        host: the relay's host name; "{region}" stands for relay.region.
        starttls: the port for STARTTLS; None if none is documented.
        implicit: the port for implicit TLS; None if none is documented.
        hosts: further host names of its relays.
        also: its other names, and the domains of its mailboxes; one with a leading dot stands for all below it.
        username: the login name, if all customers have the same one.
        login: the form of the login name, if it is documented.
        credential: the thing that it takes as the password, if that is documented.
        parameters: main.cf parameters that respect the provider's limits.
        identity: its authorization server for OAuth2, if it takes tokens.
        passwords_end: the day on which it switches logins by password off by default, if it has announced one.
        senders: the senders that it accepts: "login" for the login's own address only, "verified" for those that the
            customer has confirmed to it, "" if nothing is documented.
        spf: the domain that a sender's SPF record has to include; "" if the provider replaces the sender of the
            envelope by an own one, or documents none.
    """

    title: str
    host: str
    _: KW_ONLY
    starttls: int | None = 587
    implicit: int | None = 465
    hosts: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    username: str = ""
    login: str = ""
    credential: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    identity: Identity | None = None
    passwords_end: date | None = None
    senders: Literal["", "verified", "login"] = ""
    spf: str = ""


PROVIDERS: Mapping[str, Provider] = {
    "aliyun-directmail": Provider(
        "Alibaba Cloud DirectMail",
        "smtpdm.aliyun.com",
        starttls=None,
        also=("directmail", "aliyun"),
        login=ADDRESS,
        credential="the SMTP password of the console",
        senders="login",
    ),
    "aliyun-mail": Provider(
        "Alibaba Mail",
        "smtp.qiye.aliyun.com",
        starttls=None,
        also=("qiye", "qiye.aliyun.com"),
        login=ADDRESS,
        credential="the security password",
    ),
    "aurorasendcloud": Provider(
        "AuroraSendCloud",
        "smtp.aurorasendcloud.com",
        implicit=None,
        hosts=("smtp-us.aurorasendcloud.com", "smtp-hk.aurorasendcloud.com"),
        also=("aurora",),
        login="API_USER",
        credential="the API_KEY",
    ),
    "brevo": Provider(
        "Brevo", "smtp-relay.brevo.com", hosts=("smtp-relay.sendinblue.com",), also=("sendinblue",)
    ),
    "elasticemail": Provider("Elastic Email", "smtp.elasticemail.com", starttls=None),
    "exmail": Provider(
        "Tencent Exmail",
        "smtp.exmail.qq.com",
        starttls=None,
        also=("exmail.qq.com",),
        login=ADDRESS,
        senders="login",
        spf="spf.mail.qq.com",
    ),
    "fastmail": Provider(
        "Fastmail",
        "smtp.fastmail.com",
        starttls=None,
        also=("fastmail.com", "fastmail.fm", "messagingengine.com"),
        login=ADDRESS,
        credential=_APP,
        spf="spf.messagingengine.com",
    ),
    "feishu": Provider("Feishu", "smtp.feishu.cn", starttls=None),
    "gmail": Provider(
        "Gmail",
        "smtp.gmail.com",
        hosts=("smtp.googlemail.com",),
        also=("google", "google workspace", "gmail.com", "googlemail.com"),
        login=ADDRESS,
        credential=_APP,
        parameters={"message_size_limit": "35882577"},
        identity=GOOGLE,
        spf="_spf.google.com",
    ),
    "gmail-relay": Provider(
        "Google Workspace SMTP relay",
        "smtp-relay.gmail.com",
        login=f"{ADDRESS}, or empty if this host's IP address is allowed",
        credential=_APP,
        identity=GOOGLE,
        spf="_spf.google.com",
    ),
    "gmx": Provider(
        "GMX",
        "mail.gmx.net",
        hosts=("smtp.gmx.net",),
        also=("gmx.net", "gmx.de", "gmx.at", "gmx.ch"),
        login=ADDRESS,
    ),
    "gmx-com": Provider(
        "GMX International", "mail.gmx.com", hosts=("smtp.gmx.com",), also=("gmx.com",), login=ADDRESS
    ),
    "hetzner": Provider(
        "Hetzner", "mail.your-server.de", starttls=None, also=("konsoleh", "your-server.de"), login=ADDRESS
    ),
    "icloud": Provider(
        "iCloud Mail",
        "smtp.mail.me.com",
        implicit=None,
        also=("apple", "icloud.com", "me.com", "mac.com"),
        spf="icloud.com",
    ),
    "infomaniak": Provider("Infomaniak", "mail.infomaniak.com", implicit=None),
    "mailersend": Provider("MailerSend", "smtp.mailersend.net", implicit=None),
    "mailgun": Provider(
        "Mailgun",
        "smtp.mailgun.org",
        also=("mailgun.com",),
        login=f"{ADDRESS}, at the sending domain",
        credential="the SMTP password of that domain",
        senders="verified",
    ),
    "mailgun-eu": Provider(
        "Mailgun EU",
        "smtp.eu.mailgun.org",
        login=f"{ADDRESS}, at the sending domain",
        credential="the SMTP password of that domain",
        senders="verified",
    ),
    "mailjet": Provider(
        "Mailjet",
        "in-v3.mailjet.com",
        hosts=("in.mailjet.com",),
        login="the API key",
        credential="the secret key",
    ),
    "mailru": Provider(
        "Mail.ru",
        "smtp.mail.ru",
        also=("mail.ru", "bk.ru", "inbox.ru", "list.ru"),
        login=ADDRESS,
    ),
    "mailtrap": Provider("Mailtrap", "live.smtp.mailtrap.io", implicit=None),
    "mandrill": Provider("Mandrill (Mailchimp)", "smtp.mandrillapp.com", implicit=None, also=("mailchimp",)),
    # From the fourth connection on: "Concurrent connections limit exceeded".
    "office365": Provider(
        "Microsoft 365",
        "smtp.office365.com",
        implicit=None,
        hosts=("smtp-legacy.office365.com",),
        also=("microsoft", "o365", "m365", "exchange online", ".onmicrosoft.com"),
        login=ADDRESS,
        parameters={"smtp_destination_concurrency_limit": "2"},
        identity=MICROSOFT,
        passwords_end=date(2026, 12, 31),
        senders="verified",
        spf="spf.protection.outlook.com",
    ),
    "outlook": Provider(
        "Outlook.com",
        "smtp-mail.outlook.com",
        implicit=None,
        also=("hotmail", "hotmail.com", "live.com", "msn.com"),
        login=ADDRESS,
        identity=OUTLOOK,
    ),
    "ovh": Provider("OVHcloud", "ssl0.ovh.net", starttls=None, also=("ovh.net",), login=ADDRESS),
    "postmark": Provider(
        "Postmark",
        "smtp.postmarkapp.com",
        implicit=None,
        also=("postmarkapp.com",),
        login="the Server API Token",
        credential="the same token",
        senders="verified",
    ),
    "postmark-broadcasts": Provider(
        "Postmark broadcasts",
        "smtp-broadcasts.postmarkapp.com",
        implicit=None,
        login="the Server API Token",
        credential="the same token",
        senders="verified",
    ),
    "qq": Provider(
        "QQ Mail",
        "smtp.qq.com",
        starttls=None,
        also=("qq.com", "foxmail.com"),
        login=ADDRESS,
        credential=_CODE,
        senders="login",
    ),
    "163": Provider(
        "NetEase 163",
        "smtp.163.com",
        starttls=None,
        also=("163.com",),
        login=ADDRESS,
        credential=_CODE,
        senders="login",
    ),
    "126": Provider(
        "NetEase 126",
        "smtp.126.com",
        starttls=None,
        also=("126.com",),
        login=ADDRESS,
        credential=_CODE,
        senders="login",
    ),
    "resend": Provider("Resend", "smtp.resend.com", starttls=None),
    "sendcloud": Provider(
        "SendCloud",
        "smtp587.sendcloud.net",
        implicit=None,
        hosts=("smtp.sendcloud.net", "smtp2525.sendcloud.net", "smtpcloud.sohu.com"),
        also=("sohu",),
        login="API_USER",
        credential="the API_KEY",
        parameters={"message_size_limit": "16000000"},
    ),
    "sendgrid": Provider(
        "Twilio SendGrid",
        "smtp.sendgrid.net",
        also=("twilio", "sendgrid.com"),
        username="apikey",
        credential="the API key",
        senders="verified",
    ),
    "ses": Provider(
        "Amazon SES",
        "email-smtp.{region}.amazonaws.com",
        also=("amazon", "aws", "amazonaws.com"),
        login="the SMTP user name of this region, not the IAM access key",
        credential="the SMTP password of this region, not the IAM secret key",
        senders="verified",
    ),
    "smtp2go": Provider(
        "SMTP2GO",
        "mail.smtp2go.com",
        hosts=tuple(f"mail-{region}.smtp2go.com" for region in ("us", "eu", "eu2", "au")),
        login="the SMTP user",
        senders="verified",
    ),
    "sparkpost": Provider("SparkPost", "smtp.sparkpostmail.com", implicit=None),
    "tencent-ses": Provider(
        "Tencent Cloud SES",
        "smtp.qcloudmail.com",
        starttls=None,
        hosts=("sg-smtp.qcloudmail.com", "gz-smtp.qcloudmail.com"),
        also=("tencent", "qcloud"),
        login=ADDRESS,
        credential="the SMTP password",
        senders="verified",
    ),
    "yahoo": Provider(
        "Yahoo Mail",
        "smtp.mail.yahoo.com",
        starttls=None,
        also=("yahoo.com",),
        login=ADDRESS,
        credential=_APP,
    ),
    "yandex": Provider(
        "Yandex Mail",
        "smtp.yandex.com",
        starttls=None,
        hosts=("smtp.yandex.ru",),
        also=("yandex.com", "yandex.ru"),
        login=ADDRESS,
        credential=_APP,
        spf="_spf.yandex.net",
    ),
    "zoho": Provider(
        "Zoho Mail",
        "smtp.zoho.com",
        hosts=("smtp.zoho.in", "smtp.zoho.jp", "smtp.zoho.com.au"),
        also=("zoho.com", "zohomail.com"),
        login=ADDRESS,
    ),
    "zoho-eu": Provider("Zoho Mail EU", "smtp.zoho.eu", also=("zoho.eu", "zohomail.eu"), login=ADDRESS),
}


# Ports that providers are known not to serve. A port that is not documented may be served all the same.
CLOSED_PORTS: Mapping[str, frozenset[int]] = {
    name: frozenset({465}) for name in ("office365", "postmark", "postmark-broadcasts", "sendcloud")
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


def provider_of(host: str) -> tuple[str, Provider] | None:
    """Return name and preset of the provider to which a relay belongs, by its host name."""
    host = host.lower()
    for name, provider in PROVIDERS.items():
        if host in {provider.host, *provider.hosts} or region_of(host, provider):
            return name, provider
    return None


def region_of(host: str, provider: Provider) -> str:
    """Return the region in the host name of a provider's relay; "" without one."""
    prefix, placeholder, suffix = provider.host.partition("{region}")
    name = host.lower()
    fits = placeholder and name.startswith(prefix) and name.endswith(suffix)
    return name[len(prefix) : -len(suffix)] if fits else ""


def find_provider(text: str) -> str | None:
    """Return the name of the preset that a person means by a name, host name, mail domain or mail address."""
    text = text.strip().lower().rpartition("@")[2]
    if found := provider_of(text):
        return found[0]
    plain = _plain(text)
    for name, provider in PROVIDERS.items():
        others = (name, provider.title, *provider.also)
        if plain in map(_plain, others) or any(text.endswith(other) for other in others if other[0] == "."):
            return name
    return None


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", text.lower())


def login_fault(name: str, username: str) -> tuple[str, str] | None:
    """Return the fault of a login name at a provider, and its remedy; None if it has the documented form."""
    provider = PROVIDERS[name]
    if provider.username and username != provider.username:
        return (
            f'is not "{provider.username}", which is the username of every customer of {name}',
            f'write username = "{provider.username}"',
        )
    if provider.login.startswith(ADDRESS) and "@" not in username:
        return (
            f"is not a mail address, which {name} requires",
            "write the whole address, as in user@example.com",
        )
    return None

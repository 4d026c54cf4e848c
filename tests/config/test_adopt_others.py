"""Settings adopted from msmtp, ssmtp, nullmailer, dma and Exim."""

import tomllib
from pathlib import PurePath
from typing import Any

import pytest

from postward.config.adopt import Adopted, NothingToAdoptError
from postward.config.adopt.others import SOURCES
from postward.config.adopt.source import ThisHost
from postward.config.settings import parse_settings

_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_THIS = ThisHost("host.example.org", _AUTHORITIES)
_SEND_ONLY = {"profile": "send-only", "myhostname": "host.example.org"}


def _adopted(program: str, *texts: str) -> Adopted:
    """Adopt the files of a program, given in their order. The settings are valid, and their text has no password."""
    source = SOURCES[program]
    adopted = source.adopt(dict(zip(source.files, texts, strict=False)), _THIS)
    parse_settings(adopted.raw(), "adopted")
    text = adopted.text(PurePath("/etc/postward/passwords"))
    assert not [password for password in adopted.passwords().values() if password in text]
    return adopted


def _tables(adopted: Adopted) -> dict[str, Any]:
    return tomllib.loads(adopted.text(PurePath("/p")))


def _relay(adopted: Adopted, number: int = 0) -> dict[str, Any]:
    relay: dict[str, Any] = _tables(adopted)["relay"][number]
    return relay


_MSMTP = """\
# Set default values for all following accounts.
defaults
auth           on
tls            on
tls_trust_file /etc/ssl/certs/ca-certificates.crt
logfile        ~/.msmtp.log

# Gmail
account        gmail
host           smtp.gmail.com
port           587
from           user@gmail.com
user           user@gmail.com
password       "abcd efgh ijkl mnop"

account        freemail : gmail
host           mail.freemail.example
tls_starttls   off
port           465
from           other@freemail.example
user           other

account default : gmail
"""


def test_msmtp_accounts_become_relays() -> None:
    """The default account takes all mail and gives it its sender; an account that the command chose is listed."""
    adopted = _adopted("msmtp", _MSMTP)
    assert _tables(adopted)["host"] == {**_SEND_ONLY, "rewrite_sender": "user@gmail.com"}
    assert _relay(adopted) == {
        "name": "gmail",
        "provider": "gmail",
        "host": "smtp.gmail.com",
        "port": 587,
        "tls": "starttls",
        "username": "user@gmail.com",
        "password_file": "/p/gmail",
        "verify": True,
        "ca_file": _AUTHORITIES,
    }
    assert adopted.passwords() == {"gmail": "abcd efgh ijkl mnop"}
    assert [one.what for one in adopted.unmanaged] == ["account freemail"]


def test_msmtp_accounts_with_a_sender_of_their_own() -> None:
    """Without a sender in the default account, further accounts take the mail of theirs. TLS begins as configured."""
    adopted = _adopted("msmtp", _MSMTP.replace("from           user@gmail.com\n", ""))
    second = _relay(adopted, 1)
    assert "rewrite_sender" not in _tables(adopted)["host"]
    assert (second["host"], second["port"], second["tls"]) == ("mail.freemail.example", 465, "implicit")
    assert second["senders"] == ["other@freemail.example"]
    assert adopted.passwords()[second["name"]] == "abcd efgh ijkl mnop"  # inherited


def test_a_password_from_a_command_is_listed() -> None:
    """The command is not run and not shown."""
    text = "host smtp.example.net\nauth on\nuser me\ntls on\npasswordeval gpg -d ~/.secret.gpg\n"
    adopted = _adopted("msmtp", f"account default\n{text}")
    assert "username" not in _relay(adopted)
    assert [(one.what, one.why) for one in adopted.unmanaged if "login" in one.what] == [
        ("the login of me at smtp.example.net", "its password comes from passwordeval")
    ]
    assert "gpg" not in repr(adopted)


_SSMTP = """\
# Config file for sSMTP sendmail
root=admin@example.org
mailhub=smtp.office365.com:587
hostname=web1.example.org
UseSTARTTLS=YES
AuthUser=app@example.org
AuthPass=s3cret=with=signs
FromLineOverride=YES
"""


def test_ssmtp() -> None:
    """The hub is the relay. Senders and root's mail are those of before, and mail to the host's name is relayed."""
    adopted = _adopted("ssmtp", _SSMTP, "root:app@example.org:smtp.office365.com:587\n")
    assert _tables(adopted)["host"] == {
        "profile": "send-only",
        "myhostname": "web1.example.org",
        "myorigin": "$myhostname",
        "mydestination": "localhost.$mydomain, localhost",
        "rewrite_senders": {"root@web1.example.org": "app@example.org"},
        "admin": "admin@example.org",
    }
    assert _relay(adopted) == {
        "name": "office365",
        "provider": "office365",
        "host": "smtp.office365.com",
        "port": 587,
        "tls": "starttls",
        "username": "app@example.org",
        "password_file": "/p/office365",
    }
    assert adopted.passwords() == {"office365": "s3cret=with=signs"}
    assert [one.what for one in adopted.unmanaged] == ["root=admin@example.org for users beside root"]


def test_ssmtp_with_a_domain_and_a_short_name() -> None:
    """The domain is that of local senders. The host's own name stands for one without a domain."""
    text = _SSMTP.replace("hostname=web1.example.org", "hostname=web1\nrewriteDomain=shop.example")
    adopted = _adopted(
        "ssmtp", text.replace("root=admin@example.org", "root=postmaster"), "www-data:a@b.example\n"
    )
    host = _tables(adopted)["host"]
    assert (host["myhostname"], host["myorigin"]) == ("host.example.org", "shop.example")
    assert host["rewrite_senders"] == {"www-data@shop.example": "a@b.example"}
    assert ("admin" in host, [one.what for one in adopted.unmanaged]) == (False, ["root=postmaster"])


@pytest.mark.parametrize(
    ("switches", "mode"),
    [
        ("UseTLS=YES", ("implicit", 465)),
        ("", ("none", 25)),
        ("UseTLS=YES\nUseSTARTTLS=YES", ("starttls", 25)),
    ],
)
def test_ssmtp_modes(switches: str, mode: tuple[str, int]) -> None:
    """TLS and port follow from both switches."""
    relay = _relay(_adopted("ssmtp", f"mailhub=mail.example.net\n{switches}\n"))
    assert (relay["tls"], relay["port"]) == mode


def test_nullmailer() -> None:
    """The first remote is the relay, and the second its fallback."""
    remotes = (
        "smtp.example.net smtp --port=587 --starttls --user=me --pass='p w' --auth-login\n"
        "backup.example.com smtp --port=2525 --starttls --insecure\n"
    )
    adopted = _adopted("nullmailer", remotes, "box.example.org\n", "admin@example.org\n")
    first, second = (_relay(adopted, number) for number in (0, 1))
    assert _tables(adopted)["host"]["myhostname"] == "box.example.org"
    assert (first["name"], first["port"], first["username"], first["verify"]) == ("example", 587, "me", True)
    assert (second["host"], second["fallback"], "verify" in second) == ("backup.example.com", True, False)
    assert adopted.passwords() == {"example": "p w"}
    assert _tables(adopted)["host"]["admin"] == "admin@example.org"
    assert [one.what for one in adopted.unmanaged] == ["adminaddr admin@example.org for users beside root"]


def test_dma() -> None:
    """The login is that of the smarthost in auth.conf."""
    conf = "SMARTHOST mail.example.net\nPORT 465\nAUTHPATH /etc/dma/auth.conf\nSECURETRANSFER\nMASQUERADE me@example.net\n"
    adopted = _adopted("dma", conf, "# comment\nx|other.example:no\nme@example.net|mail.example.net:pa:ss\n")
    relay = _relay(adopted)
    assert (relay["port"], relay["tls"], relay["username"]) == (465, "implicit", "me@example.net")
    assert adopted.passwords() == {"example": "pa:ss"}
    assert _tables(adopted)["host"]["rewrite_sender"] == "me@example.net"


_ALIASES = """\
# See man 5 aliases for format
mailer-daemon: postmaster
postmaster:    root
daemon: root
backup: "|/usr/bin/store",
    root
loop: circle
circle: loop
root: ops
ops: Ops@example.org
"""


def test_aliases_of_root() -> None:
    """They are followed. Users with the same address are named, and other aliases are listed."""
    conf = "SMARTHOST mail.example.net\nMAILNAME /etc/mailname\n"
    adopted = _adopted("dma", conf, "", _ALIASES, "box.example.org\n")
    host = _tables(adopted)["host"]
    assert (host["admin"], host["admin_for"]) == ("Ops@example.org", ["daemon", "ops"])
    assert (host["myhostname"], host["myorigin"]) == ("box.example.org", "$myhostname")
    assert [one.what for one in adopted.unmanaged] == ["aliases of backup, loop, circle"]


@pytest.mark.parametrize(
    ("aliases", "admin", "unmanaged"),
    [
        (
            "default: ops@example.org\n",
            "ops@example.org",
            ["alias default: ops@example.org for users beside root"],
        ),
        ("root: /dev/null\n", None, ["alias root: /dev/null"]),
        ("zfs: ops@example.org\n", None, []),
    ],
)
def test_aliases_of_msmtp(aliases: str, admin: str | None, unmanaged: list[str]) -> None:
    """`default` stands for every local user."""
    account = "account default\naliases /etc/aliases\nhost smtp.example.net\ntls on\n"
    adopted = _adopted("msmtp", account, aliases)
    assert _tables(adopted)["host"].get("admin") == admin
    assert [one.what for one in adopted.unmanaged] == unmanaged


@pytest.mark.parametrize(
    ("tls", "pin", "kept"),
    [("SECURETRANSFER\n", "ab" * 32, True), ("", "ab" * 32, False), ("SECURETRANSFER\n", "ab" * 20, False)],
)
def test_dma_with_a_fingerprint(tls: str, pin: str, kept: bool) -> None:
    """The certificate is compared from then on too, where the settings can."""
    adopted = _adopted("dma", f"SMARTHOST mail.example.net\n{tls}FINGERPRINT {pin}\n")
    assert ("fingerprints" in _relay(adopted)) is kept
    assert [one.what for one in adopted.unmanaged] == ([] if kept else ["FINGERPRINT"])


_EXIM = """\
dc_eximconfig_configtype='smarthost'
dc_other_hostnames='web1.example.org'
dc_local_interfaces='127.0.0.1 ; ::1'
dc_relay_nets=''
dc_smarthost='smtp.example.net::587'
dc_hide_mailname='false'
"""


def test_exim() -> None:
    """The smarthost is the relay; passwd.client has its login, also under a pattern."""
    adopted = _adopted("exim", _EXIM, "# comment\n*.example.net:me:pa:ss\n")
    relay = _relay(adopted)
    assert (relay["host"], relay["port"], relay["tls"]) == ("smtp.example.net", 587, "starttls")
    assert adopted.passwords() == {"example": "pa:ss"}
    assert [one.what for one in adopted.unmanaged] == ["dc_other_hostnames=web1.example.org"]


def test_exim_with_hidden_names() -> None:
    """The visible domain is that of senders, or the mail name; single users have an address of their own."""
    hidden = _EXIM.replace("'false'", "'true'") + "dc_readhost='example.org'\n"
    assert _tables(_adopted("exim", hidden))["host"]["myorigin"] == "example.org"
    addresses = "# comment\nroot: me@example.net\n"
    host = _tables(_adopted("exim", _EXIM, "", "root: me@example.net\n", addresses, "box.example\n"))["host"]
    assert (host["myorigin"], host["admin"]) == ("box.example", "me@example.net")
    assert host["rewrite_senders"] == {"root@box.example": "me@example.net"}


def test_exim_without_a_login() -> None:
    """Without a login, Exim uses TLS where the smarthost offers it."""
    assert _relay(_adopted("exim", _EXIM))["tls"] == "opportunistic"


@pytest.mark.parametrize(
    ("program", "text", "reason"),
    [
        ("msmtp", "defaults\n", "has no account"),
        ("ssmtp", "root=x\n", "has no mailhub"),
        ("nullmailer", "", "it names no relay"),
        ("nullmailer", "host qmqp\n", "Postfix has no protocol qmqp"),
        ("dma", "STARTTLS\n", "goes to the MX hosts of its recipients"),
        ("exim", "dc_eximconfig_configtype='internet'\n", "which has no smarthost"),
        ("ssmtp", "mailhub=mail.example.net:99999\n", "is not a port"),
    ],
)
def test_nothing_to_adopt(program: str, text: str, reason: str) -> None:
    """The reason is given where the configuration names no relay."""
    with pytest.raises(NothingToAdoptError, match=reason):
        _adopted(program, text)


def test_a_login_that_postfix_cannot_have_is_listed() -> None:
    """A user name with a colon, and a password with a blank at its end, are left out."""
    adopted = _adopted("nullmailer", "h.example.net smtp --starttls --user=a:b --pass=x\n")
    assert ("the login at h.example.net", "the user name has a colon") in [
        (one.what, one.why) for one in adopted.unmanaged
    ]
    assert adopted.passwords() == {}

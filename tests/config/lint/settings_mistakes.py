"""Mistakes in valid settings, each with exactly the findings that lint reports for it."""

from collections.abc import Callable

from tests.config.lint.host import Host

_HOST = '[host]\nmyhostname = "client.example.test"\n'


def _relay(host: str, username: str = "relay-user", more: str = "") -> str:
    return f'{_HOST}[[relay]]\nname = "a"\nhost = "{host}"\nusername = "{username}"\npassword = "Gr33n-Fern-s3cret"\n{more}\n'


def _file(name: str, mode: int, text: str = "") -> Callable[[Host], object]:
    def make(host: Host) -> None:
        host.write(name, text)
        (host.system / name).chmod(mode)

    return make


_GOOD = _relay("smtp.relay.test")
_PASSWORD_FILE = _GOOD.replace('password = "Gr33n-Fern-s3cret"', 'password_file = "SYSTEM/password"')


def _nothing(_: Host) -> None:
    pass


# Rows: the mistake, the settings, the change to the host, and the identifiers of the findings.
SETTINGS_MISTAKES: tuple[tuple[str, str, Callable[[Host], object], set[str]], ...] = (
    ("no mistake", _GOOD, _nothing, set()),
    (
        "senders of the first relay",
        _relay("smtp.relay.test", more='senders = ["@shop.test"]'),
        _nothing,
        {"settings-first-senders"},
    ),
    (
        "a relay by recipient without probes",
        f'{_GOOD}[[relay]]\nname = "b"\nhost = "b.test"\nrecipients = ["@b.test"]\n[probe]\nrecipient = "probe@c.test"\n',
        _nothing,
        {"settings-relay-not-probed"},
    ),
    (
        "two accounts that the log does not distinguish",
        _GOOD
        + _relay("smtp.relay.test", "other").removeprefix(_HOST).replace('"a"', '"b"')
        + 'senders = ["@b.test"]\n',
        _nothing,
        {"settings-counted-as-another"},
    ),
    (
        "probes from another domain",
        f'{_GOOD}[probe]\nrecipient = "probe@b.test"\nsender = "probe@c.test"\n',
        _nothing,
        {"settings-sender-domain"},
    ),
    (
        "port 465 of a provider that does not offer it",
        _relay("smtp.office365.com", "app@example.test", "port = 465"),
        _nothing,
        {"settings-provider-port", "settings-password-at-microsoft"},
    ),
    (
        "a password at Outlook.com",
        _relay("smtp-mail.outlook.com", "app@example.test"),
        _nothing,
        {"settings-password-at-microsoft"},
    ),
    (
        "a password at Microsoft by LOGIN",
        _relay("smtp.office365.com", "app@example.test", 'auth = "login"'),
        _nothing,
        {"settings-password-at-microsoft"},
    ),
    (
        "SendGrid with a user name other than apikey",
        _relay("smtp.sendgrid.net"),
        _nothing,
        {"settings-provider-login"},
    ),
    (
        "Gmail with a user name that is not an address",
        _relay("smtp.gmail.com"),
        _nothing,
        {"settings-provider-login"},
    ),
    (
        "SES with a user name of the AWS console",
        _relay("email-smtp.eu-west-1.amazonaws.com"),
        _nothing,
        {"settings-ses-login"},
    ),
    (
        "a provider that accepts only the sender address of the login",
        _relay("smtp.exmail.qq.com", "app@example.test", "port = 465"),
        _nothing,
        {"settings-provider-sender"},
    ),
    (
        "probes to a domain of this host",
        f'{_GOOD}[probe]\nrecipient = "probe@b.test"\n',
        lambda h: h.set("virtual_alias_domains = b.test"),
        {"settings-probe-stays-here"},
    ),
    ("a password file that does not exist", _PASSWORD_FILE, _nothing, {"settings-password-file-missing"}),
    (
        "a world-readable password file",
        _PASSWORD_FILE,
        _file("password", 0o644),
        {"settings-password-readable"},
    ),
    (
        "a CA file that does not exist",
        _GOOD.replace("username", 'ca_file = "/nowhere/ca.crt"\nusername'),
        _nothing,
        {"settings-ca-file"},
    ),
    (
        "a CA file without a certificate",
        _GOOD.replace("username", 'ca_file = "SYSTEM/ca"\nusername'),
        _file("ca", 0o644, "none\n"),
        {"settings-ca-file"},
    ),
    (
        "a table type that this Postfix does not support",
        f'{_GOOD}[postfix]\nmap_type = "dbm"\n',
        _nothing,
        {"settings-map-type"},
    ),
    (
        "a number with a unit",
        f'{_GOOD}[main_cf]\nmessage_size_limit = "10MB"\n',
        _nothing,
        {"settings-main-cf-value"},
    ),
    (
        "a boolean that is neither yes nor no",
        f'{_GOOD}[main_cf]\nsoft_bounce = "on"\n',
        _nothing,
        {"settings-main-cf-value"},
    ),
    (
        "a time with a space before its unit",
        f'{_GOOD}[main_cf]\nqueue_run_delay = "5 min"\n',
        _nothing,
        {"settings-main-cf-value"},
    ),
    (
        "an instance without settings",
        _GOOD,
        lambda host: host.append("multi_instance_directories = /etc/postfix-out"),
        {"settings-instance-missing"},
    ),
    (
        "a misspelt parameter",
        f"{_GOOD}[main_cf]\nmesage_size_limit = 1\n",
        _nothing,
        {"settings-main-cf-name"},
    ),
)

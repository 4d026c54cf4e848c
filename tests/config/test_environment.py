"""Overrides from the environment: their effect, and the messages for bad ones."""

from pathlib import Path

import pytest

from postward.config.errors import SettingsError
from postward.config.settings import Settings
from tests.config.samples import load, toml

TWO_RELAYS = toml(
    relay='name = "send-cloud"\nusername = "u"\npassword_file = "/p"',
    more='[[relay]]\nname = "b"\nhost = "smtp.example.org"\nsenders = ["@b.example"]\n',
)


def value_of(settings: Settings, path: str) -> object:
    """Return a setting by its path, as in `relay.0.port`."""
    value: object = settings
    for part in path.split("."):
        match value:
            case list():
                value = value[int(part)]
            case dict():
                value = value[part]
            case _:
                value = getattr(value, part)
    return value


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("POSTWARD_HOST__MYHOSTNAME", "app.example.org", "host.myhostname", "app.example.org"),
        ("POSTWARD_HOST__MYHOSTNAME", "app.example.org", "host.domain", "example.org"),
        ("POSTWARD_HOST__PROFILE", "send-only", "host.mydomain", "example.com"),
        ("postward_host__myhostname", "app.example.org", "host.myhostname", "app.example.org"),
        ("POSTWARD_HOST__MYDESTINATION", "", "host.mydestination", ""),
        (
            "POSTWARD_HOST__MYNETWORKS",
            "127.0.0.0/8, 10.0.0.0/8",
            "host.mynetworks",
            "127.0.0.0/8, 10.0.0.0/8",
        ),
        ("POSTWARD_WEB__LISTEN", "[::1]:80", "web.listen", "[::1]:80"),
        ("POSTWARD_ENFORCE__INTERVAL_SECONDS", " 5 ", "enforce.interval_seconds", 5),
        ("POSTWARD_ENFORCE__MODE", "observe", "enforce.mode", "observe"),
        ("POSTWARD_RELAY__SEND_CLOUD__PORT", "2525", "relay.0.port", 2525),
        ("POSTWARD_RELAY__SEND_CLOUD__TLS", "implicit", "relay.0.tls", "implicit"),
        ("POSTWARD_RELAY__SEND_CLOUD__ALLOW_UNUSUAL_PORT", "yes", "relay.0.allow_unusual_port", True),
        ("POSTWARD_RELAY__SEND_CLOUD__ALLOW_UNUSUAL_PORT", "0", "relay.0.allow_unusual_port", False),
        ("POSTWARD_RELAY__B__HOST", "smtp2.example.org", "relay.1.host", "smtp2.example.org"),
        (
            "POSTWARD_RELAY__B__SENDERS",
            "@c.example, d@e.example",
            "relay.1.senders",
            ["@c.example", "d@e.example"],
        ),
        ("POSTWARD_RELAY__B__NAME", "c", "relay.1.name", "c"),
        ("POSTWARD_LOG__SOURCE", "journal", "log.source", "journal"),
        ("POSTWARD_LOG__SOURCE", "/var/log/a.log", "log.source", "/var/log/a.log"),
        (
            "POSTWARD_LOG__SOURCE",
            "/var/log/a.log, /var/log/b.log",
            "log.source",
            ["/var/log/a.log", "/var/log/b.log"],
        ),
        ("POSTWARD_MAIN_CF__MESSAGE_SIZE_LIMIT", "1000", "main_cf.message_size_limit", "1000"),
        ("POSTWARD_MAIN_CF__smtpd_tls_CApath", "/etc/ssl", "main_cf.smtpd_tls_CApath", "/etc/ssl"),
    ],
)
def test_a_variable_overrides_the_file(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, path: str, value: object
) -> None:
    """Text is converted to the setting's type."""
    monkeypatch.setenv(variable, text)
    file = TWO_RELAYS.replace("senders", "port = 465\nsenders") if value == "implicit" else TWO_RELAYS
    assert value_of(load(file), path) == value


def test_a_relay_keeps_settings_that_are_not_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two variables change two keys of one relay; the other relay is unchanged."""
    file = load(TWO_RELAYS)
    monkeypatch.setenv("POSTWARD_RELAY__SEND_CLOUD__HOST", "other.example.net")
    monkeypatch.setenv("POSTWARD_RELAY__SEND_CLOUD__PORT", "2525")
    patched = load(TWO_RELAYS)
    assert patched.relay[0] == file.relay[0].model_copy(update={"host": "other.example.net", "port": 2525})
    assert patched.relay[1] == file.relay[1]


NO_SECTION = (
    "is not a setting; the sections are: "
    "HOST, RELAY, MAIN_CF, POSTFIX, LOG, ENFORCE, PROBE, MAILBOX, BOUNCES, WEB, QUEUE, EVENTS, NOTIFY, REPORT, STATE"
)
NO_SENDER = 'must be an address such as "app@example.com" or a domain such as "@example.com", not "bad"'
DECORATED = (
    'must be a host name without brackets and port, not "[smtp.example.org]:25"; '
    'write host = "smtp.example.org" and port = 25'
)
SOURCES = r'must be "auto", "journal", "journal:/directory", "-" (standard input) or an absolute path, not "[\"/a.log\"]"'
NO_INTEGER = "must be an integer, without quotes or fraction"


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("POSTWARD_HOTS__MYHOSTNAME", "x", NO_SECTION),
        ("POSTWARD_HOST__MYHOSTNAM", "x", "is not a setting; did you mean myhostname?"),
        ("POSTWARD_HOST_MYHOSTNAME", "x", "is not a setting; write POSTWARD_HOST__MYHOSTNAME"),
        ("POSTWARD_HOST", '{"myhostname": "x"}', "is not a setting; write POSTWARD_HOST__KEY"),
        (
            "POSTWARD_RELAY",
            '[{"name": "x", "password": "hunter2"}]',
            "is not a setting; write POSTWARD_RELAY__NAME__KEY",
        ),
        ("POSTWARD_RELAY_PASSWORD", "hunter2", "is not a setting; write POSTWARD_RELAY__NAME__PASSWORD"),
        ("POSTWARD_RELAY__PASSWORD", "hunter2", "is not a setting; write POSTWARD_RELAY__NAME__PASSWORD"),
        (
            "POSTWARD_RELAY__UNKNOWN__PASSWORD",
            "hunter2",
            "no relay has this name; the relays are: SEND_CLOUD, B",
        ),
        ("POSTWARD_RELAY__B__PORT", "smtp", NO_INTEGER),
        ("POSTWARD_RELAY__B__PORT", "-1", NO_INTEGER),
        ("POSTWARD_RELAY__B__PORT", "٢٥", NO_INTEGER),
        ("POSTWARD_RELAY__B__PORT", "9" * 5000, NO_INTEGER),
        (
            "POSTWARD_RELAY__B__PROVIDER",
            "gmial",
            'must be a known provider, not "gmial"; did you mean gmail?',
        ),
        ("POSTWARD_RELAY__B__VERIFY", "maybe", "must be true or false, without quotes"),
        ("POSTWARD_RELAY__B__HOST", "[smtp.example.org]:25", DECORATED),
        ("POSTWARD_RELAY__B__SENDERS", "@ok.example bad", NO_SENDER),
        ("POSTWARD_RELAY__B__PORTS", "25", "is not a setting; did you mean port?"),
        (
            "POSTWARD_MAIN_CF__RELAYHOST",
            "[x]",
            "is derived from host and port of the first [[relay]]; set it there and remove it here",
        ),
        (
            "POSTWARD_LOG__SOURCE",
            "/var/log/a.log auto",
            'must list only absolute paths, "journal" and "journal:/directory", not "auto"',
        ),
        (
            "POSTWARD_LOG__SOURCE",
            "/a.log,/a.log",
            'must list each file once, not "/a.log" twice: its lines would count twice',
        ),
        ("POSTWARD_LOG__SOURCE", '["/a.log"]', SOURCES),
        (
            "POSTWARD_WEB__LISTEN",
            "80",
            'must be address and port, as in "127.0.0.1:19787" or "[::1]:19787", not "80"',
        ),
        ("POSTWARD_WEB__LISTEN", "\udcff", "must be text in UTF-8"),
    ],
)
def test_a_bad_variable_is_reported_by_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, message: str
) -> None:
    """The message names the variable, not the file. It does not repeat a value that could be a secret."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError) as refusal:
        load(TWO_RELAYS)
    (problem,) = refusal.value.problems
    assert problem == f"environment: {variable}: {message}"
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("POSTWARD_CONFIG", "/etc/postward/other.toml"),
        ("POSTWARD_PORT", "tcp://10.0.0.1:19787"),
        ("POSTWARD_SERVICE_HOST", "10.0.0.1"),
        ("POSTWARD_WEB_PORT", "tcp://10.0.0.1:80"),
        ("POSTWARDEN__X", "y"),
        ("HOST__MYHOSTNAME", "y"),
    ],
)
def test_other_variables_are_ignored(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    """POSTWARD_CONFIG names the file; Kubernetes sets POSTWARD_PORT for a service called postward."""
    monkeypatch.setenv(variable, text)
    with_it = load(TWO_RELAYS)
    monkeypatch.delenv(variable)
    assert with_it == load(TWO_RELAYS)


def test_problems_of_environment_and_file_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in one does not hide an error in the other."""
    monkeypatch.setenv("POSTWARD_HOST__MYDOMIN", "x")
    monkeypatch.setenv("POSTWARD_RELAY__UNKNOWN__PORT", "25")
    with pytest.raises(SettingsError) as refusal:
        load(toml(relay="port = 0"))
    assert refusal.value.problems == (
        "environment: POSTWARD_HOST__MYDOMIN: is not a setting; did you mean mydomain?",
        "postward.toml: relay.a.port: must be at least 1",
        "environment: POSTWARD_RELAY__UNKNOWN__PORT: no relay has this name; the relays are: A",
    )


@pytest.mark.parametrize("file", ["host = 3\nrelay = 3", 'relay = [1, "x"]', ""])
def test_overrides_of_a_bad_file_are_refused(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """The faults of the file are reported as without overrides."""
    monkeypatch.setenv("POSTWARD_HOST__MYDOMAIN", "example.com")
    monkeypatch.setenv("POSTWARD_RELAY__A__PORT", "25")
    with pytest.raises(SettingsError):
        load(file)


def test_an_ambiguous_relay_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a variable, a-b and a_b are both A_B."""
    monkeypatch.setenv("POSTWARD_RELAY__A_B__PORT", "25")
    more = '[[relay]]\nname = "a_b"\nhost = "smtp.example.org"\nsenders = ["@b.example"]\n'
    with pytest.raises(SettingsError) as refusal:
        load(toml(relay='name = "a-b"', more=more))
    assert str(refusal.value) == (
        "environment: POSTWARD_RELAY__A_B__PORT: several relays have this name; the relays are: A_B, A_B"
    )


NO_RELAY = '[host]\nmyhostname = "mail.example.com"\n'


def test_variables_define_the_relays_of_a_file_without_relays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a container: the relay for all mail is first, whatever its name; the password stays in its file."""
    password = tmp_path / "password"
    password.write_text("s3cret")
    for variable, text in {
        "POSTWARD_RELAY__ALERTS__PROVIDER": "gmail",
        "POSTWARD_RELAY__ALERTS__SENDERS": "@alerts.example",
        "POSTWARD_RELAY__MAIN_ONE__HOST": "smtp.example.org",
        "POSTWARD_RELAY__MAIN_ONE__PORT": "2525",
        "POSTWARD_RELAY__MAIN_ONE__USERNAME": "app",
        "POSTWARD_RELAY__MAIN_ONE__PASSWORD_FILE": str(password),
    }.items():
        monkeypatch.setenv(variable, text)
    main, alerts = load(NO_RELAY).relay
    assert (main.name, main.next_hop, main.username) == ("main_one", "[smtp.example.org]:2525", "app")
    assert main.read_password() == "s3cret"
    assert (alerts.name, alerts.host, alerts.senders) == ("alerts", "smtp.gmail.com", ["@alerts.example"])


@pytest.mark.parametrize(
    ("variables", "problems"),
    [
        (
            {"POSTWARD_RELAY__A__USERNAME": "app", "POSTWARD_RELAY__A__PASSWORD": "hunter2"},
            ["A__HOST: is missing; add it (postward check --example shows every setting)"],
        ),
        (
            {"POSTWARD_RELAY__A__HOST": "smtp.example.org", "POSTWARD_RELAY__A__USERNAME": "app"},
            [
                (
                    "A__PASSWORD: is required, because username is set; "
                    "add password_file, password_credential or password"
                )
            ],
        ),
        (
            {"POSTWARD_RELAY__A__HOST": "smtp.example.org", "POSTWARD_RELAY__A__PORTS": "25"},
            ["A__PORTS: is not a setting; did you mean port?"],
        ),
        (
            {"POSTWARD_RELAY__A__HOST": "smtp.example.org", "POSTWARD_RELAY__B__HOST": "smtp.example.net"},
            [
                (
                    "B__SENDERS: is required: the first relay takes all mail, and this one would receive none; "
                    'write senders = ["@example.com"], recipients = ["@example.com"], or fallback = true'
                )
            ],
        ),
        (
            {"POSTWARD_RELAY__local__HOST": "smtp.example.org"},
            [
                'LOCAL__NAME: must not be "local": metrics use it for mail that took no configured relay; choose another name'
            ],
        ),
    ],
)
def test_a_relay_of_variables_alone_is_reported_by_the_variable_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problems: list[str]
) -> None:
    """A setting that is missing is named as the variable that would set it."""
    for variable, text in variables.items():
        monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError) as refusal:
        load(NO_RELAY)
    assert list(refusal.value.problems) == [f"environment: POSTWARD_RELAY__{problem}" for problem in problems]
    assert "hunter2" not in str(refusal.value)

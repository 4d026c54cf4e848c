"""Bad settings are refused with exact messages: bad_settings.txt, which explains its format."""

from pathlib import Path
from typing import NamedTuple

import pytest

from postward.config.errors import SettingsError
from postward.config.settings import load_settings
from tests.config.samples import load, names_a_remedy, toml


class Row(NamedTuple):
    """A bad text, its location in the settings file, and the expected messages."""

    where: str
    text: str
    messages: list[str]


def _rows() -> list[Row]:
    table = Path(__file__).with_name("bad_settings.txt").read_text(encoding="utf-8")
    rows = []
    for row in ("\n" + table).split("\n=== ")[2:]:
        where, _, rest = row.partition("\n")
        text, _, messages = rest.partition("---\n")
        rows.append(Row(where, text, messages.strip("\n").split("\n")))
    return rows


ROWS = _rows()


@pytest.mark.parametrize("row", ROWS, ids=[row.text for row in ROWS])
def test_bad_settings_are_refused_with_exact_messages(row: Row) -> None:
    """Each message has file, key, fault and remedy."""
    with pytest.raises(SettingsError) as refusal:
        load(row.text if row.where == "file" else toml(**{row.where: row.text}))
    assert list(refusal.value.problems) == row.messages


def test_every_message_has_file_key_fault_and_remedy() -> None:
    """All messages have the form `file: key: what is wrong; what is right`, and every row was parsed."""
    assert len(ROWS) > 100
    for message in (message for row in ROWS for message in row.messages):
        source, key, text = message.split(": ", 2)
        assert source == "postward.toml"
        assert key
        assert names_a_remedy(text)


def test_all_problems_are_reported_at_once() -> None:
    """One error does not hide another: the refusal lists the faults of all tables."""
    text = toml(
        host='myhostname = "mail"\ninet_protocols = "ip4"',
        relay='port = "587"\nverify = 1',
        more='[[relay]]\nname = "a"\nhost = "[x]"\n[main_cf]\nrelayhost = "x"\n[web]\nlisten = "x"\n[what]\n',
    )
    with pytest.raises(SettingsError) as refusal:
        load(text)
    assert [problem.split(": ")[1] for problem in refusal.value.problems] == [
        "host.myhostname",
        "host.inet_protocols",
        "relay[1].port",
        "relay[1].verify",
        "relay[2].host",
        "main_cf.relayhost",
        "web.listen",
        "what",
        "relay[2].name",
        "relay[2].senders",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'x = "\xff"', "must be text in UTF-8; save it as UTF-8"),
        (
            b"x = hunter2",
            "is not valid TOML: Invalid value (at line 1, column 5); write settings as key = value, strings in quotes",
        ),
        (
            b'password = "hunter2',
            "is not valid TOML: Unterminated string (at end of document); write settings as key = value, strings in quotes",
        ),
        (
            b"x = " + b"[" * 20000,
            "is not valid TOML: a value is too large; write settings as key = value, strings in quotes",
        ),
        (
            b"x = " + b"9" * 5000,
            "is not valid TOML: a value is too large; write settings as key = value, strings in quotes",
        ),
    ],
    ids=["not UTF-8", "no quotes", "open quote", "too deep", "too long a number"],
)
def test_a_file_that_is_not_toml_is_refused_without_its_content(
    tmp_path: Path, content: bytes, message: str
) -> None:
    """The refusal names the file and repeats nothing of its content."""
    path = tmp_path / "postward.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as refusal:
        load_settings(path)
    assert refusal.value.problems == (f"{path}: {message}",)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """The message names the option that sets the path."""
    path = tmp_path / "postward.toml"
    with pytest.raises(SettingsError) as refusal:
        load_settings(path)
    assert str(refusal.value) == f"{path}: No such file or directory; name the settings file with --config"


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "postward.toml"
    path.write_bytes(b"\xef\xbb\xbf" + toml().encode())
    assert load_settings(path) == load(toml())


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("host", 'myhostname = "app.corp.local"'),
        (
            "host",
            'mynetworks = ["127.0.0.0/8", "[2001:db8::]/32", "!10.0.0.1", "hash:/etc/postfix/n", "/etc/n"]',
        ),
        ("host", 'inet_interfaces = ["127.0.0.1", "[::1]", "$myhostname"]'),
        ("host", "mydestination = []"),
        ("host", 'myorigin = "example.org"\nmydomain = "example.net"'),
        ("relay", 'host = "2001:db8::1"'),
        ("relay", 'host = "sm_tp.example.net"'),
        ("relay", 'tls = "implicit"\nport = 587\nallow_unusual_port = true'),
        ("relay", "port = 465"),
        ("relay", 'tls = "none"\nport = 25'),
        ("relay", 'username = "a b#1@ü"\npassword_credential = "relay"'),
        (
            "more",
            '[main_cf]\nsmtpd_banner = "  $myhostname # $$5 "\nmaximal_queue_lifetime = "1d"\nsoft_bounce = false',
        ),
        ("more", '[log]\nsource = "/var/log/mail.log"\n[web]\nlisten = "[::1]:0"'),
        (
            "more",
            "".join(
                f'[[relay]]\nname = "r{n}"\nhost = "r{n}.example"\nsenders = ["@{n}.example"]\n'
                for n in range(50)
            ),
        ),
    ],
)
def test_unusual_settings_that_work_are_accepted(where: str, text: str) -> None:
    """Validation refuses nothing that Postfix supports."""
    load(toml(**{where: text}))

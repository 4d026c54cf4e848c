"""The sources of passwords, and that no output shows them."""

import json
import logging
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from postward.config.desired import PostfixFacts, desired_state
from postward.config.drift import ActualState, TableState, drift
from postward.config.environment import models_of, read_overrides
from postward.config.errors import SettingsError
from postward.config.plan import diff, plan
from postward.config.relay import Relay, read_passwords
from postward.config.settings import Settings, load_settings, parse_settings
from tests.config.samples import SECRET, load, toml

FACTS = PostfixFacts("/etc/postfix", "hash", frozenset({"hash"}))
INLINE = toml(relay=f'username = "u"\npassword = {json.dumps(SECRET, ensure_ascii=False)}')


def relay(lines: str) -> Relay:
    """Return a relay with a username and these lines."""
    return load(toml(relay=f'username = "u"\n{lines}')).relay[0]


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (SECRET.encode(), SECRET),
        (b"#not:a comment", "#not:a comment"),
        (b"x" * 5000, "x" * 5000),
    ],
)
def test_a_file_holds_only_the_password(tmp_path: Path, content: bytes, password: str) -> None:
    """A final line end is dropped; everything else belongs to the password."""
    path = tmp_path / "password"
    path.write_bytes(content)
    assert relay(f'password_file = "{path}"').read_password() == password


UNFIT = [
    (b"", "must not be empty; write the password"),
    (b"\n", "must not be empty; write the password"),
    (b" hunter2\n", "must not begin or end with a blank: postmap drops it; write the password without"),
    (b"hunter2 \n", "must not begin or end with a blank: postmap drops it; write the password without"),
    (b"hunter2\nagain\n", "must be a single line without control characters"),
    (b"hunter2\0", "must be a single line without control characters"),
    (b"hunter2\xff", "must be text in UTF-8; write only the password into it"),
]


@pytest.mark.parametrize(("content", "message"), UNFIT)
def test_a_password_that_sasl_passwd_cannot_carry_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    """The message names file and setting, and shows nothing of the content."""
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as refusal:
        relay(f'password_file = "{path}"').read_password()
    assert str(refusal.value) == f"{path}: relay.a.password_file: {message}"


def test_a_missing_password_file_is_reported(tmp_path: Path) -> None:
    """The message says what the file must be."""
    path = tmp_path / "password"
    with pytest.raises(SettingsError) as refusal:
        relay(f'password_file = "{path}"').read_password()
    assert str(refusal.value) == (
        f"{path}: relay.a.password_file: No such file or directory; the file must hold the password and be readable by root"
    )


def test_settings_load_without_access_to_passwords() -> None:
    """The agent that reads logs does not need the passwords."""
    assert relay('password_file = "/nonexistent/password"').password_file == "/nonexistent/password"


def test_a_systemd_credential_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of LoadCredential= are in CREDENTIALS_DIRECTORY (systemd.exec(5))."""
    (tmp_path / "relay").write_text("hunter2\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert relay('password_credential = "relay"').read_password() == "hunter2"


def test_a_missing_credentials_directory_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message shows the line that the unit lacks."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SettingsError) as refusal:
        relay('password_credential = "relay"').read_password()
    assert str(refusal.value) == (
        "environment: relay.a.password_credential: CREDENTIALS_DIRECTORY is not set: systemd passed no credentials "
        "to this process; add LoadCredential=relay:FILE to the service"
    )


def test_all_unreadable_passwords_are_reported_at_once() -> None:
    """Two relays with missing files give two problems; a relay without a login gives no problem."""
    text = toml(
        relay='username = "u"\npassword_file = "/nonexistent/a"',
        more="".join(
            f'[[relay]]\nname = "{name}"\nhost = "{name}.example"\nsenders = ["@{name}.example"]\n{login}\n'
            for name, login in (("b", 'username = "u"\npassword_file = "/nonexistent/b"'), ("c", ""))
        ),
    )
    with pytest.raises(SettingsError) as refusal:
        read_passwords(load(text).relay)
    assert [problem.split(": ")[:2] for problem in refusal.value.problems] == [
        ["/nonexistent/a", "relay.a.password_file"],
        ["/nonexistent/b", "relay.b.password_file"],
    ]
    assert read_passwords(load(INLINE).relay) == {"a": SECRET}


def test_an_unusual_password_is_written_unchanged() -> None:
    """sasl_passwd holds `#`, `:`, blanks, quotes and non-ASCII letters unquoted: postmap(1) has no quoting."""
    settings = load(INLINE)
    (table,) = desired_state(settings, FACTS, read_passwords(settings.relay)).tables
    assert table.text.split("\n")[1] == f"[smtp.example.net]:587 u:{SECRET}"


def _everything_printable() -> dict[str, str]:
    """Return settings, states and plans as text, by the way of conversion."""
    settings = load(INLINE)
    state = desired_state(settings, FACTS, read_passwords(settings.relay))
    old = TableState(state.tables[0].text + f"x u:{SECRET}\n", 0o644, (0, 0))
    drifts = drift(
        state, ActualState({"smtp_sasl_password_maps": f"static:u:{SECRET}"}, {"sasl_passwd": old})
    )
    planned = plan(drifts)
    return {
        "repr(settings)": repr(settings),
        "str(settings)": str(settings),
        "model_dump": repr(settings.model_dump()),
        "model_dump as JSON values": repr(settings.model_dump(mode="json")),
        "model_dump_json": settings.model_dump_json(),
        "repr(relay)": repr(settings.relay[0]),
        "repr(state)": repr(state),
        "repr(table)": repr(state.tables[0]),
        "repr(old)": repr(old),
        "repr(drifts)": repr(drifts),
        "repr(plan)": repr(planned),
        "plan parameters": repr(planned.parameters),
        "diff": "\n".join(diff(planned)),
        "overrides": repr(
            read_overrides(
                {"POSTWARD_RELAY__A__PASSWORD": SECRET}, {"relay": [{"name": "a"}]}, models_of(Settings)
            )
        ),
    }


@pytest.mark.parametrize("way", _everything_printable())
def test_no_conversion_to_text_shows_the_password(way: str) -> None:
    """The results of repr, str, dumps, drift and diff do not hold it."""
    text = _everything_printable()[way]
    assert text
    assert SECRET not in text
    assert "S3cr" not in text


def _wrong_type() -> None:
    parse_settings(
        {"host": {}, "relay": [{"name": "a", "host": 3, "username": 3, "password": [SECRET]}]}, "f"
    )


def _wrong_place() -> None:
    parse_settings({"password": SECRET, "host": {"password": SECRET}, "relay": {"password": SECRET}}, "f")


def _no_username() -> None:
    load(INLINE.replace('username = "u"', ""))


def _url_as_host() -> None:
    load(toml(relay=f"host = {json.dumps(f'smtp://u:{SECRET}@smtp.example.net')}"))


def _bad_password() -> None:
    load(toml(relay=f'username = "u"\npassword = {json.dumps(" " + SECRET)}'))


def _in_main_cf() -> None:
    load(toml(more=f"[main_cf]\nx_password_maps = {json.dumps(f'static:u:{SECRET}')}\n"))


def _in_the_environment() -> None:
    overrides = {"relay": [{"name": "a", "host": "[x]", "username": "u", "password": SECRET}], "host": 3}
    parse_settings(overrides, "f")


@pytest.mark.parametrize(
    "fault",
    [
        _wrong_type,
        _wrong_place,
        _no_username,
        _url_as_host,
        _bad_password,
        _in_main_cf,
        _in_the_environment,
    ],
)
def test_no_error_shows_the_password(fault: Callable[[], None], caplog: pytest.LogCaptureFixture) -> None:
    """Neither message, nor repr, nor traceback with causes, nor a log record shows it."""
    with pytest.raises(SettingsError) as refusal:
        fault()
    logging.getLogger("test").error("bad settings", exc_info=refusal.value)
    chain: BaseException | None = refusal.value
    texts = [caplog.text, "".join(traceback.format_exception(refusal.value))]
    while chain is not None:
        texts += [str(chain), repr(chain)]
        chain = chain.__context__
    # The test's own source lines hold the name of the secret, never its value.
    assert all("S3cr" not in text for text in texts)


def test_a_file_that_ends_within_the_password_does_not_show_it(tmp_path: Path) -> None:
    """A TOML error shows the position, not the text."""
    path = tmp_path / "postward.toml"
    path.write_text(f'[[relay]]\npassword = "{SECRET.replace(chr(34), "")}\n', encoding="utf-8")
    with pytest.raises(SettingsError) as refusal:
        load_settings(path)
    assert str(refusal.value) == (
        f"{path}: is not valid TOML: Illegal character '\\n' (at line 2, column 30); write settings as key = value, strings in quotes"
    )


def test_an_error_survives_pickling() -> None:
    """An exception from another process keeps its problems."""
    error = SettingsError(["a", "b"])
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert copy.problems == error.problems == ("a", "b")
    assert str(copy) == str(error) == "a\nb"


def _as_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return a password file that this process may not read, and systemd's copy of it."""
    file, copy = tmp_path / "passwords/demo", tmp_path / "credentials/passwords_demo"
    for path in (file, copy):
        path.parent.mkdir()
        path.write_text(SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(copy.parent))
    monkeypatch.setattr("postward.config.passwords.os.access", lambda path, _mode: path != file)
    return file, copy


def test_systemds_copy_replaces_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LoadCredential=passwords:FOLDER names copies passwords_FILE."""
    file, copy = _as_credential(tmp_path, monkeypatch)
    file.write_text("not read")
    os.utime(file, (0, 0))
    assert copy.read_text() == SECRET
    assert relay(f'password_file = "{file}"').read_password() == SECRET


def test_a_copy_older_than_the_file_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rotation the former password must not be tried."""
    file, copy = _as_credential(tmp_path, monkeypatch)
    file.write_text("rotated")
    os.utime(copy, (0, 0))
    assert relay(f'password_file = "{file}"').read_password() == "rotated"

"""Where passwords come from, and that they go nowhere else."""

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
    """A relay with a login of this kind."""
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
    """A line end behind it is the editor's, everything else is the password's."""
    path = tmp_path / "password"
    path.write_bytes(content)
    assert relay(f'password_file = "{path}"').read_password() == password


UNFIT = [
    (b"", "is empty; write the password"),
    (b"\n", "is empty; write the password"),
    (b" hunter2\n", "begins or ends with a blank, which postmap drops; write it without"),
    (b"hunter2 \n", "begins or ends with a blank, which postmap drops; write it without"),
    (b"hunter2\nagain\n", "has a line end or control character; write the password alone on one line"),
    (b"hunter2\0", "has a line end or control character; write the password alone on one line"),
    (b"hunter2\xff", "is not text in UTF-8; write the password alone into it"),
]


@pytest.mark.parametrize(("content", "words"), UNFIT)
def test_a_file_that_sasl_passwd_could_not_carry_is_refused(
    tmp_path: Path, content: bytes, words: str
) -> None:
    """The refusal names file and setting, and nothing of the content."""
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as refusal:
        relay(f'password_file = "{path}"').read_password()
    assert str(refusal.value) == f"{path}: relay.a.password_file: {words}"


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    """With what it must be."""
    path = tmp_path / "password"
    with pytest.raises(SettingsError) as refusal:
        relay(f'password_file = "{path}"').read_password()
    assert str(refusal.value) == (
        f"{path}: relay.a.password_file: No such file or directory; it must hold the password and be readable by root"
    )


def test_settings_load_without_the_right_to_read_passwords() -> None:
    """The part of Postward that reads logs has no business with passwords."""
    assert relay('password_file = "/nonexistent/password"').password_file == "/nonexistent/password"


def test_a_systemd_credential_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CREDENTIALS_DIRECTORY is where systemd puts what LoadCredential= names."""
    (tmp_path / "relay").write_text("hunter2\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert relay('password_credential = "relay"').read_password() == "hunter2"


def test_a_credential_that_was_not_handed_over_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that the unit lacks."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SettingsError) as refusal:
        relay('password_credential = "relay"').read_password()
    assert str(refusal.value) == (
        "environment: relay.a.password_credential: CREDENTIALS_DIRECTORY is not set, so this process was handed no "
        "credentials; add LoadCredential=relay:FILE to the service"
    )


def test_all_passwords_that_cannot_be_had_are_told_at_once() -> None:
    """Two relays, two missing files, two problems; a relay without a login has none."""
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


def test_an_odd_password_arrives_whole_in_sasl_passwd() -> None:
    """`#`, `:`, blanks, quotes and letters beyond ASCII stand there as they are: postmap(1) has no quoting."""
    settings = load(INLINE)
    (table,) = desired_state(settings, FACTS, read_passwords(settings.relay)).tables
    assert table.text.split("\n")[1] == f"[smtp.example.net]:587 u:{SECRET}"


def _everything_printable() -> dict[str, str]:
    """Each way in which settings, states and plans turn into text."""
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
            read_overrides({"POSTWARD_RELAY__A__PASSWORD": SECRET}, {"relay": [{"name": "a"}]}, models_of(Settings))
        ),
    }  # fmt: skip


@pytest.mark.parametrize("way", _everything_printable())
def test_no_way_of_printing_shows_the_password(way: str) -> None:
    """repr, str, dumps, drift and diff mask it."""
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


def _colon_in_username() -> None:
    load(INLINE.replace('"u"', json.dumps(f"u:{SECRET}")))


def _url_as_host() -> None:
    load(toml(relay=f"host = {json.dumps(f'smtp://u:{SECRET}@smtp.example.net')}"))


def _unfit_password() -> None:
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
        _colon_in_username,
        _url_as_host,
        _unfit_password,
        _in_main_cf,
        _in_the_environment,
    ],
)
def test_no_refusal_shows_the_password(fault: Callable[[], None], caplog: pytest.LogCaptureFixture) -> None:
    """Neither its words, nor its repr, nor its traceback with causes, nor a log of it."""
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


def test_a_file_that_breaks_off_in_the_password_shows_nothing(tmp_path: Path) -> None:
    """A TOML error tells where, not what."""
    path = tmp_path / "postward.toml"
    path.write_text(f'[[relay]]\npassword = "{SECRET.replace(chr(34), "")}\n', encoding="utf-8")
    with pytest.raises(SettingsError) as refusal:
        load_settings(path)
    assert str(refusal.value) == (
        f"{path}: is not TOML: Illegal character '\\n' (at line 2, column 30); a setting is written key = value, text in quotes"
    )


def test_a_refusal_survives_being_copied() -> None:
    """An exception that crosses a process or a thread pool keeps its problems."""
    error = SettingsError(["a", "b"])
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert copy.problems == error.problems == ("a", "b")
    assert str(copy) == str(error) == "a\nb"


def _as_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A password file that is not for us to read, and systemd's copy of it."""
    file, copy = tmp_path / "passwords/demo", tmp_path / "credentials/passwords_demo"
    for path in (file, copy):
        path.parent.mkdir()
        path.write_text(SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(copy.parent))
    monkeypatch.setattr("postward.config.passwords.os.access", lambda path, _mode: path != file)
    return file, copy


def test_a_file_of_root_is_read_as_systemds_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LoadCredential=passwords:FOLDER names copies passwords_FILE."""
    file, copy = _as_credential(tmp_path, monkeypatch)
    file.write_text("not read")
    os.utime(file, (0, 0))
    assert copy.read_text() == SECRET
    assert relay(f'password_file = "{file}"').read_password() == SECRET


def test_a_copy_older_than_the_file_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotated password must not be tried in its former form."""
    file, copy = _as_credential(tmp_path, monkeypatch)
    file.write_text("rotated")
    os.utime(copy, (0, 0))
    assert (
        relay(f'password_file = "{file}"').read_password() == "rotated"
    )  # or, without the right to: an error

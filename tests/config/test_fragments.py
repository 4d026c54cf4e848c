"""Settings from a file and the fragments beside it."""

from pathlib import Path

import pytest

from postward.config.errors import SettingsError
from postward.config.fragments import merge
from postward.config.settings import load_settings, settings_files

_HOST = '[host]\nmyhostname = "mail.example.com"\n'
_FLEET = """\
[probe]
recipient = "probe@example.com"
interval_seconds = 60

[[relay]]
name = "provider"
host = "smtp.example.net"
tls = "starttls"
"""


def _write(folder: Path, **files: str) -> Path:
    """Write the settings file ("main") and fragments by their names, and return the path of the settings file."""
    path = folder / "postward.toml"
    for name, text in files.items():
        file = path if name == "main" else folder / "postward.toml.d" / f"{name.replace('_', '-')}.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return path


def test_a_fleets_part_and_a_hosts_part_are_two_files(tmp_path: Path) -> None:
    """Tables are merged key by key, and relays of one name too. The later file wins; a list is replaced."""
    path = _write(
        tmp_path,
        f10_fleet=_FLEET,
        f20_host=_HOST
        + '[probe]\ninterval_seconds = 90\n[[relay]]\nname = "provider"\nusername = "a"\npassword_file = "/p"\n'
        '[[relay]]\nname = "second"\nhost = "b.example.net"\nsenders = ["@example.org"]\n',
    )
    settings = load_settings(path)

    assert not path.exists()
    assert (settings.probe.recipient, settings.probe.interval_seconds) == ("probe@example.com", 90)
    assert [(relay.name, relay.host, relay.username) for relay in settings.relay] == [
        ("provider", "smtp.example.net", "a"),
        ("second", "b.example.net", ""),
    ]


def test_the_settings_file_is_the_first(tmp_path: Path) -> None:
    """Fragments follow in the order of their names. Hidden files and files of other kinds are ignored."""
    path = _write(tmp_path, main=_HOST, b="", a="")
    (tmp_path / "postward.toml.d" / "c.toml.bak").write_text("bad")
    (tmp_path / "postward.toml.d" / ".d.toml").write_text("bad")

    assert [file.name for file in settings_files(path)] == ["postward.toml", "a.toml", "b.toml"]


def test_each_problem_names_its_file(tmp_path: Path) -> None:
    """Also a contradiction between two files, which the later file began, and a file that is not TOML."""
    path = _write(
        tmp_path,
        main=_HOST + '[web]\nlisten = "x"\n',
        a=_FLEET.replace("= 60", '= "often"'),
        b='[[relay]]\nname = "provider"\nport = 465\n[what]\nx = 1\n',
    )
    with pytest.raises(SettingsError) as refusal:
        load_settings(path)
    beside = tmp_path / "postward.toml.d"
    places = sorted(": ".join(problem.split(": ")[:2]) for problem in refusal.value.problems)
    assert places == sorted(
        [
            f"{path}: web.listen",
            f"{beside / 'a.toml'}: probe.interval_seconds",
            f"{beside / 'a.toml'}: relay.provider.tls",
            f"{beside / 'b.toml'}: what",
        ]
    )
    (beside / "b.toml").write_text("bad")
    with pytest.raises(SettingsError, match=r"b\.toml: is not valid TOML"):
        load_settings(path)


def test_a_directory_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    """Without its fragments the settings would be others."""
    path = _write(tmp_path, main=_HOST + _FLEET)
    (tmp_path / "postward.toml.d").write_text("not a directory")
    with pytest.raises(SettingsError) as refusal:
        load_settings(path)
    assert refusal.value.problems == (
        f"{tmp_path / 'postward.toml.d'}: Not a directory; make it a directory that every user can read, with mode 0755",
    )


def test_a_name_twice_in_one_file_stays_twice() -> None:
    """Then the check for unique names reports it, as without fragments."""
    twice = {"relay": [{"name": "a", "host": "x"}, {"name": "a", "host": "y"}]}
    merged = merge([("main", {"relay": [{"name": "a", "port": 25}]}), ("fragment", twice)])

    assert merged.tables["relay"] == [{"name": "a", "port": 25, "host": "x"}, {"name": "a", "host": "y"}]
    assert merged.sources["relay", 0, "port"] == "main"
    assert merged.sources["relay", 1, "name"] == "fragment"

"""Postfix itself has the last word on what its files can carry."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from postward.config.desired import LookupTable
from postward.config.errors import SettingsError
from postward.config.fields import is_address, is_host_name
from tests.config.samples import SECRET, load, toml
from tests.support import require_postfix

PASSWORDS = [SECRET, "#x", "a:b:c", "a  b", '"quoted"', "'", "\\n", "$x ${y}", "пароль", "x" * 3000, "="]

HOST_NAMES = [
    "mail.example.com",
    "a_b.example.com",
    "a-b.example.com",
    "x",
    "1a.2",
    f"{'x' * 63}.example",
    f"{'x' * 64}.example",
    "mail.example.com.",
    "-a.example.com",
    "a-.example.com",
    "123.456",
    "x..y",
    ".x",
    "почта.example.com",
    "a b.example.com",
]

# A line of [host] → the same in main.cf, with which no program of Postfix starts.
FATAL = {
    'mydestination = "$mydestination"': "mydestination = $mydestination",
    'inet_protocols = "ip4"': "inet_protocols = ip4",
    'inet_protocols = "ipv4"\ninet_interfaces = "::1"': "inet_protocols = ipv4\ninet_interfaces = ::1",
    'inet_interfaces = "eth99"': "inet_interfaces = eth99",
    'myorigin = ""': "myorigin =",
    'myorigin = "/nonexistent/mailname"': "myorigin = /nonexistent/mailname",
}


@pytest.fixture(scope="module", autouse=True)
def _postfix_is_here() -> None:
    require_postfix(sasl=False)


def settled(path: Path, text: str) -> None:
    """Write a file that looks old: Postfix waits two seconds for one that has just changed."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, (0, 0))


def start(folder: Path, main_cf: str, *arguments: str) -> subprocess.Popen[str]:
    """postmap(1) with this main.cf, in a folder that no Postfix runs from."""
    folder.mkdir(exist_ok=True)
    settled(folder / "main.cf", f"compatibility_level = 3.6\n{main_cf}\n")
    settled(folder / "none", "")
    command = ["postmap", "-c", str(folder), *(arguments or ("-q", "x", f"texthash:{folder}/none"))]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def complaints(folder: Path, texts: Iterable[str]) -> list[str]:
    """What Postfix says to each of these as main.cf; all at once, because it takes a second over a fatal error."""
    programs = [start(folder / str(number), text) for number, text in enumerate(texts)]
    return [program.communicate(timeout=30)[1] for program in programs]


def test_every_password_that_is_taken_is_found_again(tmp_path: Path) -> None:
    """postmap(1) finds what smtp(8) would look up: exactly user and password."""
    entries = tuple((f"[r{n}.example]:587", f"u#1 x:{password}") for n, password in enumerate(PASSWORDS))
    table = LookupTable("sasl_passwd", "texthash", entries, secret=True)
    settled(tmp_path / table.name, table.text)
    program = start(tmp_path, "", "-q", "-", f"texthash:{tmp_path}/{table.name}")
    found, _ = program.communicate("".join(f"{key}\n" for key, _ in entries), timeout=30)
    assert found == "".join(f"{key}\t{value}\n" for key, value in entries)


def test_a_host_name_is_what_postfix_takes_for_one(tmp_path: Path) -> None:
    """Postfix starts with none but these as myhostname."""
    said = complaints(tmp_path, (f"myhostname = {name}\nmydomain = example.com" for name in HOST_NAMES))
    taken = {name: "bad parameter value" not in words for name, words in zip(HOST_NAMES, said, strict=True)}
    assert taken == {name: is_host_name(name) for name in HOST_NAMES}


def test_what_stops_every_postfix_command_is_refused(tmp_path: Path) -> None:
    """Each of these would take down sendmail(1) as well, so it must not get as far as main.cf."""
    for words in complaints(tmp_path, FATAL.values()):
        assert "fatal: " in words
    for setting in FATAL:
        with pytest.raises(SettingsError):
            load(toml(host=setting))


def test_an_address_as_a_relay_has_no_zone_and_no_tag() -> None:
    """smtp(8) takes [::1]:587, refuses [fe80::1%eth0]:587, and logs [ipv6:::1]:587 as ::1, which is what we write."""
    assert [is_address(text) for text in ("::1", "192.0.2.1", "fe80::1%eth0", "ipv6:::1", "[::1]")] == [
        True,
        True,
        False,
        False,
        False,
    ]

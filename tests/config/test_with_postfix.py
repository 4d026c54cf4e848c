"""Postfix itself has the last word on what its files can carry."""

import os
import subprocess
from pathlib import Path

import pytest

from config.desired import LookupTable
from config.errors import SettingsError
from config.fields import is_host_name
from tests.bed import require_postfix
from tests.config.samples import SECRET, load, toml


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration directory that no Postfix runs from."""
    require_postfix(sasl=False)
    return tmp_path_factory.mktemp("postfix")


def run(
    folder: Path, main_cf: str, program: str, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """One of Postfix's programs, with this main.cf."""
    main = folder / "main.cf"
    main.write_text(f"queue_directory = {folder}\ncompatibility_level = 3.6\n{main_cf}", encoding="utf-8")
    os.utime(main, (0, 0))  # Postfix waits two seconds for a main.cf that has just changed
    command = [program, "-c", str(folder), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)


PASSWORDS = [SECRET, "#x", "a:b:c", "a  b", '"quoted"', "'", "\\n", "$x ${y}", "пароль", "x" * 3000, "="]


def test_every_password_that_is_taken_is_found_again(folder: Path) -> None:
    """postmap(1) builds the table, and smtp(8) would look up exactly user and password."""
    entries = tuple((f"[r{n}.example]:587", f"u#1 x:{password}") for n, password in enumerate(PASSWORDS))
    table = LookupTable("sasl_passwd", "texthash", entries, secret=True)
    (folder / table.name).write_text(table.text, encoding="utf-8")
    keys = "".join(f"{key}\n" for key, _ in entries)
    found = run(folder, "", "postmap", "-q", "-", f"texthash:{folder}/{table.name}", stdin=keys)
    assert found.stdout == "".join(f"{key}\t{value}\n" for key, value in entries)


@pytest.mark.parametrize(
    "name",
    ["mail.example.com", "a_b.example.com", "a-b.example.com", "x", "mail.example.com.", "-a.example.com", "a-.example.com",
     "123.456", "1a.2", "x..y", ".x", "почта.example.com", "a b.example.com", f"{'x' * 63}.example", f"{'x' * 64}.example"],
)  # fmt: skip
def test_a_host_name_is_what_postfix_takes_for_one(folder: Path, name: str) -> None:
    """Postfix stops at any other myhostname, in every program."""
    ended = run(folder, f"myhostname = {name}\nmydomain = example.com\n", "postqueue", "-p")
    assert is_host_name(name) == ("bad parameter value" not in ended.stderr), ended.stderr


@pytest.mark.parametrize(
    ("setting", "main_cf"),
    [
        ('mydestination = "$mydestination"', "mydestination = $mydestination"),
        ('inet_protocols = "ip4"', "inet_protocols = ip4"),
        ('inet_protocols = "ipv4"\ninet_interfaces = "::1"', "inet_protocols = ipv4\ninet_interfaces = ::1"),
        ('inet_interfaces = "eth99"', "inet_interfaces = eth99"),
        ('myorigin = ""', "myorigin ="),
        ('myorigin = "/nonexistent/mailname"', "myorigin = /nonexistent/mailname"),
    ],
)
def test_what_stops_every_postfix_command_is_refused(folder: Path, setting: str, main_cf: str) -> None:
    """Each of these would take down sendmail(1) as well, so it must not get as far as main.cf."""
    with pytest.raises(SettingsError):
        load(toml(host=setting))
    assert "fatal: " in run(folder, f"{main_cf}\n", "postqueue", "-p").stderr

"""Rules about Postfix's files, tested with Postfix itself."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from postward.config.errors import SettingsError
from postward.config.fields import is_address, is_host_name
from postward.config.resources import LookupTable
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

# A line of [host] → the same in main.cf. No Postfix program starts with it.
FATAL = {
    'mydestination = "$mydestination"': "mydestination = $mydestination",
    'inet_protocols = "ip4"': "inet_protocols = ip4",
    'inet_protocols = "ipv4"\ninet_interfaces = "::1"': "inet_protocols = ipv4\ninet_interfaces = ::1",
    'inet_interfaces = "eth99"': "inet_interfaces = eth99",
    'myorigin = ""': "myorigin =",
}


@pytest.fixture(scope="module", autouse=True)
def _require_postfix() -> None:
    require_postfix(sasl=False)


def write_backdated(path: Path, text: str) -> None:
    """Write a file with an old mtime: Postfix waits up to two seconds for a file that has just changed."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, (0, 0))


def start(folder: Path, main_cf: str, *arguments: str) -> subprocess.Popen[str]:
    """Start postmap(1) with this main.cf, in a directory that no Postfix runs from."""
    folder.mkdir(exist_ok=True)
    write_backdated(folder / "main.cf", f"compatibility_level = 3.6\n{main_cf}\n")
    write_backdated(folder / "none", "")
    command = ["postmap", "-c", str(folder), *(arguments or ("-q", "x", f"texthash:{folder}/none"))]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def errors_of(folder: Path, texts: Iterable[str]) -> list[str]:
    """Return the output of Postfix for each main.cf. They run in parallel: a fatal error takes a second."""
    programs = [start(folder / str(number), text) for number, text in enumerate(texts)]
    return [program.communicate(timeout=30)[1] for program in programs]


def test_every_accepted_password_can_be_looked_up(tmp_path: Path) -> None:
    """postmap(1) returns exactly user and password, as smtp(8) would look them up."""
    entries = tuple((f"[r{n}.example]:587", f"u#1 x:{password}") for n, password in enumerate(PASSWORDS))
    table = LookupTable("sasl_passwd", "texthash", entries, secret=True)
    write_backdated(tmp_path / table.name, table.text)
    program = start(tmp_path, "", "-q", "-", f"texthash:{tmp_path}/{table.name}")
    output, _ = program.communicate("".join(f"{key}\n" for key, _ in entries), timeout=30)
    assert output == "".join(f"{key}\t{value}\n" for key, value in entries)


def test_host_names_are_those_that_postfix_accepts(tmp_path: Path) -> None:
    """Postfix starts with these values of myhostname, and with no others."""
    outputs = errors_of(tmp_path, (f"myhostname = {name}\nmydomain = example.com" for name in HOST_NAMES))
    accepted = {
        name: "bad parameter value" not in output for name, output in zip(HOST_NAMES, outputs, strict=True)
    }
    assert accepted == {name: is_host_name(name) for name in HOST_NAMES}


def test_values_that_stop_every_postfix_command_are_refused(tmp_path: Path) -> None:
    """Each of these would also break sendmail(1), so it must not reach main.cf."""
    for output in errors_of(tmp_path, FATAL.values()):
        assert "fatal: " in output
    for setting in FATAL:
        with pytest.raises(SettingsError):
            load(toml(host=setting))


def test_the_address_of_a_relay_has_no_zone_and_no_tag() -> None:
    """smtp(8) accepts [::1]:587, refuses [fe80::1%eth0]:587, and logs [ipv6:::1]:587 as ::1; Postward writes ::1."""
    assert [is_address(text) for text in ("::1", "192.0.2.1", "fe80::1%eth0", "ipv6:::1", "[::1]")] == [
        True,
        True,
        False,
        False,
        False,
    ]

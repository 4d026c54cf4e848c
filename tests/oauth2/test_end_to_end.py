"""From a sign-in to a delivered mail: a real authorization server, a relay that checks its tokens, Postfix, the plug-in."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import segno
from rich.console import Console

from postward.agent.console import qr_code
from tests.oauth2 import USER, Bed
from tests.support import PostfixInstance, Relay, require_postfix, wait_for
from tests.support.authorization import Client
from tests.support.product import POSTWARD
from tests.support.sasl import plugin_path, with_plugin


@dataclass
class Host:
    """A host with a relay that takes tokens."""

    bed: Bed
    relay: Relay
    postfix: PostfixInstance
    environment: Mapping[str, str]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of Postward to its end."""
        command = [POSTWARD, *arguments, "--config", str(self.bed.folder / "postward.toml")]
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=120,
            check=False,
        )

    def sign_in(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run `postward login`, by `command` if given, and enter its code as in a browser."""
        server = self.bed.server
        server.slow = False
        codes = len(server.codes)
        words = [*command, POSTWARD, "login", "m365", "--config", str(self.bed.folder / "postward.toml")]
        login = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )
        wait_for(lambda: len(server.codes) > codes, timeout=60, what="a device code")
        server.approved[server.codes[-1]] = USER
        out, err = login.communicate(timeout=120)
        return subprocess.CompletedProcess(words, login.returncode, out, err)


@pytest.fixture
def host(bed: Bed, tmp_path: Path) -> Iterator[Host]:
    """Settings, a relay and a Postfix that is not configured yet."""
    require_postfix()
    bed.server.clients["app"] = Client("app")
    with Relay(bed.ca, mechanisms=("LOGIN", "XOAUTH2")) as relay:
        relay.tokens = bed.server.accepts
        postfix = PostfixInstance(tmp_path / "postfix", with_plugin())
        bed.write(
            "postward.toml",
            '[host]\nprofile = "send-only"\nmyhostname = "mail.example.test"\ninet_protocols = "ipv4"\n'
            f'[[relay]]\nname = "m365"\nhost = "127.0.0.1"\nport = {relay.port}\ntls = "starttls"\n'
            f'username = "{USER}"\n{bed.table("device_code")}'
            f'[postfix]\nconfig_directory = "{postfix.config_directory}"\n'
            f'[enforce]\ndirectory = "{tmp_path}/enforce"\n[state]\ndirectory = "{tmp_path}/state"\n',
        )
        yield Host(bed, relay, postfix, {**os.environ, "SASL_PATH": plugin_path()})


def test_from_a_sign_in_to_a_delivered_mail(host: Host) -> None:
    """No password exists. Before the sign-in, nothing is applied, and the message says what to do."""
    done = host.run("apply")
    assert (done.returncode, "run: postward login m365" in done.stderr) == (78, True), done.stderr
    done = host.sign_in()
    assert done.returncode == 0, done.stderr
    assert f"{host.bed.server.url}/device" in done.stdout
    assert host.bed.server.codes[-1] in done.stdout
    assert "\N{FULL BLOCK}" not in done.stdout
    done = host.run("apply")
    assert done.returncode == 0, done.stderr
    tokens = [text for path in host.bed.tokens.iterdir() if (text := path.read_text())]
    with host.postfix as postfix:
        postfix.sendmail("bob@dest.test")
        wait_for(lambda: host.relay.messages, timeout=30, what="the mail")
        shown = postfix.log() + done.stdout + done.stderr + "".join(host.relay.transcript)
    assert host.relay.messages[0].username == USER
    assert {attempt.mechanism for attempt in host.relay.auth_attempts} == {"XOAUTH2"}
    assert all(token not in shown for token in tokens)


# Runs a command on a terminal, and copies what it prints.
_ON_TERMINAL = (
    "import os, pty, sys; os.environ |= {'TERM': 'xterm-256color', 'COLUMNS': '100'}; "
    "sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
)


def test_a_terminal_shows_a_qr_code(host: Host) -> None:
    """It holds the address with the code, as the server gives it; a telephone needs no typing then."""
    done = host.sign_in(sys.executable, "-c", _ON_TERMINAL)
    assert done.returncode == 0, done.stdout
    address = f"{host.bed.server.url}/device?user_code={host.bed.server.codes[-1]}"
    drawn = qr_code(
        address, Console(force_terminal=True, color_system="truecolor", width=100, no_color=False)
    )
    assert drawn is not None
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace("\r", "")
    assert drawn.plain in shown


def test_the_qr_code_is_that_of_the_standard() -> None:
    """Each half block is a module; a quiet zone of four surrounds them. Without colours or room there is none."""
    wide = Console(force_terminal=True, color_system="standard", width=80, no_color=False)
    drawn = qr_code("https://login.example.com/device", wide)
    assert drawn is not None
    modules = [
        [cell in cells for cell in line]
        for line in drawn.plain.split("\n")
        for cells in ("\N{UPPER HALF BLOCK}\N{FULL BLOCK}", "\N{LOWER HALF BLOCK}\N{FULL BLOCK}")
    ]
    expected = segno.make_qr("https://login.example.com/device", error="l").matrix
    assert [row[4:-4] for row in modules[4 : 4 + len(expected)]] == [list(map(bool, row)) for row in expected]
    assert not any(any(row[:4] + row[-4:]) for row in modules)
    for other in (
        Console(force_terminal=True, color_system="standard", width=30, no_color=False),
        Console(force_terminal=True, color_system="standard", width=80, no_color=True),
        Console(force_terminal=False, width=80),
    ):
        assert qr_code("https://login.example.com/device", other) is None


def test_a_token_that_does_not_work_replaces_none(host: Host) -> None:
    """A refresh token from standard input is tried before it stays."""
    good = host.bed.server.issue("app", USER)
    done = host.run("login", "m365", "--refresh-token-file", "-", stdin=f"{good}\n")
    assert done.returncode == 0, done.stderr
    kept = (host.bed.tokens / "m365.grant").read_text()
    done = host.run("login", "m365", "--refresh-token-file", "-", stdin="hunter2\n")
    assert done.returncode == 1
    assert "the former refresh token is kept" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert (host.bed.tokens / "m365.grant").read_text() == kept
    assert host.run("token", "--once").returncode == 0

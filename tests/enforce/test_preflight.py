"""Preflight: new settings are tried on the relay first; if it refuses them, nothing is changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import CA, PostfixInstance, Relay, free_port, require_postfix
from tests.support.product import run_postward, write_settings

PASSWORD = "s3cret-Gr33n-Fern"
HOST = 'host = "127.0.0.1"'


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    """A relay whose certificate is not trusted."""
    require_postfix()
    with Relay(CA(), "localhost", users={"user": PASSWORD}) as relay:
        yield relay


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (HOST, HOST, None),
        (HOST, 'host = "no-such-relay.invalid"', "at step dns: dns ("),
        ("port = {port}", "port = {closed}", "at step connect: refused ("),
        ('username = "user"', 'username = "another"', "at step auth: auth_rejected ("),
        ('tls = "starttls"', 'tls = "implicit"', "at step tls: tls_handshake ("),
        (HOST, 'host = "localhost"\nverify = true\nca_file = "{ca}"', "at step certificate: tls_verify ("),
    ],
    ids=["good", "name", "port", "login", "kind of TLS", "certificate"],
)
def test_settings_that_the_relay_refuses_are_not_applied(
    old: str, new: str, message: str | None, tmp_path: Path, relay: Relay
) -> None:
    """The error names step, cause and the relay's reply; the configuration is unchanged."""
    other_authority = CA().write(tmp_path)
    closed = free_port()
    postfix = PostfixInstance(tmp_path / "postfix")
    path = write_settings(tmp_path, relay, postfix, password=PASSWORD, probe_recipient="")
    text = path.read_text()
    assert old.format(port=relay.port) in text
    path.write_text(text.replace(old.format(port=relay.port), new.format(closed=closed, ca=other_authority)))
    before = {file.name: file.read_bytes() for file in postfix.config_directory.iterdir() if file.is_file()}
    done = run_postward("apply", "--config", str(path))
    after = {file.name: file.read_bytes() for file in postfix.config_directory.iterdir() if file.is_file()}

    if message is None:
        assert done.returncode == 0, done.stderr
        assert before != after
    else:
        assert done.returncode == 1
        assert message in done.stderr
        assert before == after
    assert PASSWORD not in done.stdout + done.stderr

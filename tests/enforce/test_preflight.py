"""New settings are tried on the relay first: what it would not take is told, and nothing is changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import CA, PostfixInstance, Relay, free_port, require_postfix
from tests.support.product import run_postward, write_settings

PASSWORD = "s3cret-Gr33n-Fern"
HOST = 'host = "127.0.0.1"'


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    """A relay whose certificate nobody knows."""
    require_postfix()
    with Relay(CA(), "localhost", users={"user": PASSWORD}) as relay:
        yield relay


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (HOST, HOST, None),
        (HOST, 'host = "no-such-relay.invalid"', "at step dns: dns ("),
        ("port = {port}", "port = {closed}", "at step connect: refused ("),
        ('username = "user"', 'username = "another"', "at step auth: auth_rejected ("),
        ('tls = "starttls"', 'tls = "implicit"', "at step tls: tls_handshake ("),
        (HOST, 'host = "localhost"\nverify = true\nca_file = "{ca}"', "at step certificate: tls_verify ("),
    ],
    ids=["right", "name", "port", "login", "kind of TLS", "certificate"],
)
def test_what_the_relay_would_not_take_is_told(
    old: str, new: str, words: str | None, tmp_path: Path, relay: Relay
) -> None:
    """The step, the cause and the relay's words; the configuration stays as it is."""
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

    if words is None:
        assert done.returncode == 0, done.stderr
        assert before != after
    else:
        assert done.returncode == 1
        assert words in done.stderr
        assert before == after
    assert PASSWORD not in done.stdout + done.stderr

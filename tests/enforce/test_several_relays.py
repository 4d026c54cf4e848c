"""Several relays on a real Postfix: chosen by sender, with both kinds of TLS, as a fallback, and with one sender."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.product import run_postward

PASSWORDS = {"first": "s3cret-Gr33n-Fern", "second": "s3cret-Bl8e-Moss"}


@pytest.fixture
def relays() -> Iterator[tuple[Relay, Relay]]:
    """One relay with STARTTLS, one with implicit TLS, each with a login of its own."""
    require_postfix()
    ca = CA()
    with (
        Relay(ca, users={"first": PASSWORDS["first"]}) as first,
        Relay(ca, users={"second": PASSWORDS["second"]}, tls="implicit") as second,
    ):
        yield first, second


@pytest.fixture
def postfix(tmp_path: Path) -> Iterator[PostfixInstance]:
    """A running Postfix without relay settings."""
    with PostfixInstance(tmp_path / "postfix") as postfix:
        yield postfix


def table(name: str, relay: Relay, *lines: str) -> str:
    """A [[relay]] table."""
    head = [f'name = "{name}"', 'host = "127.0.0.1"', f"port = {relay.port}", "allow_unusual_port = true"]
    login = [f'tls = "{relay.tls}"', f'username = "{name}"', f'password = "{PASSWORDS[name]}"']
    return "\n".join(["[[relay]]", *head, *login, *lines, ""])


def applied(tmp_path: Path, postfix: PostfixInstance, *tables: str, host: str = "") -> Path:
    """Apply settings with these relays. A second apply must change nothing."""
    path = tmp_path / "postward.toml"
    path.write_text(
        f'[host]\nprofile = "send-only"\nmyhostname = "mail.example.test"\ninet_protocols = "ipv4"\n{host}\n{"".join(tables)}'
        f'[postfix]\nconfig_directory = "{postfix.config_directory}"\n[enforce]\ndirectory = "{tmp_path}/enforce"\n'
        f'[state]\ndirectory = "{tmp_path}/state"\n'
    )
    done = run_postward("apply", "--config", str(path))
    assert done.returncode == 0, done.stderr
    files = {file.name: file.read_bytes() for file in postfix.config_directory.iterdir() if file.is_file()}
    again = run_postward("apply", "--config", str(path))
    assert (again.returncode, again.stdout) == (
        0,
        "in sync: Postfix's configuration matches the settings\n",
    ), again.stderr
    assert files == {
        file.name: file.read_bytes() for file in postfix.config_directory.iterdir() if file.is_file()
    }
    return path


def senders(relay: Relay) -> list[str]:
    """The senders of the mails that a relay accepted."""
    return [mail.mail_from for mail in relay.messages]


def test_both_kinds_of_tls_side_by_side(
    tmp_path: Path, relays: tuple[Relay, Relay], postfix: PostfixInstance
) -> None:
    """Each sender has its own relay, with that relay's login and TLS. Removed from the settings, its transport goes."""
    first, second = relays
    path = applied(
        tmp_path, postfix, table("first", first), table("second", second, 'senders = ["@shop.test"]')
    )
    postfix.sendmail("bob@dest.test", sender="app@client.test")
    postfix.sendmail("bob@dest.test", sender="order@shop.test")
    wait_for(lambda: first.messages and second.messages, what="a mail at each relay")

    assert (senders(first), senders(second)) == (["app@client.test"], ["order@shop.test"])
    assert [mail.username for mail in (*first.messages, *second.messages)] == ["first", "second"]
    assert "postward-second" in (postfix.config_directory / "master.cf").read_text()

    text = path.read_text()
    path.write_text(text.replace(table("second", second, 'senders = ["@shop.test"]'), ""))
    assert run_postward("apply", "--config", str(path)).returncode == 0
    assert "postward-second" not in (postfix.config_directory / "master.cf").read_text()
    postfix.sendmail("bob@dest.test", sender="order@shop.test")
    wait_for(lambda: len(first.messages) == 2, what="the shop's mail at the first relay")


def test_a_fallback_takes_over(tmp_path: Path, postfix: PostfixInstance) -> None:
    """When the first relay refuses connections, mail goes out by the fallback at once."""
    ca = CA()
    with (
        Relay(ca, users={"first": PASSWORDS["first"]}) as first,
        Relay(ca, users={"second": PASSWORDS["second"]}) as second,
    ):
        applied(tmp_path, postfix, table("first", first), table("second", second, "fallback = true"))
        first.refuse = True
        postfix.sendmail("bob@dest.test")
        wait_for(lambda: second.messages, what="the mail at the fallback")

        assert second.messages[0].username == "second"


def test_all_mail_comes_from_one_sender(
    tmp_path: Path, relays: tuple[Relay, Relay], postfix: PostfixInstance
) -> None:
    """Envelope and From header are rewritten, the recipient is not."""
    first, _ = relays
    applied(tmp_path, postfix, table("first", first), host='rewrite_sender = "noreply@example.test"')
    postfix.sendmail("bob@dest.test", sender="root@client.test")
    wait_for(lambda: first.messages, what="the mail")
    mail = first.messages[0]

    assert (mail.mail_from, mail.rcpt_tos) == ("noreply@example.test", ["bob@dest.test"])
    assert b"From: noreply@example.test" in mail.data

"""The mail of root and other local users goes to host.admin, on a real Postfix."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.enforce.test_several_relays import PASSWORDS, applied, table
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.product import run_postward

ADMIN = "ops@admin.test"


@pytest.fixture
def relay() -> Iterator[Relay]:
    """Give a relay that records the mails."""
    require_postfix()
    with Relay(CA(), users={"first": PASSWORDS["first"]}) as relay:
        yield relay


@pytest.fixture
def postfix(tmp_path: Path) -> Iterator[PostfixInstance]:
    """Give a running Postfix that has virtual aliases of its own."""
    with PostfixInstance(tmp_path / "postfix") as postfix:
        own = postfix.config_directory / "virtual"
        own.write_text("app@client.example.test dev@admin.test\nroot old@admin.test\n")
        postfix.set(virtual_alias_maps=f"texthash:{own}")
        yield postfix


def _recipients(relay: Relay, postfix: PostfixInstance, *to: str) -> list[str]:
    """Send a mail to each address as cron does, and return the recipients at the relay, in alphabetical order."""
    relay.forget()
    for address in to:
        postfix.sendmail(address, sender="root")
    wait_for(lambda: len(relay.messages) == len(to), what="the mails at the relay")
    return sorted(recipient for mail in relay.messages for recipient in mail.rcpt_tos)


def test_roots_mail_goes_to_the_admin(tmp_path: Path, relay: Relay, postfix: PostfixInstance) -> None:
    """Also with this host's name or domain, and of further users; other users keep theirs, and the admin's aliases stay.

    Without the setting, the former aliases are in force again, and the table is gone.
    """
    host = f'admin = "{ADMIN}"\nadmin_for = ["www-data"]\n'
    path = applied(tmp_path, postfix, table("first", relay), host=host)
    local = ("root", "postmaster", "MAILER-DAEMON", "www-data")
    named = ("root@localhost", "Root@mail.example.test", "root@example.test")

    assert _recipients(relay, postfix, *local, *named) == [ADMIN] * 7
    assert _recipients(relay, postfix, "root@other.test", "app@client.example.test", "alice") == [
        "alice@example.test",
        "dev@admin.test",
        "root@other.test",
    ]

    path.write_text(path.read_text().replace(host, ""))
    done = run_postward("apply", "--config", str(path))
    assert done.returncode == 0, done.stderr
    assert not (postfix.config_directory / "local_mail").exists()
    assert _recipients(relay, postfix, "root") == ["old@admin.test"]


def test_roots_mail_leaves_a_host_that_receives(
    tmp_path: Path, relay: Relay, postfix: PostfixInstance
) -> None:
    """Where local(8) delivers the domain, only the mail of these users leaves."""
    path = applied(tmp_path, postfix, table("first", relay), host=f'admin = "{ADMIN}"')
    path.write_text(path.read_text().replace('profile = "send-only"\n', ""))
    assert run_postward("apply", "--config", str(path)).returncode == 0
    postfix.set(mydestination="$myhostname, localhost, example.test")
    postfix.reload()
    assert "in sync" in run_postward("apply", "--config", str(path)).stdout

    assert _recipients(relay, postfix, "root", "postmaster@example.test") == [ADMIN, ADMIN]


def test_the_way_of_roots_mail_is_probed(tmp_path: Path, relay: Relay, postfix: PostfixInstance) -> None:
    """`postward probe --admin` sends a mail to root, and the relay must accept it."""
    path = applied(tmp_path, postfix, table("first", relay), host=f'admin = "{ADMIN}"')
    relay.forget()
    done = run_postward("probe", "--admin", "--config", str(path))

    assert done.returncode == 0, done.stdout + done.stderr
    assert [mail.rcpt_tos for mail in relay.messages] == [[ADMIN]]

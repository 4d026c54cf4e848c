"""A Postfix, its relay, and a Dovecot with a mailbox beyond the relay, as settings name it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import CA, PostfixInstance, Relay, require_postfix
from tests.support.dovecot import Dovecot

PASSWORD = "s3cret-Gr33n-Fern"


@contextmanager
def mailbox_bed(folder: Path) -> Iterator[tuple[Relay, PostfixInstance, Dovecot]]:
    """A Postfix, its relay, and the receiver's Dovecot; its password is in a file of the folder."""
    require_postfix()
    ca = CA()
    ca.write(folder)
    with (
        Dovecot(ca) as dovecot,
        Relay(ca, "relay.example.test", users={"API_USER": PASSWORD}) as relay,
        PostfixInstance(folder / "postfix") as postfix,
    ):
        (folder / "mailbox").write_text(dovecot.password)
        yield relay, postfix, dovecot


def account(dovecot: Dovecot, folder: Path, *, local: bool = False) -> str:
    """Return the keys of a table of settings that reads the mailbox, by IMAP or as a local Maildir."""
    if local:
        return f'maildir = "{dovecot.maildir}"\n'
    return (
        f'host = "{dovecot.host}"\nport = {dovecot.port}\nca_file = "{folder / "ca.pem"}"\n'
        f'username = "{dovecot.username}"\npassword_file = "{folder / "mailbox"}"\n'
    )

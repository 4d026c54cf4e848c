"""Access to a mailbox: what a reader of IMAP or of a Maildir gives, whatever mail lies there.

Promise: a reader changes nothing but the mails that `delete` names: no flag, no folder, no other mail. Each look
is bounded, and continues where the last one ended. Nothing that a mail contains raises an exception.

How it fails: MailboxError names the fault and says why, without a secret.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple, Protocol

from postward.agent.stored import MAX_TEXT
from postward.config.mailbox import Account
from postward.parsers.dsn import DSN_FIELDS, MAX_DSN
from postward.parsers.scrub import printable

Kind = Literal["inbox", "spam"]
Fault = Literal["login", "server", "tls", "folder", "host"]

MAX_MAIL: Final = MAX_DSN  # bytes that are read of a mail; a probe has about 1000, and servers add headers
MAX_HEADS: Final = 2000  # mails of a folder whose headers are read in one look
MAX_FOLDERS: Final = 20
HEADS: Final = ("Message-ID", "X-Postward-Probe", *DSN_FIELDS)  # the header fields of a `Mail`

# Name of the folder, its validity (UIDVALIDITY), and the mail's UID or file name.
Key = tuple[str, int, int | str]


class Mail(NamedTuple):
    """A mail in the mailbox.

    Attributes:
        key: identifies it.
        kind: the kind of its folder.
        at: when it arrived, in seconds since the epoch.
        head: its header fields of HEADS, or its whole beginning.
    """

    key: Key
    kind: Kind
    at: float
    head: bytes


@dataclass(frozen=True, slots=True)
class Look:
    """The result of a look.

    Attributes:
        mails: the mails that no earlier look has returned.
        left: the number of mails that the next look goes on with.
    """

    mails: Sequence[Mail]
    left: int = 0


class MailboxError(Exception):
    """The mailbox cannot be read; the text says why.

    Attributes:
        fault: its kind.
    """

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(f"({fault}) {printable(text[:MAX_TEXT])}")
        self.fault = fault


class Reader(Protocol):
    """Reads one mailbox. All methods block, and raise MailboxError."""

    def look(self, since: float) -> Look:
        """Return mails that are new since the last look; on the first look, those since a time."""

    def read(self, key: Key) -> bytes:
        """Return the beginning of a mail, at most MAX_MAIL bytes; b"" if it is gone."""

    def present(self, keys: Iterable[Key]) -> set[Key]:
        """Return those of these mails that are still there."""

    def delete(self, keys: Iterable[Key]) -> None:
        """Delete these mails, and no others."""

    def close(self) -> None:
        """End the connection. Raises nothing."""

    def abort(self) -> None:
        """Make a method that waits in another thread end. Raises nothing."""


def kind_of(name: str, mailbox: Account, *, is_junk: bool = False) -> Kind | None:
    """Return the kind of a folder; None for one that is not read.

    Args:
        name: its name.
        mailbox: the patterns.
        is_junk: the server marks it as a folder for spam (RFC 6154).
    """
    if any(_matches(name, pattern) for pattern in mailbox.inbox_folders):
        return "inbox"
    if is_junk or any(_matches(name, pattern) for pattern in mailbox.spam_folders):
        return "spam"
    return None


def _matches(name: str, pattern: str) -> bool:
    # A bracket is part of a name, as in [Gmail]/Spam, and no wildcard.
    return fnmatchcase(name.casefold(), pattern.casefold().replace("[", "[[]"))

"""A mailbox read by IMAP (RFC 3501), through TLS with a verified certificate.

Folders are opened read-only (EXAMINE) and bodies read by BODY.PEEK, so that no flag changes. Only to delete, a folder
is opened for writing, and only the deleted mails are expunged (UID EXPUNGE, RFC 4315). CLOSE is never sent: it expunges
mails that others have marked.
"""

import contextlib
import logging
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

from imapclient import DELETED, IMAPClient, SocketTimeout
from imapclient.exceptions import LoginError

from postward.agent.mailbox.access import (
    HEADS,
    MAX_FOLDERS,
    MAX_HEADS,
    MAX_MAIL,
    Fault,
    Key,
    Kind,
    Look,
    Mail,
    MailboxError,
    kind_of,
)
from postward.config.errors import SettingsError
from postward.config.mailbox import Account
from postward.config.settings import Settings

T = TypeVar("T")

_CONNECT_TIMEOUT: Final = 10.0  # seconds
_READ_TIMEOUT: Final = 20.0  # seconds between two reads
_BATCH: Final = 500  # mails in a command
_HEAD: Final = f"BODY.PEEK[HEADER.FIELDS ({' '.join(HEADS).upper()})]"
_BODY: Final = f"BODY.PEEK[]<0.{MAX_MAIL}>"
_NO_SELECT: Final = frozenset({b"\\noselect", b"\\nonexistent"})

# The library logs the conversation at level DEBUG.
logging.getLogger("imapclient").setLevel(logging.WARNING)


@dataclass(slots=True)
class _Position:
    """The place up to which a folder was read.

    Attributes:
        validity: of its UIDs.
        next: the lowest UID that was not seen yet.
        left: UIDs that were seen and whose headers were not read yet, the newest last.
    """

    validity: int
    next: int
    left: list[int] = field(default_factory=list)


class ImapReader:
    """Reads a mailbox by IMAP. The connection lasts until `close`, or until an error.

    Args:
        account: the mailbox and its login.
        settings: has the relay whose token the login uses.
    """

    def __init__(self, account: Account, settings: Settings) -> None:
        self._settings = settings
        self._mailbox = account
        self._client: Any = None
        self._folders: dict[str, Kind] = {}
        self._positions: dict[str, _Position] = {}

    def look(self, since: float) -> Look:
        """Return new mails; see `Reader`."""
        return self._try(lambda: self._look(since))

    def read(self, key: Key) -> bytes:
        """Return the beginning of a mail; see `Reader`."""
        return self._try(lambda: self._read(key))

    def present(self, keys: Iterable[Key]) -> set[Key]:
        """Return the mails that are still there; see `Reader`."""
        return self._try(lambda: set(self._present(keys)))

    def delete(self, keys: Iterable[Key]) -> None:
        """Delete mails; see `Reader`."""
        self._try(lambda: self._delete(keys))

    def close(self) -> None:
        """Log out."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.logout()

    def abort(self) -> None:
        """Cut the connection from another thread, so that a read that waits there ends."""
        client = self._client
        if client is not None:
            with contextlib.suppress(Exception):
                client.shutdown()

    # --- the conversation

    def _try(self, command: Callable[[], T]) -> T:
        """Run a command on the connection, which is made first if there is none. Raises MailboxError."""
        try:
            if self._client is None:
                self._connect()
            return command()
        except MailboxError:
            self.close()
            raise
        except Exception as error:
            # The library raises whatever an answer makes its parser raise.
            self.abort()
            self._client = None
            raise MailboxError(_fault(error), _text(error)) from None

    def _connect(self) -> None:
        mailbox = self._mailbox
        try:
            password = mailbox.password(self._settings)
        except SettingsError as error:
            raise MailboxError("host", str(error)) from None
        try:
            context = ssl.create_default_context(cafile=mailbox.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise MailboxError(
                "host", f"{mailbox.section}.ca_file: {mailbox.ca_file}: {_text(error)}"
            ) from None
        client = IMAPClient(
            mailbox.host,
            mailbox.port,
            ssl=mailbox.tls == "implicit",
            ssl_context=context,
            timeout=SocketTimeout(_CONNECT_TIMEOUT, _READ_TIMEOUT),
        )
        self._client = client
        client.normalise_times = False  # time stamps keep their zones
        if mailbox.tls == "starttls":
            client.starttls(context)
        self._log_in(password)
        self._folders = self._find_folders()

    def _log_in(self, password: str) -> None:
        client, username = self._client, self._mailbox.username
        offered = {name.upper() for name in client.capabilities()}
        try:
            if self._mailbox.token_of and b"AUTH=OAUTHBEARER" in offered:
                client.oauthbearer_login(username, password)
            elif self._mailbox.token_of:
                client.oauth2_login(username, password)
            elif b"AUTH=PLAIN" in offered:  # takes UTF-8, which LOGIN does not
                client.plain_login(username, password)
            else:
                client.login(username, password)
        except LoginError as error:
            text = _text(error).replace(password, "…")
            raise MailboxError("login", f"the server refuses the login {username}: {text}") from None

    def _find_folders(self) -> dict[str, Kind]:
        folders: dict[str, Kind] = {}
        for flags, _, name in self._client.list_folders():
            marks = {flag.lower() for flag in flags}
            kind = kind_of(str(name), self._mailbox, is_junk=b"\\junk" in marks)
            if kind and not marks & _NO_SELECT:
                folders[str(name)] = kind
        if "inbox" not in folders.values():
            wanted = ", ".join(self._mailbox.inbox_folders)
            raise MailboxError(
                "folder", f"no folder matches {self._mailbox.section}.inbox_folders ({wanted})"
            )
        return dict(list(folders.items())[:MAX_FOLDERS])

    def _open(self, folder: str, *, writable: bool = False) -> dict[bytes, Any]:
        answer: dict[bytes, Any] = self._client.select_folder(folder, readonly=not writable)
        return answer

    def _look(self, since: float) -> Look:
        mails: list[Mail] = []
        for folder, kind in self._folders.items():
            position = self._position(folder, since)
            batch = position.left[-MAX_HEADS:]
            for start in range(0, len(batch), _BATCH):
                mails += self._heads(folder, kind, position.validity, batch[start : start + _BATCH])
            del position.left[-MAX_HEADS:]
        return Look(mails, sum(len(self._positions[folder].left) for folder in self._folders))

    def _position(self, folder: str, since: float) -> _Position:
        """Open a folder and return the position in it, with the UIDs that are new."""
        answer = self._open(folder)
        validity, upper = int(answer[b"UIDVALIDITY"]), int(answer.get(b"UIDNEXT", 0))
        position = self._positions.get(folder)
        if position is None or position.validity != validity:
            position = self._positions[folder] = _Position(validity, 1)
            found = self._client.search(["SINCE", date.fromtimestamp(since)])  # noqa: DTZ012 -- a day is enough
        elif upper == position.next:
            return position
        else:
            found = self._client.search(["UID", f"{position.next}:*"])
        new = sorted({int(uid) for uid in found if uid >= position.next})  # `n:*` always has the last mail
        position.left += new
        position.next = max(upper, position.next, *(uid + 1 for uid in new[-1:]))
        return position

    def _heads(self, folder: str, kind: Kind, validity: int, uids: list[int]) -> Iterator[Mail]:
        for uid, row in self._client.fetch(uids, ["INTERNALDATE", _HEAD]).items():
            head = next((value for name, value in row.items() if name.startswith(b"BODY[")), None)
            yield Mail((folder, validity, uid), kind, _seconds(row.get(b"INTERNALDATE")), head or b"")

    def _read(self, key: Key) -> bytes:
        folder, validity, uid = key
        if int(self._open(folder)[b"UIDVALIDITY"]) != validity:
            return b""
        row = self._client.fetch([uid], [_BODY]).get(uid, {})
        return next((value for name, value in row.items() if name.startswith(b"BODY[")), b"") or b""

    def _present(self, keys: Iterable[Key]) -> Iterator[Key]:
        for (folder, validity), uids in _by_folder(keys).items():
            if int(self._open(folder)[b"UIDVALIDITY"]) == validity:
                yield from ((folder, validity, uid) for uid in self._client.fetch(uids, ["UID"]))

    def _delete(self, keys: Iterable[Key]) -> None:
        for (folder, validity), uids in _by_folder(keys).items():
            if int(self._open(folder, writable=True)[b"UIDVALIDITY"]) != validity:
                continue
            self._client.add_flags(uids, [DELETED], silent=True)
            # EXPUNGE without UIDs would delete what others have marked: without UIDPLUS, the mark remains.
            if self._client.has_capability("UIDPLUS"):
                self._client.uid_expunge(uids)


def _by_folder(keys: Iterable[Key]) -> dict[tuple[str, int], list[Any]]:
    uids: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for folder, validity, uid in keys:
        uids[folder, validity].append(uid)
    return uids


def _seconds(moment: object) -> float:
    return (
        moment.timestamp()
        if isinstance(moment, datetime) and moment.tzinfo
        else datetime.now(UTC).timestamp()
    )


def _fault(error: Exception) -> Fault:
    return "tls" if isinstance(error, ssl.SSLError) else "server"


def _text(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_READ_TIMEOUT:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error.args[0]) if error.args else ""
    return " ".join(text.removeprefix("b'").removesuffix("'").split()) or type(error).__name__

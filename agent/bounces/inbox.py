"""Reads the notifications in the mailbox of bounces, each once.

Promise: a notification is taken once, across restarts, also if its mail is moved, copied or renumbered: it is known by
its Message-ID, or by its content. What is remembered is bounded: the notifications of a day, at most 20,000. Nothing in
the mailbox is changed.

How it fails: MailboxError. Mails that arrived before the first look, or more than a day before the newest notification,
are not counted. In a flood of more than 20,000 notifications a day, the oldest are left out, and none counts twice.
"""

from collections import deque
from collections.abc import Mapping
from email.parser import BytesHeaderParser
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from postward.agent.bounces.sent import digest
from postward.agent.mailbox.access import Key, MailboxError, Reader
from postward.agent.stored import MAX_MOMENT, Form
from postward.parsers.dsn import Dsn, may_be_dsn, read_dsn

_WINDOW: Final = 86400.0  # seconds
_MAX_KNOWN: Final = 20_000
_MAX_READ: Final = 200  # mails in one look
_MAX_WAITING: Final = 20_000  # mails
_MAX_ATTEMPTS: Final = 3  # to read a mail

_Moment = Annotated[float, Field(ge=0, le=MAX_MOMENT)]


class _Saved(TypedDict, total=False):
    floor: _Moment
    known: dict[str, _Moment]


_FORM: Form[_Saved] = Form(_Saved)


class _Waiting(NamedTuple):
    """A mail whose header is that of a notification."""

    key: Key
    at: float
    identity: str
    attempts: int = 0


class Taken(NamedTuple):
    """A mail that was read.

    Attributes:
        identity: digest of its Message-ID or content.
        at: when it arrived, in seconds since the epoch.
        dsn: the notification; None for another mail.
    """

    identity: str
    at: float
    dsn: Dsn | None


class BounceInbox:
    """The notifications of a mailbox.

    Args:
        reader: reads the mailbox.
        now: when it is made, in seconds since the epoch: earlier mails are not counted.
    """

    def __init__(self, reader: Reader, now: float) -> None:
        self._reader = reader
        self._floor = float(int(now))  # a server's times have no fractions
        self._known: dict[str, float] = {}  # identity → when it arrived
        self._waiting: deque[_Waiting] = deque()
        self._left = 0

    @property
    def unread(self) -> int:
        """The number of mails that the next look goes on with."""
        return self._left + len(self._waiting)

    def look(self, now: float) -> list[Taken]:
        """Return mails that were not taken yet. It blocks. Raises MailboxError; what was read before is not lost."""
        look = self._reader.look(self._floor)
        self._left = look.left
        for mail in look.mails:
            if mail.at >= self._floor and may_be_dsn(mail.head) and len(self._waiting) < _MAX_WAITING:
                self._waiting.append(_Waiting(mail.key, min(mail.at, now), _identity(mail.head)))
        taken: dict[str, Taken] = {}
        while self._waiting and len(taken) < _MAX_READ:
            one = self._waiting.popleft()
            if one.identity in self._known or one.identity in taken:
                continue
            try:
                data = self._reader.read(one.key)
            except MailboxError:
                if one.attempts + 1 < _MAX_ATTEMPTS:
                    self._waiting.append(one._replace(attempts=one.attempts + 1))
                if taken:
                    break  # these must be counted; the next look reports the fault
                raise
            identity = one.identity or digest(data.decode("latin-1"))
            if data and identity not in self._known and identity not in taken:
                taken[identity] = Taken(identity, one.at, read_dsn(data))
        return list(taken.values())

    def note(self, taken: Taken) -> bool:
        """Remember a mail as counted. Return False if it is already, or is too old to know."""
        if taken.identity in self._known or taken.at < self._floor:
            return False
        self._known[taken.identity] = taken.at
        self._floor = max(self._floor, taken.at - _WINDOW)
        if len(self._known) > _MAX_KNOWN:
            # A tenth at once: the oldest, and all that came in the second of the last of them.
            self._floor = max(self._floor, sorted(self._known.values())[_MAX_KNOWN // 10] + 1)
            self._known = {identity: at for identity, at in self._known.items() if at >= self._floor}
        return True

    def state(self) -> dict[str, Any]:
        """Return what is remembered, as JSON values."""
        self._known = {identity: at for identity, at in self._known.items() if at >= self._floor}
        return {"floor": self._floor, "known": self._known}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned. Raises ValueError for other data."""
        saved = _FORM.check(dict(state))
        self._floor = saved.get("floor", self._floor)
        self._known = dict(saved.get("known", {}))


def _identity(head: bytes) -> str:
    """Return the digest of a mail's Message-ID; "" without one."""
    try:
        value = str(BytesHeaderParser().parsebytes(head).get("Message-ID", "")).strip()
    except Exception:  # the faults of the parser
        return ""
    return digest(value) if value else ""

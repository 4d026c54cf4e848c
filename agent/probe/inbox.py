"""Looks into the mailbox that receives the probes, and gives the arrivals to the tracker.

A probe is recognised by its signature. The mailbox is the memory: copies stay there while their probe is followed, so
that a restart forgets none, and are deleted afterwards. Probes of other hosts with the same key are left to them, and
deleted five days later.

A notification that returns a followed probe to a sender whose mail comes to this mailbox is read too. It stays there.

Promise: all work is done in a thread of its own, with a deadline; errors are returned, not raised. The server is asked
only while a probe is followed, less and less often the older the probe is. After a failure it is asked with back-off.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable
from email import message_from_bytes
from pathlib import Path
from typing import Final, NamedTuple

from postward.agent.mailbox.access import Key, Mail, MailboxError, Reader
from postward.agent.mailbox.thread import BackOff, ReaderThread, reader_of
from postward.agent.mailbox.verdicts import Verdicts, verdicts_of
from postward.agent.probe.message import altered_parts, identifier_in, read_key, signed_identifiers
from postward.agent.probe.result import Arrival
from postward.agent.probe.tracker import ProbeTracker
from postward.config.settings import Settings
from postward.parsers.dsn import Recipient, may_be_dsn, read_dsn

_MIN_PAUSE, _MAX_PAUSE = 1.0, 30.0  # seconds between two looks
_MAX_FOLLOWED: Final = 432000.0  # seconds: the highest probe.lost_after_seconds
_MAX_COPIES: Final = 10
_MAX_FINISHED: Final = 1000  # mails that wait to be deleted
_MAX_NOTIFICATIONS: Final = 100  # that are read in one look


class _Copy(NamedTuple):
    """A copy of a probe in the mailbox."""

    at: float
    folder: str
    altered: tuple[str, ...]
    verdicts: Verdicts


class MailboxClient:
    """Looks into one mailbox.

    Args:
        settings: the mailbox and the fleet's key.
        reader: reads it; None: by the settings.
        clock: seconds since the epoch.

    Raises:
        KeyFileError: probe.key_file cannot be used.
    """

    def __init__(
        self, settings: Settings, reader: Reader | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._mailbox = settings.mailbox
        self._key = read_key(Path(settings.probe.key_file))
        self._reader: Reader = reader or reader_of(settings.mailbox, settings)
        self._thread = ReaderThread(self._reader)
        self._back_off = BackOff()
        self._clock = clock
        self._copies: dict[str, dict[Key, _Copy]] = {}
        self._returned: dict[str, Recipient] = {}  # Message-IDs of followed probes
        self._finished: dict[Key, None] = {}
        self._looked_at = float("-inf")  # monotonic
        self.problem: str | None = None
        self._undeleted: str | None = None

    async def update(self, tracker: ProbeTracker) -> str | None:
        """Look into the mailbox if it is time; see `arrivals.ArrivalClient`."""
        waiting = {
            identifier: message_id
            for message_id in tracker.awaiting_arrival()
            if (identifier := identifier_in(message_id))
        }
        if not waiting and not self._copies:
            self._returned.clear()
            await self._release()
        elif time.monotonic() - self._looked_at >= self._pause(waiting):
            await self._look(tracker, waiting)
            self._looked_at = time.monotonic()
        tracker.blind = self.problem
        return self.problem or self._undeleted

    async def clean(self) -> None:
        """Delete all copies that were read, at the end of a command."""
        copies = [key for copies in self._copies.values() for key in copies]
        self._copies.clear()
        self._finish(copies)
        if self._finished and not self.problem:
            with contextlib.suppress(MailboxError):
                await self._thread.do(self._delete)
        await self._release()

    def close(self) -> None:
        """Release the thread, without waiting."""
        self._thread.close()

    def _pause(self, waiting: Collection[str]) -> float:
        if (pause := self._back_off.pause) is not None:
            return pause
        youngest = max(map(_made_at, waiting), default=0.0)
        return min(max((self._clock() - youngest) / 10, _MIN_PAUSE), _MAX_PAUSE) if waiting else 0.0

    async def _look(self, tracker: ProbeTracker, waiting: dict[str, str]) -> None:
        since = min(map(_made_at, waiting), default=self._clock()) - _MAX_FOLLOWED
        try:
            left = await self._thread.do(lambda: self._read_new(frozenset(waiting), since))
        except MailboxError as error:
            self._back_off.note(error)
            self.problem = f"{self._mailbox.place}: {error}"
            return
        self._back_off.note(None)
        self.problem = f"{self._mailbox.place}: (behind) {left} mails are not read yet" if left else None
        for identifier, message_id in waiting.items():
            if copies := self._copies.get(identifier):
                tracker.arrived(message_id, _arrival(copies.values()))
            if (recipient := self._returned.get(message_id)) is not None:
                tracker.returned(message_id, recipient)

    async def _release(self) -> None:
        """Close the connection: no probe is followed."""
        if await self._thread.release():
            self._looked_at = float("-inf")

    # --- in the thread

    def _read_new(self, waiting: Collection[str], since: float) -> int:
        """Take new copies, forget and delete those of probes that have ended. Return the number of mails left."""
        look = self._reader.look(since)
        for mail in look.mails:
            self._take(mail, waiting)
        for mail in [mail for mail in look.mails if may_be_dsn(mail.head)][:_MAX_NOTIFICATIONS]:
            self._take_notification(mail, waiting)
        for identifier in self._copies.keys() - set(waiting):
            self._finish(self._copies.pop(identifier))
        for copies in self._copies.values():
            if len(copies) > 1 and (present := self._reader.present(copies)):
                for key in copies.keys() - present:  # moved to another folder
                    del copies[key]
        if self._finished:
            try:
                self._delete()
            except MailboxError as error:
                self._undeleted = f"{self._mailbox.place}: probes cannot be deleted: {error}"
        return look.left

    def _take(self, mail: Mail, waiting: Collection[str]) -> None:
        """Take a mail if it is a copy of a probe; all others are left alone."""
        for identifier, signed in _identifiers(mail.head, self._key):
            if identifier in waiting:
                copies = self._copies.setdefault(identifier, {})
                if len(copies) >= _MAX_COPIES:
                    self._finish([mail.key])
                elif data := self._reader.read(mail.key):
                    message = message_from_bytes(data)
                    copies[mail.key] = _Copy(
                        min(mail.at, self._clock()),
                        mail.kind,
                        altered_parts(message, identifier, self._key),
                        verdicts_of(message, self._mailbox.authserv_id),
                    )
                return
            if self._clock() - signed > _MAX_FOLLOWED:
                self._finish([mail.key])
                return

    def _take_notification(self, mail: Mail, waiting: Collection[str]) -> None:
        """Take a notification that returns a followed probe."""
        dsn = read_dsn(self._reader.read(mail.key))
        failed = [one for one in dsn.recipients if one.action == "failed"] if dsn else []
        for message_id in dsn.message_ids if dsn and failed else ():
            if identifier_in(message_id) in waiting:
                self._returned[message_id] = failed[0]

    def _finish(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if len(self._finished) < _MAX_FINISHED:
                self._finished[key] = None

    def _delete(self) -> None:
        self._reader.delete(self._finished)
        self._finished.clear()
        self._undeleted = None


def _identifiers(head: bytes, key: bytes) -> list[tuple[str, float]]:
    """Return the signed identifiers in a stranger's header fields."""
    if b"postward" not in head.lower():
        return []
    try:
        return list(signed_identifiers(message_from_bytes(head), key))
    except Exception:  # the parser's faults: a field that it cannot read is not ours
        return []


def _arrival(copies: Iterable[_Copy]) -> Arrival:
    ordered = sorted(copies)
    altered = sorted({part for copy in ordered for part in copy.altered})
    first = ordered[0]
    return Arrival(tuple(copy.at for copy in ordered), tuple(altered), first.folder, first.verdicts)


def _made_at(identifier: str) -> float:
    """Return when an identifier of this host was made, in seconds since the epoch."""
    return int(identifier.partition(".")[0], 16) / 1000

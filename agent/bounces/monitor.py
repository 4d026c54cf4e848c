"""Counts mail that came back after a relay had accepted it, and reports that it does.

Promise: a notification is counted once, across restarts: what was counted is saved together with the counts. It is
joined by its Message-ID to a mail that the log showed; one that cannot be joined has the relay `other`, for anybody can
write to the mailbox. Notifications about probes go to the probes, and are not counted here.

How it fails: a mailbox that cannot be read is a condition, and is asked again with back-off.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from postward.agent.bounces.inbox import BounceInbox, Taken
from postward.agent.bounces.sent import SentMail
from postward.agent.mailbox.access import MailboxError, Reader
from postward.agent.mailbox.thread import BackOff, ReaderThread, reader_of
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Part, Problem
from postward.agent.probe.message import is_probe
from postward.agent.stored import Form
from postward.agent.text import plural
from postward.config.settings import Settings
from postward.parsers import Cause, cause_of_diagnostic
from postward.parsers.cause import ABOUT_ONE_MAIL
from postward.parsers.dsn import Dsn, Recipient
from postward.parsers.scan import Block, Wanted
from postward.parsers.scrub import mask_addresses, printable

METRIC: Final = "postward_dsn_recipients_total"
_WINDOW: Final = 21600.0  # seconds in which mails that come back are an incident
_MIN_RETURNED: Final = 3  # in the window
_MAX_RECENT: Final = 1000
_FAILED: Final = frozenset({"failed", "delayed"})
_MAX_QUOTED: Final = 300  # characters of a reason

_Returned = tuple[float, str, str, str]  # when, relay, cause, reason
_FORM: Form[list[_Returned]] = Form(list[_Returned])
_log = logging.getLogger("postward.bounces")


class BounceMonitor(Part):
    """Reads the mailbox of bounces, and knows which relay took which mail.

    Args:
        settings: the mailbox.
        names: the relays of the settings.
        tally: where notifications are counted.
        probe_returned: called with Message-ID and recipient of a probe that came back.
        read_log: reads the log up to now, so that the mails are known.
        reader: reads the mailbox; None: by the settings.
        clock: seconds since the epoch.
    """

    name = "bounces"

    def __init__(
        self,
        settings: Settings,
        names: RelayNames,
        tally: Tally,
        probe_returned: Callable[[str, Recipient], None],
        read_log: Callable[[], Awaitable[None]],
        reader: Reader | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = settings.bounces
        self._tally = tally
        self._probe_returned = probe_returned
        self._read_log = read_log
        self._clock = clock
        self._sent = SentMail(names)
        self._thread = ReaderThread(reader or reader_of(settings.bounces, settings))
        self._inbox = BounceInbox(self._thread.reader, clock())
        self._back_off = BackOff()
        self._problem = Problem(_log, "bounces", "bounces: the mailbox answers again")
        self._recent: deque[_Returned] = deque(maxlen=_MAX_RECENT)
        for relay in (*names.known, "other"):
            for cause in Cause:
                tally.add(METRIC, (relay, "failed", cause.value), 0)

    # --- from the log

    @property
    def wanted(self) -> Wanted:
        """The columns that are read."""
        return self._sent.wanted

    def observe_block(self, block: Block) -> None:
        """Take a block of lines."""
        self._sent.observe_block(block)

    # --- from the mailbox

    async def run(self) -> None:
        """Look into the mailbox until cancelled."""
        try:
            while True:
                await self.look()
                pause = self._back_off.pause
                if pause is None:
                    pause = 0.0 if self._inbox.unread else float(self._account.interval_seconds)
                await asyncio.sleep(max(1.0, pause))
        finally:
            self._thread.close()

    async def look(self) -> None:
        """Count the notifications that have come since the last look."""
        now = self._clock()
        try:
            taken = await self._thread.do(lambda: self._inbox.look(now))
        except MailboxError as error:
            self._back_off.note(error)
            self._problem.note(f"{self._account.place}: {error}")
            return
        self._back_off.note(None)
        self._problem.note(None)
        if taken:
            await self._read_log()
        # No await from here on: the checkpoint holds all counts of a mail, or none.
        for one in taken:
            if self._inbox.note(one) and one.dsn is not None:
                self._count(one, one.dsn)

    def _count(self, taken: Taken, dsn: Dsn) -> None:
        for message_id in dsn.message_ids:
            if is_probe(message_id):
                for recipient in dsn.recipients:
                    if recipient.action == "failed":
                        self._probe_returned(message_id, recipient)
                return
        relay, message_id = self._sent.relay_of(dsn.message_ids)
        for recipient in dsn.recipients:
            cause = (
                cause_of_diagnostic(recipient.diagnostic, recipient.status).value
                if recipient.action in _FAILED
                else ""
            )
            self._tally.add(METRIC, (relay, recipient.action, cause))
            reason = printable(mask_addresses(recipient.words))[:_MAX_QUOTED]
            if recipient.action == "failed" and message_id:
                self._recent.append((min(taken.at, self._clock()), relay, cause, reason))
                _log.info(
                    "mail %s, accepted by relay %s, came back (%s): %s",
                    printable(message_id),
                    relay,
                    cause,
                    reason,
                )

    # --- what is shown

    def gauges(self) -> Gauges:
        """Return whether the mailbox can be read."""
        return {"postward_bounces_readable": {(): float(self._problem.text is None)}}

    def conditions(self) -> Mapping[str, str | None]:
        """Return why the mailbox cannot be read, and which relays return mail for a reason that is not the mail's own."""
        since = self._clock() - _WINDOW
        texts = []
        concerned = [
            row
            for row in self._recent
            if row[0] >= since and row[2] != Cause.OTHER and row[2] not in ABOUT_ONE_MAIL
        ]
        for relay in dict.fromkeys(relay for _, relay, _, _ in concerned):
            rows = [row for row in concerned if row[1] == relay]
            if len(rows) >= _MIN_RETURNED:
                _, _, cause, reason = rows[-1]
                number = plural(len(rows), "recipient")
                texts.append(
                    f"relay {relay} returned mail to {number} in the last 6 hours, lately ({cause}): {reason}"
                )
        return {"bounces-unreadable": self._problem.text, "mail-returned": "; ".join(texts) or None}

    def state(self) -> Mapping[str, Any]:
        """Return what was counted, and which relay took which mail."""
        return {
            "inbox": self._inbox.state(),
            "sent": self._sent.state(),
            "recent": [list(row) for row in self._recent],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        if "inbox" in state:
            self._inbox.restore(state["inbox"])
            self._recent.extend(_FORM.check(state.get("recent", [])))
            self._sent.restore(state.get("sent", {}))

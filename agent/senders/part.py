"""The senders as a part of the agent: counters by uid, the status of the last hour and day, and names of local users.

Promise: series are bounded: beyond `MAX_UIDS` local users, the others are counted together. No label has a name or address
from the log.
"""

import pwd
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from postward.agent.metrics.labels import Instances, RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Part
from postward.agent.senders.share import (
    LOCAL,
    VIA,
    WINDOWS,
    Users,
    masked_address,
    masked_source,
    source_text,
)
from postward.agent.senders.top import Top, as_rows
from postward.agent.senders.window import Senders

MAX_UIDS: Final = 50
OTHER: Final = "other"
_MESSAGES: Final = "postfix_messages_submitted_total"
_RECIPIENTS: Final = "postfix_recipients_submitted_total"
_SHOWN: Final = 5  # of each kind, in the status
_MAX_DIGITS: Final = 10  # of a uid


class SenderCounts(Senders, Part):
    """Counts senders, in the tally too.

    Args:
        tally: receives the counters.
        names: the relays, whose services log under names of their own.
        local_now: returns the time near which stamps without a year are read.
        clock: seconds since 1970.
    """

    name = "senders"

    def __init__(
        self,
        tally: Tally,
        names: RelayNames,
        local_now: Callable[[], datetime],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(local_now, self._count)
        self._tally = tally
        self._instance = Instances(names)
        self._clock = clock
        for via in VIA.values():
            if via != VIA[LOCAL]:
                for metric in (_MESSAGES, _RECIPIENTS):
                    tally.add(metric, ("postfix", via, ""), 0)

    def status(self) -> dict[str, Any]:
        """Return the top senders for /api/status; mail addresses and names of logins are masked."""
        now = self._clock()
        return {window: window_rows(self, window, now) for window in WINDOWS}

    def _count(self, instance: str, way: str, messages: int, recipients: int) -> None:
        kind, _, name = way.partition(":")
        labels = (
            self._instance(instance),
            VIA[f"{kind}:"],
            self._uid(name) if f"{kind}:" == LOCAL else "",
        )
        self._tally.add(_MESSAGES, labels, messages)
        self._tally.add(_RECIPIENTS, labels, recipients)

    def _uid(self, uid: str) -> str:
        """Return the label of a uid."""
        known = {labels[2] for labels in self._tally.counters[_MESSAGES]}
        is_new = uid not in known
        if not (uid.isascii() and uid.isdecimal()) or len(uid) > _MAX_DIGITS:
            return OTHER
        return OTHER if is_new and len(known - {"", OTHER}) >= MAX_UIDS else uid


def user_of(uid: str) -> str | None:
    """Return the name of a uid of this host; None if no user has it."""
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError, OverflowError):
        return None


def window_rows(senders: Senders, window: str, now: float, users: Users = user_of) -> dict[str, Any]:
    """Return the top lists of a window as JSON values, masked."""
    counts = senders.within(window, now)
    messages, recipients, deferred, bounced = counts.sources.totals
    return {
        "messages": messages,
        "recipients": recipients,
        "deferred": deferred,
        "bounced": bounced,
        "sources": _rows(counts.sources, masked_source, masked_address, users),
        "senders": _rows(counts.senders, masked_address, masked_source, users),
    }


def _rows(
    top: Top, mask: Callable[[str], str], mask_partner: Callable[[str], str], users: Users
) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for row in as_rows(top, _SHOWN):
        key, partner = mask(row["key"]), mask_partner(row["partner"])
        rows.append(
            {**row, "key": key, "partner": partner, "text": _text(key, users), "from": _text(partner, users)}
        )
    return rows


def _text(name: str, users: Users) -> str:
    return source_text(name, users) if name.startswith(tuple(VIA)) else name or "<>"

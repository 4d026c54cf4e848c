"""The mails of the queue by cause, relay and age, and the choice of some of them.

Promise: the listing is read as a stream. Only mails that are chosen for an action are kept, each by queue ID and arrival:
Postfix can give an ID to another mail later.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.queue import NO_CAUSE
from postward.parsers import classify
from postward.parsers.events import Delivery
from postward.parsers.queue import QueuedMail, QueueLines, parse_queued_mail, unescaped

_MAX_REASONS: Final = 4096  # in the cache
# Upper bound in seconds → name.
AGES: Final = ((60, "< 1 min"), (3600, "< 1 h"), (86400, "< 1 day"), (float("inf"), "1 day or more"))


class Waiting(NamedTuple):
    """A mail in the queue, as it is shown and chosen.

    Attributes:
        queue: active, deferred, hold, incoming or maildrop.
        queue_id: its name there.
        arrival: seconds since the epoch.
        size: bytes.
        cause: of the last failure; "none" without one.
        relay: a relay of the settings, "other" or "none".
        age: seconds.
        sender: the envelope sender.
    """

    queue: str
    queue_id: str
    arrival: int
    size: int
    cause: str
    relay: str
    age: float
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which mails: each set names what is chosen, and an empty one chooses all.

    A sender is an address, or a domain as in `@example.com`; case does not matter. `<>` is the empty sender.
    """

    causes: frozenset[str] = frozenset()
    relays: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    older: int = 0
    senders: frozenset[str] = frozenset()

    def __contains__(self, mail: object) -> bool:
        """Return whether a mail is chosen."""
        return (
            isinstance(mail, Waiting)
            and (not self.causes or mail.cause in self.causes)
            and (not self.relays or mail.relay in self.relays)
            and (not self.queues or mail.queue in self.queues)
            and mail.age >= self.older
            and (not self.senders or self._has_sender(mail.sender.lower()))
        )

    def _has_sender(self, sender: str) -> bool:
        if sender in {"", "mailer-daemon"}:
            return "<>" in self.senders
        _, at, domain = sender.rpartition("@")
        return any(name.lower() in {sender, f"{at}{domain}"} for name in self.senders)


@dataclass(slots=True)
class Groups:
    """Numbers of mails.

    Attributes:
        mails, size: number and bytes of all.
        oldest: seconds.
        by: "queue", "cause", "relay" or "age" → its value → number.
    """

    mails: int = 0
    size: int = 0
    oldest: float = 0.0
    by: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in ("queue", "cause", "relay", "age")}
    )

    def add(self, mail: Waiting) -> None:
        """Count a mail."""
        self.mails += 1
        self.size += mail.size
        self.oldest = max(self.oldest, mail.age)
        age = next(name for bound, name in AGES if mail.age < bound)
        for name, value in (
            ("queue", mail.queue),
            ("cause", mail.cause),
            ("relay", mail.relay),
            ("age", age),
        ):
            self.by[name][value] += 1


class _Reasons:
    """Reason → cause and relay. Most mails of a queue wait for the same few reasons."""

    def __init__(self, names: RelayNames) -> None:
        self._names = names
        self._known: dict[bytes | None, tuple[str, str]] = {None: (NO_CAUSE, "none")}

    def of(self, reason: bytes | None) -> tuple[str, str]:
        """Return cause and relay."""
        known = self._known.get(reason)
        if known is None and reason is not None:
            if len(self._known) >= _MAX_REASONS:
                self._known = {None: self._known[None]}
            text = unescaped(reason)
            attempt = Delivery("", "", None, "none", None, "", None, None, None, "deferred", text)
            known = self._known[reason] = classify(text).value, self._names.of_delivery(attempt)
        return known or self._known[None]


async def waiting_mails(
    pieces: AsyncIterator[bytes], names: RelayNames, now: float
) -> AsyncIterator[Waiting]:
    """Yield the mails of a listing (`postqueue -j`)."""
    lines, reasons = QueueLines(), _Reasons(names)
    async for piece in pieces:
        for mail in _parsed(lines.feed(piece)):
            cause, relay = reasons.of(mail.reason)
            age = max(0.0, now - mail.arrival)
            yield Waiting(mail.queue, mail.queue_id, mail.arrival, mail.size, cause, relay, age, mail.sender)


def _parsed(lines: Iterator[bytes]) -> Iterator[QueuedMail]:
    return (mail for line in lines if (mail := parse_queued_mail(line)) is not None)

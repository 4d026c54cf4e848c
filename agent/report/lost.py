"""The mails that a log shows as lost: for each recipient that a mail never reached, one row.

A mail is lost if it bounced, expired in the queue, was accepted and discarded by a rule, or was deleted by postsuper. A
bounced mail is usually returned to its sender, who is the only one to know.

Sender and failed recipients of a mail stand in earlier lines, so the logs are read in order, by one process. Memory is
bounded: at most 100,000 mails in the queue are known at a time, and 10,000 rows kept. Further rows are only counted.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, NamedTuple, TypedDict

from postward.agent.metrics.labels import RelayNames
from postward.agent.report.clock import LogClock
from postward.agent.report.period import Period
from postward.agent.report.tally import example
from postward.agent.rows import ByRows, Rows, Take
from postward.agent.text import domain_of, moment
from postward.parsers import Event, Record, cause_of_delivery
from postward.parsers import events as ev
from postward.parsers.scan import Block, Wanted
from postward.parsers.scrub import printable, scrub

BOUNCED, EXPIRED, DISCARDED, DELETED = FATES = ("bounced", "expired", "discarded", "deleted")
COLUMNS: Final = (
    "time",
    "host",
    "queue_id",
    "fate",
    "sender",
    "recipient",
    "relay",
    "cause",
    "dsn",
    "text",
)
_MAX_MAILS: Final = 100_000
_MAX_ROWS: Final = 10_000
_MAX_RECIPIENTS: Final = 1000  # of a mail that wait
_DISCARDS: Final = frozenset({"discard", "milter-discard"})

# Rare events about a mail whose other lines may stand in the same block.
_IN_ORDER: Final = (ev.Expired, ev.Removed, ev.Delivery, ev.ContentAction)

_OTHER_LINES: Final[tuple[type[Any], ...]] = (ev.PickedUp, ev.ClientAccepted, ev.MessageId, ev.Notification)

_Id = tuple[str, str]  # host, queue ID


class LostRow(TypedDict):
    """A recipient that a mail never reached. Unknown values are empty."""

    time: str
    host: str
    queue_id: str
    fate: str
    sender: str
    recipient: str
    relay: str
    cause: str
    dsn: str
    text: str


class _Attempt(NamedTuple):
    """The last failed attempt for a recipient that waits."""

    relay: str
    cause: str
    dsn: str
    text: str


class _Mail:
    """A mail in the queue."""

    __slots__ = ("sender", "waiting")

    def __init__(self) -> None:
        self.sender = ""
        self.waiting: dict[str, _Attempt] = {}  # recipient → its last attempt


class LostMails(ByRows):
    """Finds lost mails in lines that are given in order.

    Args:
        names: names of the relays.
        period: rows of other times are left out.
        show: returns what is shown of an address.
        show_text: returns what is shown of a reply.

    Attributes:
        rows: the rows, oldest first.
        counts: number of rows by fate, with those that were not kept.
    """

    takes: ClassVar[Mapping[type[Any], Take]] = {}

    def __init__(
        self,
        names: RelayNames,
        period: Period,
        show: Callable[[str], str],
        show_text: Callable[[str], str],
        max_rows: int = _MAX_ROWS,
    ) -> None:
        self.rows: list[LostRow] = []
        self.counts: Counter[str] = Counter()
        self._names = names
        self._period = period
        self._show, self._show_text = show, show_text
        self._max_rows = max_rows
        self._mails: OrderedDict[_Id, _Mail] = OrderedDict()
        self._clock = LogClock(datetime.now().astimezone())

    @property
    def wanted(self) -> Wanted:
        """The columns that are read; of a mail's other lines the queue ID, to see whether one is reused."""
        return {**dict.fromkeys(_OTHER_LINES, ("queue_id",)), **super().wanted}

    def read_from(self, reference: datetime) -> None:
        """Begin another file, which was last written at that time."""
        self._clock = LogClock(reference)

    def observe_block(self, block: Block) -> None:
        """Take the lines of a block, line by line if one of them needs what is known of its mail at that moment."""
        if block.reuses_queue_ids or any(isinstance(line.event, _IN_ORDER) for line in block.others):
            for line in block.all_lines:
                self.take_line(line.record, line.event)
        else:
            super().observe_block(block)

    def observe(self, record: Record, event: Event) -> None:
        """Take a line of a rare kind, or one of a block that reuses a queue ID."""
        if isinstance(event, ev.Delivery) and record.daemon == "discard":
            self._add(record.stamp, record.host, event.queue_id, DISCARDED, event.to, text=event.reason or "")
        elif isinstance(event, ev.Removed) and record.daemon == "postsuper":
            self._add_waiting(record.stamp, record.host, event.queue_id, DELETED)
            self._mails.pop((record.host, event.queue_id), None)
        elif isinstance(event, ev.Expired):
            self._add_waiting(record.stamp, record.host, event.queue_id, EXPIRED, event.from_)
        elif isinstance(event, ev.ClientVerdict | ev.ContentAction) and event.action in _DISCARDS:
            sender, queue_id = event.from_ or "", event.queue_id or ""
            self._add(
                record.stamp,
                record.host,
                queue_id,
                DISCARDED,
                event.to or "",
                sender=sender,
                text=event.text or "",
            )
        else:
            super().observe(record, event)

    def active(self, rows: Rows) -> None:
        """Note the senders of mails in the queue."""
        for host, queue_id, sender in rows:
            self._mail(host, queue_id).sender = sender or "<>"

    def delivered(self, rows: Rows) -> None:
        """Note attempts."""
        for stamp, host, queue_id, recipient, relay, dsn, status, reason in rows:
            if status == "sent":
                if (mail := self._mails.get((host, queue_id))) is not None:
                    mail.waiting.pop(recipient, None)
                continue
            if status not in {"deferred", "SOFTBOUNCE", "bounced"}:
                continue
            cause = cause_of_delivery(status, relay, reason, dsn)
            attempt = _Attempt(
                self._names.of(relay, reason), cause.value if cause else "", dsn or "", reason or ""
            )
            if status == "bounced":
                self._add(stamp, host, queue_id, BOUNCED, recipient, attempt)
            mail = self._mail(host, queue_id)
            if status == "bounced":
                mail.waiting.pop(recipient, None)
            elif len(mail.waiting) < _MAX_RECIPIENTS or recipient in mail.waiting:
                mail.waiting[recipient] = attempt

    def removed(self, rows: Rows) -> None:
        """Forget mails that have left the queue."""
        for mail in rows:
            self._mails.pop(mail, None)

    def _mail(self, host: str, queue_id: str) -> _Mail:
        mail = self._mails.get((host, queue_id))
        if mail is None:
            mail = self._mails[host, queue_id] = _Mail()
            if len(self._mails) > _MAX_MAILS:
                self._mails.popitem(last=False)
        return mail

    def _add_waiting(self, stamp: str, host: str, queue_id: str, fate: str, sender: str = "") -> None:
        mail = self._mails.get((host, queue_id))
        waiting = mail.waiting if mail else {}
        for recipient, attempt in waiting.items() or [("", _NO_ATTEMPT)]:
            self._add(stamp, host, queue_id, fate, recipient, attempt, sender=sender)
        waiting.clear()

    def _add(
        self,
        stamp: str,
        host: str,
        queue_id: str,
        fate: str,
        recipient: str,
        attempt: "_Attempt | None" = None,
        *,
        sender: str = "",
        text: str = "",
    ) -> None:
        second = self._clock.second(stamp)
        if self._period.place(second):
            return
        self.counts[fate] += 1
        if len(self.rows) >= self._max_rows:
            return
        mail, attempt = self._mails.get((host, queue_id)), attempt or _NO_ATTEMPT
        sender = sender or (mail.sender if mail else "")
        self.rows.append(
            LostRow(
                time=moment(second) or "",
                host=host,
                queue_id=queue_id,
                fate=fate,
                sender=self._show(sender) if sender else "",
                recipient=self._show(recipient) if recipient else "",
                relay=attempt.relay,
                cause=attempt.cause,
                dsn=attempt.dsn,
                text=self._show_text(attempt.text or text),
            )
        )


_NO_ATTEMPT: Final = _Attempt("", "", "", "")

LostMails.takes = {
    ev.QueueActive: Take(("host", "queue_id", "from_"), lambda part, rows, _times: part.active(rows)),
    ev.Delivery: Take(
        ("stamp", "host", "queue_id", "to", "relay", "dsn", "status", "reason"),
        lambda part, rows, _times: part.delivered(rows),
    ),
    ev.Removed: Take(("host", "queue_id"), lambda part, rows, _times: part.removed(rows)),
}


# --- what is shown of addresses and replies


def in_full(address: str) -> str:
    """Return an address as printed."""
    return printable(address)


def by_domain(address: str) -> str:
    """Return the domain of an address alone."""
    return address if address == "<>" else f"…@{printable(domain_of(address))}"


def full_text(text: str) -> str:
    """Return a reply with its addresses, without secrets."""
    return printable(scrub(text))


masked_text: Final = example


def nothing(_text: str) -> str:
    """Return nothing, for a report without domains and replies."""
    return ""


# --- forms


def as_csv_rows(rows: list[LostRow]) -> Iterator[list[str]]:
    """Yield the rows of a CSV file, the names of the columns first.

    A spreadsheet takes text that begins with one of =+-@ for a formula, and strangers choose some of it: a quote goes
    before it.
    """
    yield [*COLUMNS]
    for row in rows:
        values = (row[name] for name in COLUMNS)
        yield [f"'{value}" if value[:1] in _FORMULAS else value for value in values]


_FORMULAS: Final = tuple("=+-@\t\r")


def as_lines(rows: list[LostRow], counts: Mapping[str, int]) -> Iterator[str]:
    """Yield the rows as text, with their number at the end."""
    for row in rows:
        way = f" at {row['relay']}" if row["relay"] else ""
        cause = f" ({row['cause']})" if row["cause"] else ""
        yield (
            f"{row['time'] or '?':19}  {row['fate']:9}  {row['host']} {row['queue_id']}: "
            f"{row['sender'] or '?'} → {row['recipient'] or '?'}{way}{cause}"
        )
        if row["text"]:
            yield f"{'':32}{row['text']}"
    total = sum(counts.values())
    if not total:
        yield "No mail was lost"
        return
    parts = ", ".join(f"{counts[fate]:,} {fate}" for fate in FATES if counts[fate])
    yield f"{total:,} {'recipient' if total == 1 else 'recipients'} not reached: {parts}"
    if total > len(rows):
        yield f"the first {len(rows):,} are shown"

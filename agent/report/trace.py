"""One mail's life across queue IDs: the mails that a name leads to, and their lines in order. Pure.

A mail gets a new queue ID when it is forwarded, bounced (the bounce message is a mail), returned by a content filter,
or requeued. `Links` learns from each line which queue IDs belong together: Postfix names the new one, or the
Message-ID is the same. Two passes over the logs, for the links and for the lines, need memory only for a bounded
number of links.
"""

import re
from collections import OrderedDict
from typing import Final, TypedDict

from postward.agent.text import readable
from postward.parsers import Event, Record
from postward.parsers import events as ev

# The oldest links are forgotten: forwarding, bouncing and filtering take minutes, not months.
_MAX_LINKS: Final = 1 << 18
_MAX_MESSAGE_IDS: Final = 1 << 17
_MAX_WANTED: Final = 10_000  # mails of one trace
_QUEUED: Final = re.compile(r"queued as ([0-9A-Za-z]{5,})\b")
_FORWARDED: Final = re.compile(r"forwarded as ([0-9A-Za-z]{5,})\b")
# A next hop on this host: its queue ID is in the same log.
_LOOPBACK: Final = re.compile(r"\[(?:127\.[0-9.]+|::1)\]")
_EMPTY_MESSAGE_IDS: Final = frozenset({"", "<>"})

Mail = tuple[str, str]  # host, queue ID


class TraceRow(TypedDict):
    """A step of a timeline in JSON.

    Keys:
        stamp: the stamp of the line, readable.
        host: the host that logged it.
        daemon: the daemon that logged it.
        queue_id: the mail's queue ID at this step.
        event: name of the event's type.
        text: text of the line without the queue ID.
        leads_to: the queue ID that the mail became or came from; None if it stayed the same.
    """

    stamp: str
    host: str
    daemon: str
    queue_id: str
    event: str
    text: str
    leads_to: str | None


class Links:
    """The queue IDs that belong to a name.

    Args:
        name: a queue ID, a Message-ID with or without its brackets, or a mail address.
    """

    def __init__(self, name: str) -> None:
        bare = name.strip("<>")
        self._queue_id = name if re.fullmatch(r"[0-9A-Za-z]+", name) else None
        self._message_ids = {name, f"<{bare}>"}
        self._address = bare.lower() if "@" in bare else None
        self._roots: dict[Mail, None] = {}  # mails that the name itself names, in order
        self._links: OrderedDict[tuple[Mail, Mail], None] = OrderedDict()
        self._by_message_id: OrderedDict[str, Mail] = OrderedDict()

    def learn(self, record: Record, event: Event) -> None:
        """Take a line."""
        queue_id: str | None = getattr(event, "queue_id", None)
        if queue_id is None:
            return
        mail = (record.host, queue_id)
        if self._is_named(queue_id, event) and len(self._roots) < _MAX_WANTED:
            self._roots[mail] = None
        if other := leads_to(event):
            self._link(mail, (record.host, other))
        # A content filter may return a mail without naming the old queue ID.
        if isinstance(event, ev.MessageId) and event.message_id not in _EMPTY_MESSAGE_IDS:
            first = self._by_message_id.setdefault(event.message_id, mail)
            if first != mail:
                self._link(first, mail)
            if len(self._by_message_id) > _MAX_MESSAGE_IDS:
                self._by_message_id.popitem(last=False)

    def wanted(self) -> set[Mail]:
        """Return the mails of the name, and all mails that they became or came from."""
        neighbours: dict[Mail, list[Mail]] = {}
        for one, other in self._links:
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
        mails = set(self._roots)
        waiting = list(self._roots)
        while waiting:
            for other in neighbours.get(waiting.pop(), ()):
                if other not in mails and len(mails) < _MAX_WANTED:
                    mails.add(other)
                    waiting.append(other)
        return mails

    def may_concern(self, text: str) -> bool:
        """Whether `learn` could learn from a text: a quick test before it is parsed."""
        return (
            "essage-id=" in text
            or " notification: " in text
            or "forwarded as " in text
            or "orig_" in text
            or ("queued as " in text and _LOOPBACK.search(text) is not None)
            or (self._queue_id is not None and self._queue_id in text)
            or (self._address is not None and self._address in text.lower())
        )

    def _link(self, one: Mail, other: Mail) -> None:
        self._links[one, other] = None
        if len(self._links) > _MAX_LINKS:
            self._links.popitem(last=False)

    def _is_named(self, queue_id: str, event: Event) -> bool:
        if queue_id == self._queue_id:
            return True
        if isinstance(event, ev.MessageId):
            return event.message_id in self._message_ids
        if self._address is None:
            return False
        addresses = (getattr(event, field, None) for field in ("to", "orig_to", "from_"))
        return any(address is not None and address.lower() == self._address for address in addresses)


def leads_to(event: Event) -> str | None:
    """Return the queue ID on the same host that an event's mail became or came from."""
    match event:
        case ev.Notification(notification_id=queue_id):
            return queue_id
        case ev.PickedUp(orig_id=queue_id) | ev.ClientAccepted(orig_queue_id=queue_id):
            return queue_id
        case ev.Delivery(status="sent", relay=relay, reason=str(reason)):
            new = _FORWARDED.match(reason) or (_LOOPBACK.search(relay) and _QUEUED.search(reason))
            return new[1] if new else None
        case _:
            return None


def trace_row(record: Record, event: Event | None, text: str) -> TraceRow | None:
    """Return a line as a step of a timeline; None if it is not about a mail.

    Args:
        record: the line.
        event: its event.
        text: the line's text, scrubbed.
    """
    queue_id: str | None = getattr(event, "queue_id", None)
    if event is None or queue_id is None:
        return None
    return {
        "stamp": readable(record.stamp),
        "host": record.host,
        "daemon": record.daemon,
        "queue_id": queue_id,
        "event": type(event).__name__,
        "text": text.removeprefix(f"{queue_id}: "),
        "leads_to": leads_to(event),
    }

"""One mail's life across queue IDs: which mails a name leads to, and their lines in order.

A mail gets a new queue ID when it is forwarded, bounced (the notice is a mail), handed to a content filter that hands it back, or
requeued. `Links` learns from each line which queue IDs belong together: Postfix names the new one, or the Message-ID is the same. Two
passes over the logs, the first for the links and the second for the lines, take memory for links only, and of those at most so many.

Pure: lines in, rows out. What a stranger wrote is shown scrubbed, by whoever shows it.
"""

import re
from collections import OrderedDict
from typing import Any, Final

from postward.agent.text import readable
from postward.parsers import Event, Record
from postward.parsers import events as ev

_MAX_LINKS: Final = (
    1 << 18
)  # the oldest are forgotten: forwarding, bouncing and filtering take minutes, not months
_MAX_MESSAGE_IDS: Final = 1 << 17
_MAX_WANTED: Final = 10_000  # mails of one trace
# A next hop on this host: what it queues is in the same log.
_QUEUED: Final = re.compile(r"queued as ([0-9A-Za-z]{5,})\b")
_FORWARDED: Final = re.compile(r"forwarded as ([0-9A-Za-z]{5,})\b")
_LOOPBACK: Final = re.compile(r"\[(?:127\.[0-9.]+|::1)\]")
_NO_ID: Final = frozenset({"", "<>"})

Mail = tuple[str, str]  # host, queue ID


class Links:
    """Which mails are looked for.

    Args:
        name: a queue ID, a Message-ID (with or without its brackets), or a mail address.
    """

    def __init__(self, name: str) -> None:
        bare = name.strip("<>")
        self._queue_id = name if re.fullmatch(r"[0-9A-Za-z]+", name) else None
        self._message_ids = {name, f"<{bare}>"}
        self._address = bare.lower() if "@" in bare else None
        self._roots: dict[Mail, None] = {}  # what the name itself leads to, in order
        self._links: OrderedDict[tuple[Mail, Mail], None] = OrderedDict()
        self._by_message_id: OrderedDict[str, Mail] = OrderedDict()

    def learn(self, record: Record, event: Event) -> None:
        """Take a line."""
        queue_id: str | None = getattr(event, "queue_id", None)
        if queue_id is None:
            return
        mail = (record.host, queue_id)
        if self._is_meant(queue_id, event) and len(self._roots) < _MAX_WANTED:
            self._roots[mail] = None
        if other := leads_to(event):
            self._link(mail, (record.host, other))
        if (
            isinstance(event, ev.MessageId) and event.message_id not in _NO_ID
        ):  # a content filter may hand a mail back without a word
            first = self._by_message_id.setdefault(event.message_id, mail)
            if first != mail:
                self._link(first, mail)
            if len(self._by_message_id) > _MAX_MESSAGE_IDS:
                self._by_message_id.popitem(last=False)

    def wanted(self) -> set[Mail]:
        """The mails that the name leads to, and those that these became or came from."""
        neighbours: dict[Mail, list[Mail]] = {}
        for one, other in self._links:
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
        found = set(self._roots)
        waiting = list(self._roots)
        while waiting:
            for other in neighbours.get(waiting.pop(), ()):
                if other not in found and len(found) < _MAX_WANTED:
                    found.add(other)
                    waiting.append(other)
        return found

    def may_tell(self, text: str) -> bool:
        """False for text from which nothing can be learnt: a quick look before it is parsed."""
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

    def _is_meant(self, queue_id: str, event: Event) -> bool:
        if queue_id == self._queue_id:
            return True
        if isinstance(event, ev.MessageId):
            return event.message_id in self._message_ids
        if self._address is None:
            return False
        parts = (getattr(event, field, None) for field in ("to", "orig_to", "from_"))
        return any(part is not None and part.lower() == self._address for part in parts)


def leads_to(event: Event) -> str | None:
    """The queue ID of this host that an event's mail became, or came from."""
    if isinstance(event, ev.Notification):
        return event.notification_id
    if isinstance(event, ev.PickedUp):
        return event.orig_id
    if isinstance(event, ev.ClientAccepted):
        return event.orig_queue_id
    if isinstance(event, ev.Delivery) and event.status == "sent":
        reason = event.reason or ""
        if match := _FORWARDED.match(reason):
            return match[1]
        if _LOOPBACK.search(event.relay) and (match := _QUEUED.search(reason)):
            return match[1]
    return None


def step(record: Record, event: Event | None, text: str) -> dict[str, Any] | None:
    """A line as a step of a timeline, or None for one that tells of no mail.

    Args:
        record: the line.
        event: what it says.
        text: the line's text as it may be shown.
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

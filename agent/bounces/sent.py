"""The mails that the relays accepted lately: Message-ID → relay.

Promise: memory is bounded. Of a Message-ID only a digest is kept, in memory and in the checkpoint.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, ClassVar, Final

from typing_extensions import TypedDict

from postward.agent.metrics.labels import RelayNames
from postward.agent.rows import ByRows, Rows, Take
from postward.agent.stored import Form
from postward.parsers import events as ev

MAX_SENT: Final = 20_000  # mails; a host that sends 100,000 a day knows those of the last five hours
_MAX_IN_FLIGHT: Final = 10_000


class _Saved(TypedDict, total=False):
    in_flight: dict[str, str]
    sent: dict[str, list[str]]


_FORM: Form[_Saved] = Form(_Saved)


def digest(text: str) -> str:
    """Return a digest of a Message-ID, of 16 characters."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class SentMail(ByRows):
    """Observes Message-IDs and deliveries.

    Args:
        names: the relays of the settings. Mail that went elsewhere is not remembered.
    """

    joins: ClassVar[bool] = True
    takes: ClassVar[Mapping[type[Any], Take]] = {}

    def __init__(self, names: RelayNames) -> None:
        self._names = names
        self._known = frozenset(names.known)
        self._in_flight: dict[str, str] = {}  # queue ID → digest
        self._sent: dict[str, str] = {}  # digest → relay

    def relay_of(self, message_ids: tuple[str, ...]) -> tuple[str, str]:
        """Return the relay that took a mail, and the Message-ID by which it is known; ("other", "") if it is not known."""
        for message_id in message_ids:
            if (relay := self._sent.get(digest(message_id))) is not None:
                return relay, message_id
        return "other", ""

    def identified(self, rows: Rows) -> None:
        """Take the Message-IDs of mails."""
        for queue_id, message_id in rows:
            self._in_flight[queue_id] = digest(message_id)
        _shorten(self._in_flight, _MAX_IN_FLIGHT)

    def delivered(self, rows: Rows) -> None:
        """Take deliveries."""
        for instance, relay, status, reason, queue_id in rows:
            mail = self._in_flight.get(queue_id) if status == "sent" else None
            if mail is not None and (name := self._names.of(relay, reason, instance)) in self._known:
                self._sent.pop(mail, None)
                self._sent[mail] = name
        _shorten(self._sent, MAX_SENT)

    def removed(self, rows: Rows) -> None:
        """Forget the queue IDs of mails that have left the queue."""
        for (queue_id,) in rows:
            self._in_flight.pop(queue_id, None)

    def state(self) -> dict[str, Any]:
        """Return what is known, for the checkpoint."""
        sent: dict[str, list[str]] = {}
        for mail, relay in self._sent.items():
            sent.setdefault(relay, []).append(mail)
        return {"in_flight": self._in_flight, "sent": sent}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned, without relays that the settings no longer have. Raises ValueError."""
        saved = _FORM.check(dict(state))
        self._in_flight = dict(saved.get("in_flight", {}))
        self._sent = {
            mail: relay
            for relay, mails in saved.get("sent", {}).items()
            for mail in mails
            if relay in self._known
        }


def _shorten(mails: dict[str, str], longest: int) -> None:
    """Forget the oldest."""
    for _ in range(len(mails) - longest):
        del mails[next(iter(mails))]


SentMail.takes = {  # in the order of a mail's lines
    ev.MessageId: Take(("queue_id", "message_id"), lambda part, rows, _times: part.identified(rows)),
    ev.Delivery: Take(
        ("instance", "relay", "status", "reason", "queue_id"), lambda part, rows, _times: part.delivered(rows)
    ),
    ev.Removed: Take(("queue_id",), lambda part, rows, _times: part.removed(rows)),
}

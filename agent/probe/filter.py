"""Keep probes out of the counts of user mail; their log lines are counted like all others.

Postfix logs the arrival of a message (pickup, smtpd) before cleanup logs its Message-ID, which identifies a probe. An
arrival is therefore held until the Message-ID is known. The queue ID of a probe belongs to the probe until qmgr removes
the message. A bounce of a probe counts as probe traffic too.

Promise: exact for every message whose Message-ID was logged, also across restarts, since `state` is saved with the
counts. At most 4096 arrivals and 4096 probes are held; beyond that, the oldest count as user mail.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from typing_extensions import TypedDict

from postward.agent.metrics.deliveries import Counting
from postward.agent.parts import Part
from postward.agent.probe.message import is_probe
from postward.agent.rows import Rows, Take
from postward.agent.stored import Form
from postward.parsers import events as ev


class _Saved(TypedDict, total=False):
    held: dict[str, tuple[str, str]]
    probes: list[str]


_FORM: Form[_Saved] = Form(_Saved)
_MAX_HELD = 4096  # arrivals; cleanup logs each Message-ID within the same second
_MAX_PROBES = 4096


class ProbeFilter(Counting, Part):
    """Counts like `Counting`, without the messages of probes."""

    name = "traffic"
    joins = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: dict[str, tuple[str, str]] = {}  # queue ID → instance, via
        self._probes: dict[str, None] = {}

    def hold(self, via: str, rows: Rows) -> None:
        """Hold arrivals until their Message-IDs are known."""
        held, probes = self._held, self._probes
        for instance, queue_id in rows:
            if probes:  # Postfix reuses queue IDs: a new arrival is another message
                probes.pop(queue_id, None)
            held[queue_id] = (instance, via)
            if len(held) > _MAX_HELD:
                self._arrive(next(iter(held)))

    def identify(self, rows: Rows) -> None:
        """Take the Message-IDs of arrivals."""
        arrived: Counter[tuple[str, str]] = Counter()
        for queue_id, message_id in rows:
            held = self._held.pop(queue_id, None)
            if is_probe(message_id):
                self._remember(queue_id)
            elif held is not None:
                arrived[held] += 1
        for held, number in arrived.items():
            self.received(*held, number)

    def of_users(self, rows: Rows, place: int) -> Rows:
        """Return the rows of users' messages; `place` is that of the queue ID."""
        # Without a Message-ID it is not known to be a probe.
        for queue_id in [row[place] for row in rows if row[place] in self._held]:
            if queue_id not in self._probes:
                self._arrive(queue_id)
        return [row for row in rows if row[place] not in self._probes] if self._probes else rows

    def forget(self, rows: Rows) -> None:
        """Forget the probes among removed messages."""
        for _, queue_id in rows if self._probes else ():
            self._probes.pop(queue_id, None)

    def bounced(self, rows: Rows) -> None:
        """Remember the notifications about probes."""
        for _, queue_id, notification_id in rows if self._probes else ():
            if queue_id in self._probes:
                self._remember(notification_id)

    def _arrive(self, queue_id: str) -> None:
        held = self._held.pop(queue_id, None)
        if held is not None:
            self.received(*held, 1)

    def _remember(self, queue_id: str) -> None:
        self._probes[queue_id] = None
        if len(self._probes) > _MAX_PROBES:
            del self._probes[next(iter(self._probes))]

    def state(self) -> dict[str, Any]:
        """Return the held arrivals and the queue IDs of probes, to save with the counts."""
        return {"held": self._held, "probes": list(self._probes)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned. Raises ValueError for other data."""
        saved = _FORM.check(dict(state))
        self._held = dict(saved.get("held", {}))
        self._probes = dict.fromkeys(saved.get("probes", ()))


def _arrivals(kind: type[Any], via: str) -> Take:
    columns, count = Counting.takes[kind]

    def held(counting: ProbeFilter, rows: Rows, times: int) -> None:
        if times == 1:
            counting.hold(via, rows)
        else:
            count(counting, rows, times)

    return Take(columns, held)


def _of_users(
    kind: type[Any], after: Callable[[ProbeFilter, Rows], None] = lambda _counting, _rows: None
) -> Take:
    columns, count = Counting.takes[kind]
    place = columns.index("queue_id")

    def of_users(counting: ProbeFilter, rows: Rows, times: int) -> None:
        users = counting.of_users(rows, place) if times == 1 else rows
        if users:
            count(counting, users, times)
        if times == 1:
            after(counting, rows)

    return Take(columns, of_users)


_OF_MESSAGES: Final = {  # in the order of a message's lines
    ev.PickedUp: _arrivals(ev.PickedUp, "sendmail"),
    ev.ClientAccepted: _arrivals(ev.ClientAccepted, "smtp"),
    ev.MessageId: Take(("queue_id", "message_id"), lambda counting, rows, _times: counting.identify(rows)),
    ev.Notification: _of_users(ev.Notification, ProbeFilter.bounced),
    ev.Delivery: _of_users(ev.Delivery),
    ev.Expired: _of_users(ev.Expired),
    ev.Removed: _of_users(ev.Removed, ProbeFilter.forget),
}
ProbeFilter.takes = _OF_MESSAGES | {
    kind: take for kind, take in Counting.takes.items() if kind not in _OF_MESSAGES
}

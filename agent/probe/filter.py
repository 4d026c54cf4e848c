"""Keep probes out of the counts of user mail; their log lines are counted like all others.

Postfix logs the arrival of a message (pickup, smtpd) before cleanup logs its Message-ID, which identifies a probe. An
arrival is therefore held until the Message-ID is known. The queue ID of a probe belongs to the probe until qmgr removes
the message. A bounce of a probe counts as probe traffic too.

Promise: exact for every message whose Message-ID was logged, also across restarts, since `state` is saved with the
counts. At most 4096 arrivals and 4096 probes are held; beyond that, the oldest count as user mail.
"""

from collections.abc import Mapping
from typing import Any, Final

from typing_extensions import TypedDict

from postward.agent.metrics.deliveries import Counting
from postward.agent.parts import Part
from postward.agent.probe.message import is_probe
from postward.agent.stored import Form
from postward.parsers import Event, Record
from postward.parsers import events as ev


class _Saved(TypedDict, total=False):
    held: dict[str, tuple[str, str]]
    probes: list[str]


_FORM: Form[_Saved] = Form(_Saved)
_MAX_HELD = 4096  # arrivals; cleanup logs each Message-ID within the same second
_MAX_PROBES = 4096

_VIA: Final[Mapping[Any, str]] = {ev.PickedUp: "sendmail", ev.ClientAccepted: "smtp"}
# Events that are counted per message and have a queue ID.
_COUNTED: Final = frozenset({ev.Delivery, ev.Expired, ev.Removed, ev.Notification})
# Replaces an event whose line is counted and whose message is not.
_NOTHING: Final = ev.Skipped("")


class ProbeFilter(Counting, Part):
    """Counts like `Counting`, without the messages of probes."""

    name = "traffic"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: dict[str, tuple[str, str]] = {}  # queue ID → instance, via
        self._probes: dict[str, None] = {}

    def count(self, record: Record | None, event: Event | None) -> None:
        """Count one line, as `parsers.parse` returns it."""
        kind = type(event)
        if record is None or event is None or record.repeat != 1:
            super().count(record, event)
        elif kind in _VIA:
            super().count(record, _NOTHING)
            self._hold(record, event)
        elif isinstance(event, ev.MessageId):
            super().count(record, event)
            self._identify(event)
        elif kind in _COUNTED and self._is_probes(event):
            super().count(record, _NOTHING)
        else:
            super().count(record, event)

    def _hold(self, record: Record, event: Any) -> None:
        # Postfix reuses queue IDs: a new arrival is another message.
        self._probes.pop(event.queue_id, None)
        self._held[event.queue_id] = (record.instance, _VIA[type(event)])
        if len(self._held) > _MAX_HELD:
            self._arrive(next(iter(self._held)))

    def _identify(self, event: ev.MessageId) -> None:
        if not is_probe(event.message_id):
            self._arrive(event.queue_id)
            return
        self._held.pop(event.queue_id, None)
        self._remember(event.queue_id)

    def _arrive(self, queue_id: str) -> None:
        held = self._held.pop(queue_id, None)
        if held is not None:
            labels = (self.instance(held[0]), held[1])
            self.tally.add("postfix_messages_received_total", labels)

    def _is_probes(self, event: Any) -> bool:
        queue_id = event.queue_id
        if queue_id not in self._probes:
            # Without a Message-ID it is not known to be a probe.
            self._arrive(queue_id)
            return False
        if isinstance(event, ev.Removed):
            del self._probes[queue_id]
        elif isinstance(event, ev.Notification):
            self._remember(event.notification_id)
        return True

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

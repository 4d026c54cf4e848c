"""Log lines → messages, recipients and failures by source and by sender address, for the last hour and day. No I/O.

A message is counted when it first enters the active queue, at the time at which it arrived, because only then its number
of recipients is known. Its source comes from the line of its arrival, by the queue ID. A message that a content filter
hands back, or that was requeued, has been counted before. Lines a day older than the newest one are not counted.

Promise: memory is bounded. The last hour is kept in steps of five minutes, the day before it in hours.

How it fails: a message whose arrival is not in the log is not counted. Of more than 20,000 messages in the queue, the
oldest have no source: their failures are not counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from typing_extensions import TypedDict

from postward.agent.metrics.minutes import TO_THE_MINUTE, Minutes
from postward.agent.rows import ByRows, Rows, Take
from postward.agent.senders.share import CLIENT, DOMINATES, LOCAL, LOGIN, MIN_MESSAGES, Share
from postward.agent.senders.top import COLUMNS, Top, entry_of, merged, rank
from postward.agent.stored import Form
from postward.parsers import events as ev
from postward.parsers.cause import DELIVERED
from postward.parsers.scan import Block

_STEP: Final = 300  # seconds
_HOUR: Final = 3600  # seconds
_DAY: Final = 86400  # seconds
_STEPS: Final = _HOUR // _STEP
_HOURS: Final = _DAY // _HOUR
_ROOM: Final = 1024  # sources, and senders, of a step that are counted exactly
_RECIPIENTS: Final = COLUMNS.index("recipients")
_MAX_MAILS: Final = 20_000
_LOOK: Final = 60  # seconds
_MAX_SHARES: Final = 16
_MAX_NAME: Final = 320  # characters of an address
_MAX_DIGITS: Final = 9  # of a number of recipients
_PLACES: Final = {"deferred": (0, 0, 1, 0), "SOFTBOUNCE": (0, 0, 1, 0), "bounced": (0, 0, 0, 1)}

Submitted = Callable[[str, str, int, int], None]  # instance, way in, messages, recipients


class Counts:
    """The counts of a time.

    Attributes:
        sources: by source; the partner is the first sender.
        senders: by sender address; the partner is the first source.
    """

    def __init__(self, sources: Top | None = None, senders: Top | None = None) -> None:
        self.sources = sources or Top(room=_ROOM)
        self.senders = senders or Top(room=_ROOM)

    def add(self, source: str, sender: str, numbers: tuple[int, ...]) -> None:
        """Add numbers in the order of `COLUMNS`."""
        source, sender = source[:_MAX_NAME], sender[:_MAX_NAME]
        self.sources.add(source, numbers, sender)
        self.senders.add(sender, numbers, source)

    @classmethod
    def sum(cls, counts: "Iterable[Counts]") -> "Counts":
        """Return the sum, oldest first."""
        rows = list(counts)
        return cls(merged([row.sources for row in rows]), merged([row.senders for row in rows]))


class _Saved(TypedDict, total=False):
    steps: dict[str, list[Any]]
    hours: dict[str, list[Any]]
    new: dict[str, tuple[str, float | None]]


_FORM: Final[Form[_Saved]] = Form(_Saved)


class Senders(ByRows):
    """Counts senders.

    Args:
        local_now: returns the time near which stamps without a year are read.
        submitted: called with the instance, the way in (`uid:33`, `login` or `client`), and numbers of messages and recipients.

    Attributes:
        queued: queue ID → source and sender of the messages in the queue.
    """

    takes: ClassVar[Mapping[type[Any], Take]] = {}
    joins = True

    def __init__(self, local_now: Callable[[], datetime], submitted: Submitted = lambda *_: None) -> None:
        self._local_now = local_now
        self._minutes = Minutes(local_now)
        self._submitted = submitted
        self._steps: dict[int, Counts] = {}  # step since 1970 → its counts
        self._hours: dict[int, Counts] = {}
        self._newest = 0  # step
        self._in_block = False
        self._gone: set[str] = set()  # queue IDs of messages that left the queue
        self._shares: dict[tuple[tuple[str, ...], int], Share | None] = {}
        self._new: dict[str, tuple[str, float | None]] = {}  # queue ID → source and time of arrival
        self.queued: dict[str, tuple[str, str]] = {}  # queue ID → source and sender

    def observe_block(self, block: Block) -> None:
        """Take the lines of a block."""
        self._in_block = not block.reuses_queue_ids  # else its lines are taken in order
        try:
            super().observe_block(block)
        finally:
            self._in_block = False
            self._forget()

    def _forget(self) -> None:
        new, queued = self._new, self.queued
        for queue_id in self._gone:
            if queued.pop(queue_id, None) is None:
                new.pop(queue_id, None)
        self._gone.clear()

    def arrived(self, mails: Iterable[tuple[str, str, str]]) -> None:
        """Note arrivals: queue ID, source and stamp."""
        new, queued, gone = self._new, self.queued, self._gone
        seconds: dict[str, float | None] = {}
        for queue_id, source, stamp in mails:
            if queue_id in queued:  # Postfix reuses queue IDs
                del queued[queue_id]
            if gone:
                gone.discard(queue_id)
            minute = stamp[:TO_THE_MINUTE]
            if minute not in seconds:
                seconds[minute] = self._minutes.second(stamp)
            new[queue_id] = (source, seconds[minute])
        while len(new) > _MAX_MAILS:
            del new[next(iter(new))]

    def activated(self, rows: Rows) -> None:
        """Count the messages that enter the active queue for the first time."""
        new, queued = self._new, self.queued
        found: list[tuple[str, str, str, str, float | None]] = []
        for instance, queue_id, sender, nrcpt in rows:
            if queue_id in new:
                source, second = new.pop(queue_id)
                queued[queue_id] = (source, sender)
                found.append((instance, source, sender, nrcpt, second))
        seconds = {row[-1] for row in found}
        self._counts_of(max(filter(None, seconds), default=None))  # the newest one first: it moves others
        times = {second: self._counts_of(second) for second in seconds}
        by_way: dict[tuple[str, str], list[int]] = {}  # instance, and the uid or the kind of source
        by_sender: dict[tuple[float | None, str], tuple[int, int, str]] = {}
        for (instance, source, sender, nrcpt, second), messages in Counter(found).items():
            recipients = messages * int(nrcpt) if len(nrcpt) <= _MAX_DIGITS else 0
            way = source if source.startswith(LOCAL) else source.partition(":")[0]
            row = by_way.setdefault((instance, way), [0, 0])
            row[0] += messages
            row[1] += recipients
            if (counts := times[second]) is not None:
                counts.sources.add(source[:_MAX_NAME], (messages, recipients, 0, 0), sender[:_MAX_NAME])
            known = by_sender.get((second, sender), (0, 0, source))
            by_sender[second, sender] = (known[0] + messages, known[1] + recipients, known[2])
        for (second, sender), (messages, recipients, source) in by_sender.items():
            if (counts := times[second]) is not None:
                counts.senders.add(sender[:_MAX_NAME], (messages, recipients, 0, 0), source[:_MAX_NAME])
        for (instance, way), numbers in by_way.items():
            self._submitted(instance, way, *numbers)
        while len(queued) > _MAX_MAILS:
            del queued[next(iter(queued))]

    def failed(self, rows: Rows, times: int) -> None:
        """Count failed attempts of messages whose source is known."""
        for queue_id, status, stamp in rows:
            if status not in DELIVERED and (mail := self.queued.get(queue_id)) and status in _PLACES:
                counts = self._counts_of(self._minutes.second(stamp))
                if counts is not None:
                    counts.add(*mail, tuple(times * number for number in _PLACES[status]))

    def removed(self, rows: Rows) -> None:
        """Forget messages that left the queue, once the block has been taken: rare kinds of lines are its last."""
        self._gone.update([queue_id for (queue_id,) in rows])
        if not self._in_block:
            self._forget()

    def within(self, window: str, now: float) -> Counts:
        """Return the counts of the last hour or day; the step or hour in which it begins counts in full."""
        return Counts.sum(self._of(window, now))

    def _of(self, window: str, now: float) -> list[Counts]:
        step = int(now) // _STEP
        steps = [(at, counts) for at, counts in sorted(self._steps.items()) if at <= step]
        if window == "hour":
            return [counts for at, counts in steps if at >= step - _STEPS]
        hour = int(now) // _HOUR
        hours = [counts for at, counts in sorted(self._hours.items()) if hour - _HOURS <= at <= hour]
        return [*hours, *(counts for _, counts in steps)]

    def share(self, windows: Iterable[str], now: float) -> Share | None:
        """Return the source with at least half of the recipients, of the first window that has one; else None.

        The answer is that of the first question of a minute.
        """
        asked = (tuple(windows), int(now) // _LOOK)
        if asked not in self._shares:
            self._shares = {} if len(self._shares) >= _MAX_SHARES else self._shares
            self._shares[asked] = self._share(asked[0], now)
        return self._shares[asked]

    def _share(self, windows: Iterable[str], now: float) -> Share | None:
        for window in windows:
            parts = [counts.sources for counts in self._of(window, now)]
            all_messages, all_recipients = (sum(top.totals[column] for top in parts) for column in (0, 1))
            # What has half of the whole has half of a part: few do, and no sum of the parts is needed.
            keys = {key for top in parts for key in top.holders(_RECIPIENTS, DOMINATES)}
            for entry in sorted((entry_of(parts, key) for key in keys), key=rank):
                messages, recipients = entry.at_least[:2]
                if messages >= MIN_MESSAGES and recipients >= DOMINATES * all_recipients:
                    return Share(
                        *(window, now, entry.key, entry.partner),
                        *(messages, recipients, all_messages, all_recipients),
                    )
        return None

    def state(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {
            "steps": _as_json(self._steps),
            "hours": _as_json(self._hours),
            "new": self._new,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned. Raises ValueError for other data."""
        saved = _FORM.check(dict(state))
        self._steps, self._hours = _counts(saved.get("steps", {})), _counts(saved.get("hours", {}))
        self._newest = max(self._steps, default=0)
        self._new = dict(list(saved.get("new", {}).items())[-_MAX_MAILS:])

    def _counts_of(self, second: float | None) -> Counts | None:
        """Return the counts of a moment; None if it is not known, a day old, or the clock was wrong."""
        if second is None:
            return None
        step = int(second) // _STEP
        if step > self._newest:
            if second > self._local_now().timestamp() + _DAY:
                return None
            self._newest = step
            self._fold()
        elif step < self._newest - _DAY // _STEP:
            return None
        is_recent = step >= self._newest - _STEPS
        of, at = (self._steps, step) if is_recent else (self._hours, step * _STEP // _HOUR)
        counts = of.get(at)
        if counts is None:
            counts = of[at] = Counts()
        return counts

    def _fold(self) -> None:
        """Move steps that are older than an hour into their hours, and forget hours that are older than a day."""
        for step in sorted(step for step in self._steps if step < self._newest - _STEPS):
            counts, hour = self._steps.pop(step), step * _STEP // _HOUR
            known = [self._hours[hour]] if hour in self._hours else []
            self._hours[hour] = Counts.sum([*known, counts])
        first = self._newest * _STEP // _HOUR - _HOURS
        for hour in [hour for hour in self._hours if hour < first]:
            del self._hours[hour]


def _as_json(counts: Mapping[int, Counts]) -> dict[str, list[Any]]:
    return {str(at): [row.sources.to_json(), row.senders.to_json()] for at, row in sorted(counts.items())}


def _counts(saved: Mapping[str, list[Any]]) -> dict[int, Counts]:
    return {int(at): Counts(*(Top.from_json(top, room=_ROOM) for top in row)) for at, row in saved.items()}


def source_of_client(client: str, login: str | None) -> str:
    """Return the source of a message that smtpd(8) or qmqpd(8) accepted."""
    return f"{LOGIN}{login}" if login else f"{CLIENT}{client}"


def _picked_up(senders: Senders, rows: Rows, _times: int) -> None:
    senders.arrived(
        (queue_id, f"{LOCAL}{uid}", stamp) for queue_id, uid, orig_id, stamp in rows if orig_id is None
    )


def _accepted(senders: Senders, rows: Rows, _times: int) -> None:
    senders.arrived(
        (queue_id, source_of_client(client, login), stamp)
        for queue_id, client, login, orig_queue_id, stamp in rows
        if orig_queue_id is None
    )


Senders.takes = {
    ev.PickedUp: Take(("queue_id", "uid", "orig_id", "stamp"), _picked_up),
    ev.ClientAccepted: Take(("queue_id", "client", "sasl_username", "orig_queue_id", "stamp"), _accepted),
    ev.QueueActive: Take(
        ("instance", "queue_id", "from_", "nrcpt"), lambda senders, rows, _times: senders.activated(rows)
    ),
    ev.Delivery: Take(
        ("queue_id", "status", "stamp"), lambda senders, rows, times: senders.failed(rows, times)
    ),
    ev.Removed: Take(("queue_id",), lambda senders, rows, _times: senders.removed(rows)),
}

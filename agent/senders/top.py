"""The largest of any number of keys, in bounded memory: Space-Saving (Metwally, Agrawal, El Abbadi, 2005). Pure.

Counts are exact, and do not depend on the order of lines, until there are more than `room` keys. Then all but the largest
are dropped, and a key that comes back starts at the largest count that was dropped. So a count is an upper bound, and
count minus error a lower one.

Promise: the error in messages is at most all messages / capacity, also after merges. `merge` is commutative.
"""

from collections.abc import Mapping, Sequence
from operator import add
from typing import Any, Final, NamedTuple

from postward.agent.stored import MAX_TEXT, Form

COLUMNS: Final = ("messages", "recipients", "deferred", "bounced")
CAPACITY: Final = 64  # keys
_ZEROS: Final = (0,) * len(COLUMNS)
_Saved = tuple[list[int], list[int], dict[str, tuple[list[int], list[int], str]]]
_FORM: Final[Form[_Saved]] = Form(_Saved)


class Entry(NamedTuple):
    """A key and its counts, in the order of `COLUMNS`.

    Attributes:
        counts: upper bounds.
        errors: by how much they are too high at most; zeros if they are exact.
        partner: text that came with the key first.
    """

    key: str
    counts: tuple[int, ...]
    errors: tuple[int, ...]
    partner: str

    @property
    def at_least(self) -> tuple[int, ...]:
        """The lower bounds."""
        return tuple(count - error for count, error in zip(self.counts, self.errors, strict=True))


class _Row:
    __slots__ = ("counts", "errors", "partner")

    def __init__(self, counts: list[int], errors: tuple[int, ...], partner: str) -> None:
        self.counts = counts
        self.errors = errors
        self.partner = partner


class Top:
    """Counts by key.

    Args:
        capacity: number of keys that are always kept.
        room: number of keys beyond which the others are dropped; twice the capacity by default.

    Attributes:
        totals: exact sums over all keys, in the order of `COLUMNS`.
        floor: upper bounds of the counts of any key that is not kept.
        rows: key → its counts.
    """

    def __init__(self, capacity: int = CAPACITY, room: int | None = None) -> None:
        self.totals = list(_ZEROS)
        self.floor: tuple[int, ...] = _ZEROS
        self._capacity = capacity
        self._room = 2 * capacity if room is None else room
        self.rows: dict[str, _Row] = {}

    def add(self, key: str, numbers: Sequence[int], partner: str = "") -> None:
        """Add numbers, in the order of `COLUMNS`, to the counts of a key."""
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = _Row(list(self.floor), self.floor, partner)
        for counts in (row.counts, self.totals):  # on the hot path: without a loop over the columns
            counts[0] += numbers[0]
            counts[1] += numbers[1]
            counts[2] += numbers[2]
            counts[3] += numbers[3]
        if len(self.rows) > self._room:
            self._shrink()

    def merge(self, other: "Top") -> None:
        """Add the counts of another one of the same capacity."""
        for key, row in other.rows.items():
            mine = self.rows.get(key)
            if mine is None:
                self.rows[key] = _Row(
                    _sum(row.counts, self.floor), tuple(_sum(row.errors, self.floor)), row.partner
                )
            else:
                mine.counts = _sum(mine.counts, row.counts)
                mine.errors = tuple(_sum(mine.errors, row.errors))
        if any(other.floor):
            for key, row in self.rows.items():
                if key not in other.rows:
                    row.counts = _sum(row.counts, other.floor)
                    row.errors = tuple(_sum(row.errors, other.floor))
        self.floor = tuple(_sum(self.floor, other.floor))
        self.totals = _sum(self.totals, other.totals)
        if len(self.rows) > self._room:
            self._shrink()

    def holders(self, column: int, share: float) -> list[str]:
        """Return the keys that may have at least this share of a column's sum; none if the sum is 0."""
        least = max(1, share * self.totals[column])
        return [key for key, row in self.rows.items() if row.counts[column] >= least]

    def entries(self) -> list[Entry]:
        """Return the keys with most messages first, at most `capacity` of them; ties are in the order of the keys."""
        rows = sorted(self.rows.items(), key=_rank)[: self._capacity]
        return [Entry(key, tuple(row.counts), row.errors, row.partner) for key, row in rows]

    def to_json(self) -> list[Any]:
        """Return all counts as JSON values."""
        rows = {key: [row.counts, row.errors, row.partner] for key, row in self.rows.items()}
        return [self.totals, self.floor, rows]

    @classmethod
    def from_json(cls, data: Any, capacity: int = CAPACITY, room: int | None = None) -> "Top":
        """Return what `to_json` described. Raises ValueError for other data."""
        totals, floor, rows = _FORM.check(data)
        top = cls(capacity, room)
        numbers = [totals, floor, *(row[0] for row in rows.values()), *(row[1] for row in rows.values())]
        if any(len(row) != len(COLUMNS) or min(row) < 0 for row in numbers):
            raise ValueError(f"must have {len(COLUMNS)} counts, none of them negative")
        top.totals, top.floor = totals, tuple(floor)
        for key, (counts, errors, partner) in rows.items():
            top.rows[key[:MAX_TEXT]] = _Row(counts, tuple(errors), partner[:MAX_TEXT])
        if len(top.rows) > top._room:
            top._shrink()
        return top

    def _shrink(self) -> None:
        rows = sorted(self.rows.items(), key=_rank)
        dropped = [row.counts for _, row in rows[self._capacity :]]
        self.floor = tuple(map(max, self.floor, *dropped))
        self.rows = dict(rows[: self._capacity])


def _rank(item: tuple[str, _Row]) -> tuple[int, str]:
    return -item[1].counts[0], item[0]


def rank(entry: Entry) -> tuple[int, str]:
    """Return the sort key of `Top.entries`."""
    return -entry.counts[0], entry.key


def _sum(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return list(map(add, one, other))


def entry_of(tops: "Sequence[Top]", key: str) -> Entry:
    """Return a key's counts in several, of which one has it, without their whole sum."""
    counts, errors, partner = list(_ZEROS), list(_ZEROS), ""
    for top in tops:
        row = top.rows.get(key)
        counts = _sum(counts, top.floor if row is None else row.counts)
        errors = _sum(errors, top.floor if row is None else row.errors)
        if row is not None:
            partner = partner or row.partner
    return Entry(key, tuple(counts), tuple(errors), partner)


def merged(tops: "Sequence[Top]", capacity: int = CAPACITY) -> Top:
    """Return the sum of several."""
    whole = Top(capacity)
    for top in tops:
        whole.merge(top)
    return whole


def as_rows(top: Top, number: int) -> list[Mapping[str, Any]]:
    """Return the first entries as mappings: key, partner, the counts by name, and whether they are upper bounds."""
    return [
        {
            "key": entry.key,
            "partner": entry.partner,
            **dict(zip(COLUMNS, entry.counts, strict=True)),
            "at_most": any(entry.errors),
        }
        for entry in top.entries()[:number]
    ]

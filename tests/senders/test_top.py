"""The largest of many keys in bounded memory, against exact counts."""

import json
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postward.agent.senders.top import COLUMNS, Top, entry_of, merged

CAPACITY = 4
Added = Sequence[tuple[str, tuple[int, ...]]]
ADDED = st.lists(
    st.tuples(
        st.sampled_from([f"uid:{number}" for number in range(30)]),
        st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 3), st.integers(0, 3)),
    ),
    max_size=120,
)


def counted(added: Added, capacity: int = CAPACITY) -> Top:
    """Count."""
    top = Top(capacity)
    for key, numbers in added:
        top.add(key, numbers)
    return top


def exact(added: Added) -> dict[str, list[int]]:
    """The true counts."""
    counts: dict[str, list[int]] = {}
    for key, numbers in added:
        row = counts.setdefault(key, [0] * len(COLUMNS))
        row[:] = [a + b for a, b in zip(row, numbers, strict=True)]
    return counts


def assert_bounds(top: Top, added: Added) -> None:
    """Each count is an upper bound, each count minus its error a lower one, and the error in messages is bounded."""
    true = exact(added)
    messages = sum(numbers[0] for _, numbers in added)
    assert top.totals == [sum(numbers[place] for _, numbers in added) for place in range(len(COLUMNS))]
    assert len(top.rows) <= 2 * CAPACITY
    for entry in top.entries():
        for low, count, high in zip(entry.at_least, true[entry.key], entry.counts, strict=True):
            assert low <= count <= high
        assert entry.errors[0] <= messages / CAPACITY
    for key, counts in true.items():
        if key not in top.rows:
            assert all(a <= b for a, b in zip(counts, top.floor, strict=True))
    assert top.floor[0] <= messages / CAPACITY


@settings(max_examples=300, deadline=None)
@given(ADDED)
def test_counts_lie_within_their_bounds(added: Added) -> None:
    """For any order, and for keys that were dropped and came back."""
    assert_bounds(counted(added), added)


@settings(max_examples=300, deadline=None)
@given(st.lists(ADDED, max_size=4))
def test_merges_keep_the_bounds(parts: list[Added]) -> None:
    """The sum of several, and what JSON keeps of it."""
    whole = merged([counted(part) for part in parts], CAPACITY)
    assert_bounds(whole, [added for part in parts for added in part])
    again = Top.from_json(json.loads(json.dumps(whole.to_json())), CAPACITY)
    assert again.entries() == whole.entries()
    assert (list(again.floor), again.totals) == (list(whole.floor), whole.totals)


@settings(max_examples=100, deadline=None)
@given(ADDED, ADDED)
def test_a_merge_is_commutative(one: Added, other: Added) -> None:
    """The order of two logs does not matter."""
    left, right = (
        merged([counted(one), counted(other)], CAPACITY),
        merged([counted(other), counted(one)], CAPACITY),
    )
    assert left.entries() == right.entries()
    assert (left.floor, left.totals) == (right.floor, right.totals)


def test_few_keys_are_exact() -> None:
    """A host has fewer local users than the capacity."""
    top = counted([(f"uid:{number % 8}", (1, 2, 0, 0)) for number in range(80)])
    assert {entry.counts for entry in top.entries()} == {(10, 20, 0, 0)}
    assert not any(sum(entry.errors) for entry in top.entries())


def test_a_flood_stands_out_among_many() -> None:
    """One of a thousand clients sends a third of the mail: it is first, and its lower bound is near the truth."""
    added = [(f"client:{number}" if number % 3 else "client:flood", (1, 1, 0, 0)) for number in range(30_000)]
    top = counted(added, 64)
    first = top.entries()[0]
    assert first.key == "client:flood"
    assert 10_000 - 30_000 / 64 <= first.at_least[0] <= 10_000 <= first.counts[0]
    assert Counter(key for key, _ in added)["client:flood"] == 10_000


@pytest.mark.parametrize("saved", [[], [[0], [0], {}], [[0, 0, 0, -1], [0, 0, 0, 0], {}], {"a": 1}])
def test_other_data_is_refused(saved: object) -> None:
    """State of another form is an error, not a wrong count."""
    with pytest.raises(ValueError, match=r"."):
        Top.from_json(saved)


@settings(max_examples=300, deadline=None)
@given(st.lists(ADDED, min_size=1, max_size=5))
def test_the_counts_of_a_key_in_several(parts: list[Added]) -> None:
    """They are bounds as after a merge. A key with half of all, kept where it has half of a part, is among the holders."""
    tops = [counted(part) for part in parts]
    true = exact([row for part in parts for row in part])
    for key in {key for top in tops for key in top.rows}:
        entry = entry_of(tops, key)
        for low, count, high in zip(entry.at_least, true[key], entry.counts, strict=True):
            assert low <= count <= high
    for column in range(len(COLUMNS)):
        found = {key for top in tops for key in top.holders(column, 0.5)}
        for part, top in zip(parts, tops, strict=True):
            counts = exact(part)
            half = {key for key, row in counts.items() if 0 < top.totals[column] <= 2 * row[column]}
            assert half & set(top.rows) <= found

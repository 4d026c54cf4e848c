"""The tally: merging and saving keep all counts."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from postward.agent.metrics.catalog import METRICS
from postward.agent.metrics.reference import reference
from postward.agent.metrics.tally import Tally

COUNTERS = [metric for metric in METRICS if metric.kind == "counter"]
HISTOGRAMS = [metric for metric in METRICS if metric.kind == "histogram"]
WORDS = st.sampled_from(["demo", "other", "none", 'a"b\\c'])


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    """Return a tally of a few counts, observations and times; integers, since sums of floats depend on their order."""
    tally = Tally()
    for metric in draw(st.lists(st.sampled_from(COUNTERS), max_size=4)):
        tally.add(metric.name, tuple(draw(WORDS) for _ in metric.labels), draw(st.integers(0, 1000)))
    for metric in draw(st.lists(st.sampled_from(HISTOGRAMS), max_size=4)):
        tally.observe(metric.name, tuple(draw(WORDS) for _ in metric.labels), draw(st.integers(0, 10**6)))
    for moment in draw(st.lists(st.integers(0, 2**31), max_size=3)):
        tally.latest("postfix_delivery_last_success_timestamp_seconds", (draw(WORDS),), moment)
    return tally


def merged(*parts: Tally) -> dict[str, Any]:
    """Return the merged tally as JSON data with sorted pairs."""
    total = Tally()
    for part in parts:
        total.merge(part)
    return sorted_json(total)


def sorted_json(tally: Tally) -> dict[str, Any]:
    """Return the JSON data of a tally with sorted pairs, independent of the order of counting."""
    return {
        kind: {metric: sorted(pairs) for metric, pairs in group.items()}
        for kind, group in tally.as_json().items()
    }


@given(tallies(), tallies(), tallies())
def test_merging_is_associative_and_commutative(a: Tally, b: Tally, c: Tally) -> None:
    """A report counts files separately and may merge the tallies in any grouping and order."""
    ab, bc = Tally(), Tally()
    for part in (a, b):
        ab.merge(part)
    for part in (b, c):
        bc.merge(part)

    assert merged(ab, c) == merged(a, bc) == merged(c, b, a)


@given(tallies())
def test_saved_and_restored_is_the_same(tally: Tally) -> None:
    """A tally restored from JSON equals the saved one."""
    restored = Tally.from_json(json.loads(json.dumps(tally.as_json())))

    assert tally.as_json() == restored.as_json()


def test_an_observation_is_in_its_bucket() -> None:
    """A bucket counts values up to its bound; values above the last bound are counted as well."""
    tally = Tally()
    for seconds in (0.1, 0.11, 10**7):
        tally.observe("postfix_delivery_delay_seconds", ("demo",), seconds)
    row = tally.histograms["postfix_delivery_delay_seconds"][("demo",)]

    assert (row[0], row[1]) == (1, 1)
    assert row[-2] == 1
    assert row[-1] == 10**7 + 0.21


def test_removed_metrics_are_dropped() -> None:
    """A checkpoint with metrics of an older table is still readable."""
    data = Tally().as_json()
    data["counters"]["postfix_gone_total"] = [[["demo"], 3]]

    assert "postfix_gone_total" not in Tally.from_json(data).counters


def test_each_histogram_names_its_unit() -> None:
    """The reference prints bucket bounds with the metric's unit, and a unit in the name is the same."""
    units = {metric.name: metric.unit for metric in HISTOGRAMS}
    assert all(units.values())
    for name, unit in units.items():
        assert not name.endswith(("_seconds", "_bytes")) or name.endswith(f"_{unit}")
        assert f"- `{name}` ({unit}): " in reference()

"""A page of metrics has the bytes that the library writes, although most of it is taken from the former page."""

from collections.abc import Callable
from itertools import count

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from postward.agent.http.scrape_cache import ScrapeCache
from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.text import local_now

FORMATS = (
    "",
    "application/openmetrics-text; version=1.0.0",
    "text/plain; version=1.0.0; escaping=allow-utf-8",
)


@pytest.mark.parametrize("accept", FORMATS)
def test_a_page_is_what_the_library_writes(accept: str) -> None:
    """First, unchanged, after a change, after a new series, and after a series ended."""
    tally = Tally()
    gauges: dict[str, dict[tuple[str, ...], float]] = {
        "postfix_up": {(): 1.0},
        "postward_relay_reachable": {("main",): float("nan")},
    }
    Counting(tally, RelayNames((("smtp.relay.test", 587, "main"),)), local_now)
    registry = CollectorRegistry()
    registry.register(PostwardCollector(tally, lambda: gauges))
    cache = ScrapeCache(registry, clock=(8.0**number for number in count()).__next__)
    encode, _ = choose_encoder(accept)
    different = set()

    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: None,
        lambda: tally.add("postfix_deliveries_total", ("postfix", "main", "sent"), 3),
        lambda: tally.observe("postfix_delivery_delay_seconds", ("main",), 0.3),
        lambda: gauges.pop("postward_relay_reachable"),
    ]
    for change in changes:
        change()
        page, _ = cache.page(accept, compressed=False)
        assert page == encode(registry)
        different.add(page)

    assert len(different) == 4

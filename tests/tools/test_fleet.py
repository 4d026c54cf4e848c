"""The generated hosts of tools/fleet: pages like the agent's own, that a real Prometheus takes."""

from pathlib import Path

from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.tally import Tally
from tests.support.waiting import wait_for
from tools.drill.monitoring import Prometheus
from tools.fleet.pages import Page
from tools.fleet.server import Pages


def page() -> Page:
    """Return a page of the agent's collector with counts, a histogram and a time."""
    tally = Tally()
    tally.add("postfix_deliveries_total", ("postfix", "demo", "sent"), 40)
    tally.add("postfix_deliveries_total", ("postfix", "demo", "bounced"), 0)
    tally.add("postfix_notifications_total", ("sender non-delivery",), 3)
    for seconds in (0.2, 0.2, 7.0):
        tally.observe("postfix_delivery_delay_seconds", ("demo",), seconds)
    tally.latest("postfix_delivery_last_success_timestamp_seconds", ("demo",), 1_790_000_000.0)
    registry = CollectorRegistry()
    registry.register(PostwardCollector(tally, lambda: {"postfix_up": {(): 1.0}}))
    return Page(generate_latest(registry).decode())  # type: ignore[no-untyped-call]


def samples(text: str) -> dict[tuple[str, str], float]:
    """Return name and labels → value of a page."""
    return {
        (sample.name, str(sorted(sample.labels.items()))): float(sample.value)
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def test_pages_have_the_series_of_the_agent_and_go_on() -> None:
    """Each host has all series. Counters that are not zero grow, and differ by host; gauges and zeros stay."""
    made = page()
    earlier, later, other = (samples(made.of_host(*host)) for host in ((7, 0.0), (7, 600.0), (8, 0.0)))
    assert len(earlier) == made.series
    assert earlier.keys() == later.keys() == other.keys()
    changed = {name for name, value in later.items() if value != earlier[name]}
    assert all(later[name] > earlier[name] for name in changed)
    assert {name for name, _ in changed} == {
        "postfix_deliveries_total",
        "postfix_notifications_total",
        "postfix_delivery_delay_seconds_bucket",
        "postfix_delivery_delay_seconds_count",
        "postfix_delivery_delay_seconds_sum",
        "postfix_delivery_last_success_timestamp_seconds",
    }
    assert earlier != other


def test_a_prometheus_scrapes_every_host(tmp_path: Path) -> None:
    """Each host is a target of its own, with the agent's number of series."""
    made = page()
    with Pages(made) as pages, Prometheus(tmp_path, pages.targets(3), interval=1) as prometheus:
        wait_for(lambda: len(prometheus.query('up{job="postward"} == 1')) == 3, 60, "three hosts")
        rows = prometheus.query("scrape_samples_scraped")
        assert {row["metric"]["instance"] for row in rows} == {
            f"host{number}.example.com" for number in range(3)
        }
        assert {float(row["value"][1]) for row in rows} == {made.series}
        assert pages.sent > 0

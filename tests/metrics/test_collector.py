"""Exposition: /metrics shows every metric of the table, and promtool accepts the page."""

import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder

from postward.agent.metrics.catalog import METRICS
from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges
from postward.agent.text import local_now
from tests.support.require import required


def registry(gauges: Gauges | None = None) -> tuple[CollectorRegistry, Tally]:
    """Return the agent's registry and its tally, for an empty log."""
    tally = Tally()
    Counting(tally, RelayNames([("smtp.relay.test", 587, "demo")]), local_now)
    registry = CollectorRegistry()
    registry.register(PostwardCollector(tally, lambda: gauges or {}))
    return registry, tally


def test_every_metric_of_the_table_is_shown() -> None:
    """Each metric has its help and type on the page, even without series."""
    page = generate_latest(registry()[0]).decode()

    for metric in METRICS:
        assert f"# TYPE {metric.name} {metric.kind}" in page
        assert f"# HELP {metric.name} {metric.help}" in page


def test_histograms_are_cumulative() -> None:
    """A bucket counts all values up to its bound, and +Inf counts all values."""
    shown, tally = registry()
    for seconds in (0.2, 3.0, 10**7):
        tally.observe("postfix_delivery_delay_seconds", ("demo",), seconds)
    bucket = {"relay": "demo", "le": "5.0"}

    assert shown.get_sample_value("postfix_delivery_delay_seconds_bucket", bucket) == 2
    assert shown.get_sample_value("postfix_delivery_delay_seconds_bucket", bucket | {"le": "+Inf"}) == 3
    assert shown.get_sample_value("postfix_delivery_delay_seconds_count", {"relay": "demo"}) == 3
    assert shown.get_sample_value("postfix_delivery_delay_seconds_sum", {"relay": "demo"}) == 10**7 + 3.2


def test_promtool_accepts_the_page() -> None:
    """`promtool check metrics` reports no problem, and the page can be encoded as OpenMetrics."""
    shown, tally = registry({"postfix_up": {(): 1.0}, "postward_probe_success": {("demo",): 1.0}})
    tally.observe("postfix_delivery_delay_seconds", ("demo",), 1)
    promtool = required("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(shown), capture_output=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    encode, _ = choose_encoder("application/openmetrics-text")
    assert encode(shown).endswith(b"# EOF\n")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: object) -> None:
    """Prefix and suffix follow Prometheus's naming; no label collides with one that Prometheus adds to a target."""
    row = next(row for row in METRICS if row is metric)

    assert row.name.startswith(("postfix_", "postward_"))
    assert row.name.endswith("_total") == (row.kind == "counter")
    assert not {"service", "stage", "instance", "job"} & set(row.labels)
    assert row.help.endswith(".")
    assert (row.kind == "histogram") == bool(row.buckets)

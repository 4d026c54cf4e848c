"""The metric names of prometheus-postfix-exporter, which its dashboards need."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from postward.agent.metrics.catalog import BY_NAME
from postward.agent.metrics.legacy import COUNTERS, HISTOGRAMS, LegacyCollector
from postward.agent.metrics.queue import QueueCounts
from postward.agent.metrics.tally import Tally
from postward.parsers.queue import QueuedMail


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with the legacy names, over a few counts."""
    tally = Tally()
    for relay in ("demo", "second"):
        tally.add("postfix_deliveries_total", ("postfix", relay, "sent"), 3)
        tally.add("postfix_deliveries_total", ("postfix", relay, "deferred"), 2)
        tally.add("postfix_connection_failures_total", (relay, "timeout"), 4)
        tally.add("postfix_connection_failures_total", (relay, "refused"), 9)
        tally.observe("postfix_delivery_stage_delay_seconds", (relay, "queue_manager"), 0.2)
    tally.add("postfix_tls_connections_total", ("demo", "TLSv1.3", "verified"), 5)
    queue = QueueCounts(1000.0)
    queue.add(QueuedMail("deferred", 100, 5000, None))
    registry = CollectorRegistry()
    registry.register(LegacyCollector(tally, lambda: queue))
    return registry


def test_legacy_names_have_their_values(registry: CollectorRegistry) -> None:
    """Values are summed over the labels that a legacy name lacks; the `stage` label is filled."""
    expected = {
        ("postfix_smtp_messages_processed_total", (("status", "sent"),)): 6,
        ("postfix_smtp_status_deferred", ()): 4,
        ("postfix_smtp_connection_timed_out_total", ()): 8,
        ("postfix_smtp_tls_connections_total", (("protocol", "TLSv1.3"), ("trust", "verified"))): 5,
        ("postfix_smtp_delivery_delay_seconds_count", (("stage", "queue_manager"),)): 2,
        ("postfix_showq_queue_depth", (("queue", "deferred"),)): 1,
        ("postfix_showq_message_age_seconds_bucket", (("queue", "deferred"), ("le", "3600.0"))): 1,
        ("postfix_showq_message_age_seconds_sum", (("queue", "deferred"),)): 900,
        ("postfix_qmgr_messages_removed_total", ()): 0,
    }

    assert expected == {key: registry.get_sample_value(key[0], dict(key[1])) for key in expected}


def test_legacy_names_do_not_collide(registry: CollectorRegistry) -> None:
    """No legacy name is exposed twice, and every source metric exists."""
    names = {family.name for family in registry.collect()}
    ours = {name.removesuffix("_total") for name in BY_NAME}

    assert names & ours == set()
    assert {row.ours for row in (*COUNTERS, *HISTOGRAMS)} <= set(BY_NAME)
    assert generate_latest(registry)

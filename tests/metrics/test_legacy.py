"""The metric names of prometheus-postfix-exporter, which its dashboards need: all of its release 0.19.0."""

import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from postward.agent.metrics.catalog import BY_NAME, LEGACY, STORED
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.legacy import COUNTERS, HISTOGRAMS, LegacyCollector
from postward.agent.metrics.legacy_counts import LegacyCounts
from postward.agent.metrics.queue import QueueCounts
from postward.agent.metrics.tally import Tally
from postward.agent.pipeline import Pipeline
from postward.agent.text import local_now
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
    assert {metric.source for metric in (*COUNTERS, *HISTOGRAMS)} <= set(BY_NAME)
    assert generate_latest(registry)


# Name of the exporter → why it is not exported.
OMITTED = {
    "opendkim_signatures_added_total": "OpenDKIM's lines are not Postfix's",
    "postfix_cleanup_messages_not_accepted_total": "the exporter never counts it, and no message has that meaning",
}
# Name → labels that are left out: their values have no limit, or one value only.
NARROWER = {
    "postfix_smtp_tls_connections_total": {"cipher", "secret_bits", "algorithm_bits"},
    "postfix_smtpd_tls_connections_total": {"cipher", "secret_bits", "algorithm_bits"},
    "postfix_unsupported_log_entries_total": {"service", "level"},
    "postfix_up": {"path"},
}
_LIST = Path(__file__).with_name("postfix_exporter.tsv")
_PEER = "smtp.relay.test[192.0.2.1]"
_LINES = f"""\
postfix/lmtp[7]: 4F2A91C0B3: to=<a@x.test>, relay=mail[private/lmtp], delay=0.5, delays=0.1/0/0.2/0.3, dsn=2.0.0, status=sent (250 ok)
postfix/pipe[7]: 4F2A91C0B3: to=<a@x.test>, relay=filter, delay=2, delays=1/0/0/1, dsn=2.0.0, status=sent (delivered)
postfix/virtual[7]: 4F2A91C0B3: to=<a@x.test>, relay=virtual, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered to maildir)
postfix/smtp[7]: 4F2A91C0B3: to=<a@x.test>, relay={_PEER}:587, delay=1, delays=0/0/0/1, dsn=4.7.1, status=deferred (later)
postfix/smtp[7]: 4F2A91C0B3: to=<a@x.test>, relay={_PEER}:587, delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (unknown)
postfix/smtp[7]: 4F2A91C0B3: to=<a@x.test>, relay={_PEER}:587, delay=1, delays=0/0/0/1, dsn=5.9.99, status=bounced (made up)
postfix/smtpd[7]: warning: hostname a.test does not resolve to address 192.0.2.7
postfix/smtpd[7]: 4F2A91C0B4: client=a.test[192.0.2.7]
postfix/smtpd[7]: 4F2A91C0B5: client=a.test[192.0.2.7], sasl_method=PLAIN, sasl_username=u
postfix/smtpd[7]: 4F2A91C0B6: client=a.test[192.0.2.7], sasl_method=X-INVENTED, sasl_username=u
postfix/smtpd[7]: disconnect from a.test[192.0.2.7] ehlo=1 quit=1 commands=2
postfix/smtp[7]: a line that no rule knows
"""


def of_a_log() -> CollectorRegistry:
    """Return a registry with the legacy names, over a log with a line for each count of their own."""
    tally, names = Tally(), RelayNames([("smtp.relay.test", 587, "demo")])
    pipeline = Pipeline(Counting(tally, names, local_now), [LegacyCounts(tally, names)])
    lines = (f"2026-11-24T09:00:00+00:00 mx {line}\n" for line in _LINES.splitlines())
    pipeline.feed("".join(lines).encode())
    pipeline.settle()
    queue = QueueCounts(1000.0)
    queue.add(QueuedMail("deferred", 100, 5000, None))
    registry = CollectorRegistry()
    registry.register(
        LegacyCollector(Tally.from_json(json.loads(json.dumps(tally.as_json()))), lambda: queue)
    )
    return registry


def test_every_name_of_the_exporter_is_there_or_has_a_reason() -> None:
    """Each has its kind and its labels, but for those in NARROWER. No other name is there."""
    ours = {family.name: family for family in of_a_log().collect()}
    counted = {metric.name: metric for metric in STORED}
    found = set()
    rows = [line.split("\t") for line in _LIST.read_text().splitlines() if not line.startswith("#")]
    for name, kind, *more in rows:
        labels = set(more[0].split()) if more else set()
        if name in OMITTED:
            continue
        if (own := BY_NAME.get(name)) is not None:
            assert (own.kind, set(own.labels)) == (kind, labels - NARROWER[name])
            continue
        family = ours[name.removesuffix("_total")]
        found.add(name.removesuffix("_total"))
        # The name without _total is a gauge here; a counter there.
        assert family.type == ("gauge" if name == "postfix_smtp_status_deferred" else kind), name
        of_series = set().union(*(sample.labels for sample in family.samples)) - {"le"}
        assert of_series == labels - NARROWER.get(name, set()) or not family.samples, name
        if name in counted and kind == "histogram":
            assert list(counted[name].buckets) == [float(bound) for bound in more[1].split()]
    assert len(rows) == 34
    assert ours.keys() == found


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("postfix_lmtp_delivery_delay_seconds_sum", {"stage": "transmission"}, 0.3),
        ("postfix_lmtp_delivery_delay_seconds_bucket", {"stage": "transmission", "le": "1.0"}, 1),
        ("postfix_pipe_delivery_delay_seconds_count", {"relay": "other", "stage": "transmission"}, 1),
        ("postfix_virtual_delivered_total", {}, 1),
        ("postfix_smtp_deferred_messages_total", {}, 1),
        ("postfix_smtp_deferred_messages_by_dsn_total", {"dsn": "4.7.1"}, 1),
        ("postfix_smtp_bounced_messages_by_dsn_total", {"dsn": "5.1.1"}, 1),
        ("postfix_smtp_bounced_messages_by_dsn_total", {"dsn": "other"}, 1),
        ("postfix_smtpd_disconnects_total", {}, 1),
        ("postfix_smtpd_forward_confirmed_reverse_dns_errors_total", {}, 1),
        ("postfix_smtpd_messages_processed_total", {"sasl_method": "NONE"}, 1),
        ("postfix_smtpd_messages_processed_total", {"sasl_method": "PLAIN"}, 1),
        ("postfix_smtpd_messages_processed_total", {"sasl_method": "other"}, 1),
        ("postfix_unsupported_log_entries_total", {}, 1),
    ],
)
def test_counts_of_their_own(name: str, labels: dict[str, str], value: float) -> None:
    """Each is counted from the log, kept in the checkpoint, and exported; unknown values of labels are `other`."""
    assert of_a_log().get_sample_value(name, labels) == value


def test_a_hostile_log_makes_no_series() -> None:
    """Labels are from closed sets, with any codes and mechanisms in the lines."""
    tally, names = Tally(), RelayNames()
    pipeline = Pipeline(Counting(tally, names, local_now), [LegacyCounts(tally, names)])
    row = "2026-11-24T09:00:00+00:00 mx postfix"
    for number in range(3000):
        code = f"{4 + number % 2}.{number % 11}.{number // 7}"
        pipeline.feed(
            f"{row}/pipe[7]: 4F2A91C0B3: to=<a@x.test>, relay=r{number}, delay=1, delays=0/0/0/1, dsn={code}, "
            f"status={('deferred', 'bounced')[number % 2]} (no)\n"
            f"{row}/smtpd[7]: 4F2A91C0B5: client=a.test[192.0.2.7], sasl_method=M{number}, sasl_username=u\n".encode()
        )
    pipeline.settle()
    for metric in LEGACY:
        series = (tally.histograms if metric.kind == "histogram" else tally.counters)[metric.name]
        assert len(series) <= 82, metric.name

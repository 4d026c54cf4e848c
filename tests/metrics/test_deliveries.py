"""Counts of deliveries, connections and TLS sessions from log lines."""

from datetime import UTC, datetime

import pytest

from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.pipeline import Pipeline

NAMES = RelayNames([("smtp.relay.test", 587, "main"), ("smtp.other.test", 2525, "second")])
STAMP = "2026-11-24T09:00:00+00:00 mx"
PEER = "smtp.relay.test[192.0.2.1]:587"


def counted(*lines: str) -> Tally:
    """Return the tally of a log."""
    tally = Tally()
    pipeline = Pipeline(Counting(tally, NAMES, lambda: datetime(2026, 11, 24, 10, tzinfo=UTC)))
    pipeline.feed("".join(f"{STAMP} {line}\n" for line in lines).encode())
    pipeline.settle()
    return tally


def delivery(
    status: str, reason: str, *, relay: str = PEER, dsn: str = "4.0.0", delays: str = "0.1/0.2/0.3/0.4"
) -> str:
    """Return a delivery line of smtp(8)."""
    return f"postfix/smtp[7]: 4F2A91C0B3: to=<a@b.test>, relay={relay}, delay=1, delays={delays}, dsn={dsn}, status={status} ({reason})"


@pytest.mark.parametrize(
    ("status", "label"),
    [
        ("sent", "sent"),
        ("deferred", "deferred"),
        ("bounced", "bounced"),
        ("SOFTBOUNCE", "deferred"),
        ("deliverable", "other"),
    ],
)
def test_a_delivery_is_counted_by_outcome(status: str, label: str) -> None:
    """The label is from a closed set; any other status of Postfix becomes "other"."""
    counts = counted(delivery(status, "250 ok")).counters["postfix_deliveries_total"]

    assert {("postfix", "main", label): 1} == {labels: number for labels, number in counts.items() if number}


@pytest.mark.parametrize(
    ("relay", "reason", "label"),
    [
        ("smtp.relay.test[192.0.2.1]:587", "x", "main"),
        ("SMTP.relay.test[2001:db8::1]:587", "x", "main"),
        ("smtp.relay.test[192.0.2.1]:25", "x", "main"),
        ("smtp.other.test[192.0.2.9]:2525", "x", "second"),
        ("mx.stranger.test[192.0.2.7]:25", "x", "other"),
        ("none", "connect to smtp.other.test[192.0.2.9]:2525: Connection refused", "second"),
        (
            "none",
            "Host or domain name not found. Name service error for name=smtp.relay.test type=A: Host not found",
            "main",
        ),
        ("none", "connect to mx.stranger.test[192.0.2.7]:25: Connection timed out", "none"),
        ("none", "mail transport unavailable", "none"),
        ("local", "unknown user", "local"),
    ],
)
def test_the_relay_label_is_a_name_of_the_settings(relay: str, reason: str, label: str) -> None:
    """If no relay was reached, the reason may name the intended one. The label is never a host or an address."""
    counts = counted(delivery("deferred", reason, relay=relay)).counters["postfix_deliveries_total"]

    assert [("postfix", label, "deferred")] == [labels for labels, number in counts.items() if number]


def test_delays_are_observed_on_the_final_status_only() -> None:
    """Retries of a deferred message do not observe its delay again."""
    tally = counted(delivery("deferred", "x"), delivery("deferred", "x"), delivery("sent", "250 ok"))
    stages = tally.histograms["postfix_delivery_stage_delay_seconds"]

    assert sum(tally.histograms["postfix_delivery_delay_seconds"][("main",)][:-1]) == 1
    assert {stage: row[-1] for (_, stage), row in stages.items()} == {
        "before_queue_manager": 0.1,
        "queue_manager": 0.2,
        "connection_setup": 0.3,
        "transmission": 0.4,
    }


def test_failures_have_one_cause_and_a_time() -> None:
    """Each failed attempt counts under exactly one cause, and its time stamp is recorded."""
    tally = counted(
        delivery(
            "deferred", f"SASL authentication failed; server {PEER[:-4]} said: 535 5.7.8 no", dsn="4.7.8"
        )
    )
    failures = tally.counters["postfix_delivery_failures_total"]

    assert {labels: number for labels, number in failures.items() if number} == {
        ("postfix", "main", "auth_rejected"): 1
    }
    moment = datetime(2026, 11, 24, 9, tzinfo=UTC).timestamp()
    assert {("main",): moment} == tally.times["postfix_delivery_last_failure_timestamp_seconds"]


def test_known_series_start_at_zero() -> None:
    """Every relay of the settings has all causes at zero, so that its first failure is an increase."""
    tally = counted()
    failures = tally.counters["postfix_delivery_failures_total"]

    assert {"main", "second"} == {relay for _, relay, _ in failures}
    assert {0} == set(failures.values())
    assert tally.counters["postward_log_lines_total"][("unrecognised",)] == 0


def test_lines_are_counted_by_outcome() -> None:
    """A line has an event of its own, is known by its severity only, is not recognised, or is another program's."""
    tally = counted(
        delivery("sent", "250"),
        "postfix/smtp[7]: a message that no release prints",
        "postfix/smtp[7]: warning: a warning that no release prints",
        "CRON[1]: (root) CMD (true)",
    )

    assert tally.counters["postward_log_lines_total"] == {
        ("event",): 1,
        ("generic",): 1,
        ("unrecognised",): 1,
        ("foreign",): 1,
    }


def test_a_repeated_line_counts_as_often_as_it_was_repeated() -> None:
    """`message repeated N times` counts as N lines."""
    tally = counted(
        "postfix/smtp[7]: message repeated 3 times: [ connect to smtp.relay.test[192.0.2.1]:587: Connection refused]"
    )

    assert tally.counters["postfix_connection_failures_total"] == {("main", "refused"): 3}
    assert tally.counters["postward_log_lines_total"][("event",)] == 3


def test_tls_sessions_are_counted_by_protocol_and_trust() -> None:
    """Protocols are from a closed set; sessions with clients are not counted for relays."""
    line = "TLS connection established {} {}: {} with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"
    tally = counted(
        "postfix/smtp[7]: Untrusted " + line.format("to", PEER, "TLSv1.3"),
        "postfix/smtp[7]: Verified " + line.format("to", PEER, "TLSv9"),
        "postfix/smtpd[7]: Anonymous " + line.format("from", "client[192.0.2.2]", "TLSv1.3"),
    )

    assert tally.counters["postfix_tls_connections_total"] == {
        ("main", "TLSv1.3", "untrusted"): 1,
        ("main", "other", "verified"): 1,
    }


def test_the_number_of_series_is_bounded() -> None:
    """Thousands of hosts, instances, protocols and statuses create fewer than 100 series."""
    lines = [
        f"postfix-{number}/smtp[7]: 4F2A91C0B3: to=<a@b.test>, relay=h{number}.test[192.0.2.1]:25, delay=1, delays=1/0/0/0, "
        f"dsn=4.0.0, status=st{number} (x)"
        for number in range(5000)
    ]
    lines += [
        f"postfix/smtp[7]: Untrusted TLS connection established to h{number}.test[192.0.2.1]:25: P{number} with cipher C (1/1 bits)"
        for number in range(5000)
    ]
    tally = counted(*lines)
    series = sum(len(group) for group in tally.counters.values()) - len(
        counted().counters["postfix_delivery_failures_total"]
    )

    assert series < 100


@pytest.mark.parametrize("delay", ["1.2.3", "", "9" * 400, ".", "-1"])
def test_invalid_delays_do_not_stop_the_count(delay: str) -> None:
    """An invalid delay of a truncated or hostile line is not observed; the delivery and later lines are counted."""
    tally = counted(
        delivery("sent", "250").replace("delay=1,", f"delay={delay},").replace("0.1/0.2", f"{delay}/0.2"),
        delivery("sent", "250"),
    )

    assert tally.counters["postfix_deliveries_total"][("postfix", "main", "sent")] >= 1


def test_a_line_without_a_stamp_is_not_postfixs() -> None:
    """Excerpts have such lines; in a log that is followed, another program's output may begin like one."""
    tally = Tally()
    text = delivery("sent", "250")
    Pipeline(Counting(tally, NAMES, lambda: datetime(2026, 11, 24, 10, tzinfo=UTC))).feed(
        f"{text}\n".encode()
    )
    assert tally.counters["postward_log_lines_total"][("foreign",)] == 1
    assert tally.counters["postfix_deliveries_total"][("postfix", "main", "sent")] == 0


def test_a_mail_that_is_kept_back_is_sent_and_counted_apart() -> None:
    """By relay and kind; a filter on this host has the relay `other`."""
    reply = "250 2.7.0 Ok, discarded, id=15303-02 - spam"
    tally = counted(
        delivery("sent", "250 2.0.0 Ok: queued as 1"),
        delivery("sent", "250 quarantined as 7f3c2d"),
        delivery("sent", reply, relay="127.0.0.1[127.0.0.1]:10024"),
        delivery("deferred", "host r said: 450 4.7.1 quarantined"),
    )
    found = {
        labels: number
        for labels, number in tally.counters["postfix_deliveries_kept_back_total"].items()
        if number
    }
    assert found == {("postfix", "main", "quarantined"): 1, ("postfix", "other", "discarded"): 1}
    assert tally.counters["postfix_deliveries_total"]["postfix", "main", "sent"] == 2

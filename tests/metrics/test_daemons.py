"""Counts of events other than deliveries, and the bounded number of series for any log."""

import pytest

from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.daemons import DaemonMetrics
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.pipeline import Pipeline
from postward.agent.text import local_now

NAMES = RelayNames([("smtp.relay.test", 587, "demo")])
PEER = "smtp.relay.test[192.0.2.1]:587"
SESSION = "TLS connection established {} {}: {} with cipher {} (256/256 bits)"


def watched(*lines: str) -> tuple[Tally, Exemplars]:
    """Return the counts and exemplars of a log."""
    tally, exemplars = Tally(), Exemplars()
    details = DaemonMetrics(tally, NAMES, exemplars)
    pipeline = Pipeline(Counting(tally, NAMES, local_now), [details])
    pipeline.feed("".join(f"2026-11-24T09:00:00+00:00 mx {line}\n" for line in lines).encode())
    pipeline.settle()
    return tally, exemplars


@pytest.mark.parametrize(
    ("line", "metric", "labels"),
    [
        (
            f"postfix/smtp[7]: SSL_connect error to {PEER}: -1",
            "postfix_tls_failures_total",
            ("demo", "tls_handshake"),
        ),
        (
            f"postfix/smtp[7]: server certificate verification failed for {PEER}: num=10:certificate has expired",
            "postfix_tls_failures_total",
            ("demo", "tls_verify"),
        ),
        (
            "postfix/smtp[7]: warning: SASL authentication failure: No worthy mechs found",
            "postfix_sasl_problems_total",
            ("library",),
        ),
        (
            "postfix/bounce[7]: 4F2A91C0B3: sender non-delivery notification: 4F2A91C0B4",
            "postfix_notifications_total",
            ("sender non-delivery",),
        ),
        (
            "postfix/master[7]: warning: /usr/lib/postfix/sbin/smtpd: bad command startup -- throttling",
            "postfix_daemon_throttled_total",
            ("smtpd",),
        ),
        (
            "postfix/master[7]: warning: process /usr/lib/postfix/sbin/qmgr pid 9 killed by signal 9",
            "postfix_daemon_exits_total",
            ("qmgr",),
        ),
        (
            "postfix/master[7]: reload -- version 3.7.11, configuration /etc/postfix",
            "postfix_master_events_total",
            ("reloaded",),
        ),
        (
            "postfix/smtpd[7]: lost connection after EHLO from client.test[192.0.2.9]",
            "postfix_smtpd_lost_connections_total",
            ("EHLO",),
        ),
        (
            (
                "postfix/smtpd[7]: NOQUEUE: reject: RCPT from client.test[192.0.2.9]: 554 5.7.1 <a@b.test>: Relay access denied;"
                " from=<x@y.test> to=<a@b.test> proto=ESMTP helo=<h>"
            ),
            "postfix_smtpd_verdicts_total",
            ("reject", "5xx"),
        ),
        (
            "postfix/smtpd[7]: Anonymous " + SESSION.format("from", "client.test[192.0.2.9]", "TLSv1.3", "X"),
            "postfix_smtpd_tls_connections_total",
            ("TLSv1.3", "anonymous"),
        ),
        (
            "postfix/postscreen[7]: PREGREET 14 after 0.2 from [192.0.2.9]:99: EHLO x",
            "postfix_postscreen_verdicts_total",
            ("pregreet",),
        ),
        (
            "postfix/postscreen[7]: DNSBL rank 7 for [192.0.2.9]:99",
            "postfix_postscreen_verdicts_total",
            ("dnsbl",),
        ),
        (
            "postfix/dnsblog[7]: addr 192.0.2.9 listed by domain bl.test as 127.0.0.2",
            "postfix_dnsbl_listings_total",
            (),
        ),
    ],
)
def test_an_event_is_counted(line: str, metric: str, labels: tuple[str, ...]) -> None:
    """Each event counts once, under labels from a closed set."""
    counts = watched(line)[0].counters[metric]

    assert {labels: 1} == {key: number for key, number in counts.items() if number}


def test_sizes_are_observed_once() -> None:
    """The size is observed when a message first becomes active; retries count only as activations."""
    active = "postfix/qmgr[7]: 4F2A91C0B3: from=<a@b.test>, size=2500, nrcpt=3 (queue active)"
    tally, _ = watched("postfix/cleanup[7]: 4F2A91C0B3: message-id=<x@y.test>", active, active, active)

    assert tally.histograms["postfix_message_size_bytes"][()][-1] == 2500
    assert tally.histograms["postfix_message_recipients"][()][-1] == 3
    assert sum(tally.counters["postfix_queue_activations_total"].values()) == 3


def test_exemplars_name_queue_ids() -> None:
    """A failure and each bucket of the delay have the latest queue ID as exemplar."""
    tally, exemplars = watched(
        f"postfix/smtp[7]: 4F2A91C0B3: to=<a@b.test>, relay={PEER}, delay=3, delays=1/1/1/0, dsn=2.0.0, status=sent (250 ok)",
        f"postfix/smtp[7]: 4F2A91C0B4: to=<a@b.test>, relay=none, delay=3, delays=1/1/1/0, dsn=4.4.1, status=deferred "
        f"(connect to {PEER}: Connection refused)",
    )
    families = {family.name: family for family in PostwardCollector(tally, dict, exemplars).collect()}
    failure = [
        s for s in families["postfix_delivery_failures"].samples if s.value and s.name.endswith("_total")
    ]
    bucket = [s for s in families["postfix_delivery_delay_seconds"].samples if s.exemplar]

    assert [sample.exemplar.labels if sample.exemplar else None for sample in failure] == [
        {"queue_id": "4F2A91C0B4"}
    ]
    assert [(s.labels["le"], s.exemplar.labels, s.exemplar.value) for s in bucket if s.exemplar] == [
        ("5.0", {"queue_id": "4F2A91C0B3"}, 3.0)
    ]


def hostile(number: int) -> list[str]:
    """Return lines in which every text that a client or server can choose depends on the number."""
    peer = f"h{number}.test[198.51.{number // 250 % 250}.{number % 250}]:{number % 60000 + 1}"
    return [
        (
            f"postfix/smtp[7]: Q{number:X}: to=<a{number}@b.test>, relay={peer}, delay={number}, delays=1/0/0/{number}, dsn=4.{number}.0, "
            f"status=s{number} (x{number})"
        ),
        (
            f"postfix/smtp[7]: Q{number:X}: to=<a@b.test>, relay={peer}, delay=1, delays=1/0/0/1, dsn=5.0.0, status=bounced "
            f"(host {peer} said: 550 {number})"
        ),
        "postfix/smtp[7]: Untrusted " + SESSION.format("to", peer, f"TLSv{number}", f"C{number}"),
        f"postfix/smtpd[7]: T{number} " + SESSION.format("from", peer, f"TLSv{number}", f"C{number}"),
        f"postfix/smtp[7]: connect to {peer}: error {number}",
        f"postfix/smtp[7]: SSL_connect error to {peer}: {number}",
        f"postfix/smtpd[7]: lost connection after CMD{number} from {peer}",
        f"postfix/smtpd[7]: NOQUEUE: do{number}: RCPT from {peer}: {number} no; from=<x> to=<y> proto=ESMTP helo=<h{number}>",
        f"postfix/postscreen[7]: PREGREET {number} after 0.2 from [192.0.2.9]:99: EHLO x{number}",
        f"postfix/master[7]: warning: /x/d{number}: bad command startup -- throttling",
        f"postfix/bounce[7]: Q{number:X}: sender non-delivery notification: N{number:X}",
        f"postfix/cleanup[7]: Q{number:X}: message-id=<{number}@x>",
        f"postfix/qmgr[7]: Q{number:X}: from=<{number}@x>, size={number}, nrcpt={number} (queue active)",
        f"postfix/nothing{number}[7]: x",
    ]


def series(tally: Tally, exemplars: Exemplars) -> int:
    """Return the number of samples in a scrape."""
    return sum(len(family.samples) for family in PostwardCollector(tally, dict, exemplars).collect())


def test_a_hostile_log_creates_no_series() -> None:
    """After 10 000 lines, 100 000 more with new hosts, addresses, ciphers, protocols and statuses add no series."""
    tally, exemplars = Tally(), Exemplars()
    details = DaemonMetrics(tally, NAMES, exemplars)
    pipeline = Pipeline(Counting(tally, NAMES, local_now), [details])

    def feed(numbers: range) -> None:
        lines = [line for number in numbers for line in hostile(number)]
        pipeline.feed("".join(f"2026-11-24T09:00:00+00:00 mx {line}\n" for line in lines).encode())
        pipeline.settle()

    feed(range(700))
    before = series(tally, exemplars)
    feed(range(700, 7900))

    assert series(tally, exemplars) == before
    assert len(details.new_mails) <= 4096

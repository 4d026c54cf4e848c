"""A block of lines counts as its lines do one by one, for any lines: counters, probes, history, senders and incidents."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postward.agent.incidents import IncidentTracker
from postward.agent.incidents.history import DeliveryHistory
from postward.agent.logs.lines import split_lines
from postward.agent.metrics.daemons import DaemonMetrics
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.pipeline import OwnLines, Pipeline
from postward.agent.probe.filter import ProbeFilter
from postward.agent.senders.part import SenderCounts
from postward.parsers import parse
from tools.bench.lines import KINDS, log_lines

CORPUS = Path(__file__).parent / "corpus"
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
NAMES = (("smtp.relay.test", 587, "main"), ("smtp.example.net", 587, "net"))

HEADERS = (
    "Nov 24 06:05:01 mx1 postfix/",
    "Dec  1 06:05:01 mx1 postfix/",
    "2026-11-24T06:05:01.123456+01:00 mx1 postfix/submission/",
    "2026-11-24T06:05:01+02:00 mx1 postfix-out/",
    "2026-11-24T06:05:02Z mx1 cyrus/",
    "Nov 24 06:05:01 mx1 postfix/a/b/",
    "Nov 24 06:05:01 mx1 out/",
    "Nov : uid=12345 mx1 postfix/",
    "Nov :0uid=12345 mx1 postfix/",
    "",
)
TLS = "TLS connection established to smtp.relay.test[192.0.2.9]:587"
TEXTS = tuple(
    f"""
qmgr[9]: 3C0: removed
smtp[9]: 3C0: to=<a@b>, relay=smtp.relay.test[192.0.2.9]:587, delay=1.3, delays=0.02/0.01/0.84/0.43, dsn=2.0.0, status=sent (250 2.0.0 Ok)
qmgr[9]: warning: removed
qmgr[9]: 3C0: from=<a@b>, size=4021, nrcpt=1 (queue active)
cleanup[9]: 3C0: message-id=<x@y>
cleanup[9]: 4VKq: removed
smtpd[9]: connect from a[192.0.2.7]
smtpd[9]: disconnect from a[192.0.2.7] ehlo=1 quit=1 commands=2
smtpd[9]: 3C0: client=a[192.0.2.7]
smtpd[9]: 3C0: client=a[192.0.2.7], sasl_method=PLAIN, sasl_username=u
smtpd[9]: 3C0: client=localhost[127.0.0.1], orig_queue_id=3C9, orig_client=a[192.0.2.7]
pickup[9]: 3C0: uid=33 from=<www-data>
bounce[9]: 3C0: sender non-delivery notification: 3C1
cron[9]: (root) CMD (true)
smtp[9]: Trusted {TLS}: TLSv1.3 with cipher X (256/256 bits)
smtp[9]: Odd {TLS}: TLSv1.2 with cipher X (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256
smtp[9]: 3C0: to=<a@b>, orig_to=<c>, relay=smtp.example.net[2001:db8::9]:587, conn_use=2, delay=12, delays=1/2/3/6, dsn=4.7.0, status=deferred (host smtp.example.net[2001:db8::9] said: 421 4.7.0 later (in reply to MAIL FROM command))
smtp[9]: 3C0: to=<a@b>, relay=other.test[192.0.2.8]:25, delay=1.2e+05, delays=1/2/3/6, dsn=5.1.1, status=bounced (x
smtp[9]: 3C0: to=<a@b>, relay=other.test[192.0.2.8]:25, delay=7, delays=1/2/3/1, dsn=5.7.8, status=bounced (SASL authentication failed; server other.test[192.0.2.8] said: 535 5.7.8 no)
smtp[9]: 3C0: to=<a@b>, relay=other.test[192.0.2.8]:25, delay=7., delays=1/2/3/1, dsn=5.1.1, status=bounced (host said: 550: client=x: uid=1 : removed)
smtp[9]: 3C0: to=<a: uid=1@b>, relay=other.test[192.0.2.8]:25, delay=7, delays=1/2/3/1, dsn=2.0.0, status=sent (250 : client=x)
smtp[9]: Trusted {TLS}: TLSv1.3 with cipher X (256/256 bits) key-exchange X (: uid=1)
cleanup[9]: 3C0: message-id=<: client=x>
cleanup[9]: 3C0: message-id=<x: sender non-delivery notification: 3C1>
smtp[9]: 3C0: to=<a@b>, relay=smtp.relay.test[192.0.2.9]:587, delay=1, delays=0/0/0/1, tls=secure, dsn=2.0.0, status=sent (250 2.0.0 Ok)
smtp[9]: 3C0: to=<a@b>, relay=smtp.relay.test[192.0.2.9]:587, delay=1, delays=0/0/0/1, tls=a b, dsn=2.0.0, status=sent (250 2.0.0 Ok)
smtp[9]: 3C0: to=<a@b>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, status=deferred (connect to smtp.relay.test[192.0.2.9]:587: Connection refused)
""".strip().split("\n")  # noqa: E501
)


class Counts:
    """All that counts lines in an agent."""

    def __init__(self) -> None:
        self.tally, names = Tally(), RelayNames(NAMES)
        self.counting = ProbeFilter(self.tally, names, lambda: NOW)
        self.daemons = DaemonMetrics(self.tally, names, Exemplars())
        self.history = DeliveryHistory(lambda: NOW)
        self.senders = SenderCounts(self.tally, names, lambda: NOW, NOW.timestamp)
        self.tracker = IncidentTracker(names, lambda: NOW)

    def by_block(self, *blocks: bytes) -> dict[str, Any]:
        """Count blocks and return everything as plain data."""
        pipeline = Pipeline(self.counting, [self.daemons, self.history, self.senders, self.tracker])
        for block in blocks:
            pipeline.feed(block)
        return self.data()

    def by_line(self, *blocks: bytes) -> dict[str, Any]:
        """Count each line on its own, and return everything as plain data."""
        for block in blocks:
            last = None
            for line in split_lines(block.decode("utf-8", "replace")):
                record, event = parse(line.removesuffix("\r"))
                if record is not None and not record.stamp:
                    record, event = None, None
                self.counting.take_line(record, event)
                last = record or last
                if record is None:
                    self.tracker.observe_foreign(line)
                elif event is not None:
                    for part in (self.daemons, self.history, self.senders, self.tracker):
                        part.observe(record, event)
            if last is not None:
                self.counting.note_last_line(last)
        return self.data()

    def data(self) -> dict[str, Any]:
        """Return everything as plain data."""
        self.counting.settle()
        histograms = {
            name: {labels: [round(number, 6) for number in row] for labels, row in rows.items()}
            for name, rows in self.tally.histograms.items()
        }
        return {
            "counters": self.tally.counters,
            "times": self.tally.times,
            "histograms": histograms,
            "traffic": self.counting.state(),
            "new": set(self.daemons.new_mails),
            "history": self.history.state(),
            "incidents": self.tracker.state(),
            "senders": self.senders.state(),
            "queued": self.senders.queued,
        }


def assert_same_counts(*blocks: bytes) -> None:
    """Check that blocks count as their lines."""
    by_block, by_line = Counts().by_block(*blocks), Counts().by_line(*blocks)
    assert by_block == by_line


def test_the_corpus_counts_the_same() -> None:
    """The corpus has every known type of log message."""
    for file in sorted(CORPUS.rglob("*.log")):
        assert_same_counts(file.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_host_counts_the_same(kind: str) -> None:
    """Most of these lines are rows, across several blocks."""
    lines = [line.encode() for line in log_lines(6000, kind)]

    assert_same_counts(*(b"".join(lines[start : start + 999]) for start in range(0, 6000, 999)))


LINES = st.builds(
    lambda header, text, junk, end: f"{header}{text}{junk}{end}",
    st.sampled_from(HEADERS),
    st.sampled_from(TEXTS),
    st.sampled_from(
        ("", "", "", " ", "\u2028", ")", "\x0b", ", status=sent (250)", "[", "\x00", ": client=", ": removed")
    ),
    st.sampled_from(("\n", "\n", "\n", "\r\n")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, max_size=12), st.booleans())
@example(
    [
        "Nov 24 06:05:01 mx1 postfix/smtpd[9]: 3C0: client=a[192.0.2.7]\n",
        "Nov 24 06:05:01 mx1 postfix/pickup[9]: 3C0: uid=33 from=<www-data>\n",
    ],
    True,
)
@example(
    [
        "Nov 24 06:05:01 mx1 postfix/smtpd[9]: 3C0: client=a[192.0.2.7]\n",
        "Nov 24 06:05:01 mx1 postfix/qmgr[9]: 3C0: removed\n",
        "Nov 24 06:05:01 mx1 postfix/qmgr[9]: 3C0: from=<a@b>, size=4021, nrcpt=1 (queue active)\n",
    ],
    True,
)
@example(
    [
        "Nov 24 06:05:01 mx1 postfix/smtpd[9]: 3C0: client=a[192.0.2.7]\n",
        "Nov 24 06:05:01 mx1 postfix/qmgr[9]: 3C0: from=<a@b>, size=4021, nrcpt=1 (queue active)\n",
        "Nov 24 06:05:01 mx1 postfix/qmgr[9]: 3C0: removed\n",
        (
            "Nov 24 06:05:01 mx1 postfix/smtp[9]: 3C0: to=<a@b>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.1, "
            "status=deferred (connect to smtp.relay.test[192.0.2.9]:587: Connection refused)\n"
        ),
    ],
    True,
)
def test_mixed_lines_count_the_same(lines: list[str], ended: bool) -> None:
    """Lines are mixed with foreign instances, junk, CR and a missing last newline."""
    assert_same_counts(("".join(lines) if ended else "".join(lines).removesuffix("\n")).encode())


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(HEADERS[:-1]),
    st.sampled_from(TEXTS),
    st.lists(st.tuples(st.integers(0, 200), st.characters(codec="utf-8")), min_size=1, max_size=3),
)
def test_a_damaged_line_counts_the_same(header: str, text: str, damage: list[tuple[int, str]]) -> None:
    """Any characters replace others in a line between two valid lines."""
    line = header + text
    for place, char in damage:
        line = f"{line[:place]}{char}{line[place + 1 :]}"

    assert_same_counts(f"{HEADERS[0]}{TEXTS[0]}\n{line}\n{HEADERS[0]}{TEXTS[1]}\n".encode())


_SHARED_LOG = (
    "Nov 24 10:00:00 host postfix/pickup[1]: 3F1A62B400D: uid=0 from=<root>\n"
    "Nov 24 10:00:01 host postfix-out/pickup[2]: 3F1A62B400E: uid=0 from=<root>\n"
    "Nov 24 10:00:02 host postfix-out/relay/smtp[3]: 3F1A62B400E: to=<a@b.test>, relay=r[192.0.2.1]:25, delay=1, "
    "delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)\n"
    "Nov 24 10:00:03 host postfix-in/pickup[4]: 3F1A62B400F: uid=0 from=<root>\n"
    "Nov 24 10:00:04 host postfix/smtpd[5]: warning: hostname a.test does not resolve to address 192.0.2.9\n"
    "Nov 24 10:00:05 host sshd[6]: a line of another program\n"
)


@pytest.mark.parametrize(
    ("own", "arrivals", "deliveries", "lines", "last"),
    [
        (None, 3, 1, 6, "10:00:04"),
        (OwnLines("postfix", foreign=True), 1, 0, 3, "10:00:04"),
        (OwnLines("postfix-out", foreign=False), 1, 1, 2, "10:00:02"),
        (OwnLines("postfix-o", foreign=False), 0, 0, 0, None),
    ],
)
def test_an_instance_takes_its_own_lines(
    own: OwnLines | None, arrivals: int, deliveries: int, lines: int, last: str | None
) -> None:
    """Its services' lines are its own, those of another name are not. One instance takes the lines of other programs."""
    tally = Tally()
    now = datetime(2026, 11, 24, 11, tzinfo=UTC)
    pipeline = Pipeline(Counting(tally, RelayNames(), lambda: now), own=own)
    pipeline.feed(_SHARED_LOG.encode())
    pipeline.settle()

    assert sum(tally.counters["postfix_messages_received_total"].values()) == arrivals
    assert sum(tally.counters["postfix_deliveries_total"].values()) == deliveries
    assert sum(tally.counters["postward_log_lines_total"].values()) == lines
    seen = tally.times.get("postward_log_last_line_timestamp_seconds", {}).get(())
    assert (seen and datetime.fromtimestamp(seen, UTC).strftime("%H:%M:%S")) == last

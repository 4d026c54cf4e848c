"""A report's tally does not depend on cuts, the order of merges, or the way of counting."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from postward.agent.report.counter import HostNames, LineCounter
from postward.agent.report.tally import Limits, ReportTally
from postward.parsers import parse
from postward.parsers.scan import Scanner
from tests.test_pipeline import HEADERS, TEXTS
from tools.bench.lines import log_lines

CORPUS = Path(__file__).parents[1] / "corpus"
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
NAMES = (("smtp.relay.test", 587, "main"), ("smtp.example.net", 587, "net"))
NARROW = Limits(hours=3, relays=3, domains=4, mails=8)


def empty(limits: Limits | None = None) -> ReportTally:
    """A tally with the relays of the settings."""
    return ReportTally((name for _, _, name in NAMES), limits, addresses=True)


def counted(text: str, limits: Limits | None = None, *, by_blocks: bool = True) -> ReportTally:
    """The tally of some lines."""
    tally = empty(limits)
    counting = LineCounter(tally, HostNames(NAMES), NOW)

    if by_blocks:
        counting.observe_block(Scanner(counting.wanted, excerpts=True).scan(text))
    else:
        for line in text.removesuffix("\n").split("\n") if text else ():
            counting.take_line(*parse(line.removesuffix("\r")))
    counting.settle()
    return tally


def merged(tallies: Sequence[ReportTally], limits: Limits | None = None) -> dict[str, Any]:
    """The merge of all tallies as plain data."""
    whole = empty(limits)
    for tally in tallies:
        whole.merge(tally)
    return whole.as_json()


def same(text: str) -> None:
    """Assert that both ways of counting give the same tally."""
    assert counted(text).as_json() == counted(text, by_blocks=False).as_json()


MORE = (
    "qmgr[9]: 3C0: from=<>, size=4021, nrcpt=1 (queue active)",
    "qmgr[9]: 3C1: from=<root@Example.ORG>, size=77, nrcpt=1 (queue active)",
    'smtp[9]: 3C1: to=<"a@b"@c>, relay=smtp.relay.test[192.0.2.9]:587, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (250 ok)',
    "local[9]: 3C1: to=<a@b>, relay=local, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (forwarded as 3C2)",
    "smtp[9]: 3C1: to=<a@B.TEST>, relay=deep.host.example.org[192.0.2.9]:25, delay=0.012, delays=0/0/0.01/0, dsn=2.0.0, status=sent (ok)",
    "smtp[9]: 3C2: to=<a@b>, relay=mx.example.org[192.0.2.9]:25, delay=123456, delays=1/2/3/4, dsn=2.0.0, status=sent (ok)",
    "smtp[9]: 3C2: to=<a@b>, relay=x.test[192.0.2.9]:25, delay=5, delays=1/2/1/1, dsn=5.0.0, status=bounced (x said: 550 <a@b> no)",
    "smtp[9]: 3C2: to=<a@b>, relay=x.test[192.0.2.9]:25, delay=5, delays=1/2/1/1, dsn=5.0.0, status=bounced (x: removed",
    "smtpd[9]: NOQUEUE: reject: RCPT from unknown[192.0.2.66]: 554 5.7.1 no; from=<a@b> to=<c@d> proto=SMTP helo=<x>",
    "cleanup[9]: 3C0: message-id=<x: removed",
    "cleanup[9]: 3C0: message-id=<x>: removed",
    "smtp[9]: warning: TLS library problem: x",
)
STAMPS = (
    "Nov 24 06:05:01 ",
    "Nov 24 06:59:60 ",
    "Dec  1 06:05:01 ",
    "Feb 30 06:05:01 ",
    "Nov 24 99:05:01 ",
    "Jun 24 06:05:01 ",
    "2026-11-24T06:05:01.123456+01:00 ",
    "2026-11-24T07:05:59Z ",
    "2025-11-24T06:05:01+02:00 ",
    "2026-13-24T06:05:01+02:00 ",
)
LINES = st.builds(
    lambda stamp, header, text, junk, end: f"{stamp}{header}{text}{junk}{end}",
    st.sampled_from(STAMPS),
    st.sampled_from(
        ("mx1 postfix/", "mx1 postfix/", "mx2 postfix/submission/", "mx2 postfix-out/", "mx1 cyrus/")
    ),
    st.sampled_from(TEXTS + MORE),
    st.sampled_from(("", "", "", "", " ", "\u2028", ")", "\x0b", ": removed", ", status=sent (250)", "\x00")),
    st.sampled_from(("\n", "\n", "\n", "\r\n")),
)


def test_the_corpus_counts_the_same() -> None:
    """Every kind of line."""
    for file in sorted(CORPUS.rglob("*.log")):
        same(file.read_bytes().decode("utf-8", "replace"))


def test_a_busy_host_counts_the_same() -> None:
    """Most lines are of frequent kinds."""
    same("".join(log_lines(6000)))


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=12), st.booleans())
def test_lines_of_all_sorts_count_the_same(lines: list[str], ended: bool) -> None:
    """Mixed, with odd stamps, foreign instances, junk, CR and a missing end."""
    same("".join(lines) if ended else "".join(lines).removesuffix("\n"))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(HEADERS[:-1]),
    st.sampled_from(TEXTS + MORE),
    st.lists(st.tuples(st.integers(0, 200), st.characters(codec="utf-8")), min_size=1, max_size=3),
)
def test_a_damaged_line_counts_the_same(header: str, text: str, damage: list[tuple[int, str]]) -> None:
    """Any character at any place of a line, between two intact lines."""
    line = header + text
    for place, char in damage:
        line = f"{line[:place]}{char}{line[place + 1 :]}"
    same(f"{HEADERS[0]}{TEXTS[0]}\n{line}\n{HEADERS[0]}{TEXTS[1]}\n")


VARIED = st.builds(
    lambda hour, day, mail, host, domain, status: (
        f"Nov {day:02} {hour:02}:05:01 mx1 postfix/qmgr[1]: {mail:X}: from=<a@{domain}>, size={mail + 100}, nrcpt=1 (queue active)\n"
        f"Nov {day:02} {hour:02}:05:02 mx1 postfix/smtp[1]: {mail:X}: to=<a@{domain}>, relay={host}[192.0.2.1]:25, delay={mail}.{hour},"
        f" delays=0.{hour}/1/2/0.1, dsn=4.0.0, status={status} (host {host}[192.0.2.1] said: 450 4.{mail % 8}.1 {domain})\n"
    ),
    st.integers(0, 23),
    st.integers(1, 28),
    st.integers(0, 40),
    st.sampled_from(
        (
            "a.one.test",
            "b.one.test",
            "c.one.test",
            "two.test",
            "smtp.relay.test",
            "d.three.test",
            "e.four.test",
            "192-0",
        )
    ),
    st.sampled_from(("one.example", "two.example", "three.example", "four.example", "five.example")),
    st.sampled_from(("sent", "deferred", "bounced")),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(VARIED, max_size=30), st.randoms(use_true_random=False), st.sampled_from((None, NARROW)))
def test_merging_does_not_depend_on_cut_or_order(
    pairs: list[str], random: Random, limits: Limits | None
) -> None:
    """Merging is associative and commutative, also past every bound."""
    lines = "".join(pairs).splitlines(keepends=True)
    whole = counted("".join(lines), limits).as_json()
    cuts = sorted(random.sample(range(len(lines) + 1), min(4, len(lines) + 1)))
    pieces = [lines[start:end] for start, end in zip([0, *cuts], [*cuts, len(lines)], strict=True)]
    random.shuffle(pieces)
    tallies = [counted("".join(piece), limits, by_blocks=random.random() < 0.5) for piece in pieces]

    while len(tallies) > 1:  # any tree
        mine = tallies.pop(random.randrange(len(tallies)))
        mine.merge(tallies.pop(random.randrange(len(tallies))))
        tallies.insert(random.randrange(len(tallies) + 1), mine)

    assert merged(tallies, limits) == whole


def test_every_bound_holds() -> None:
    """A log that exceeds every limit: the tally stays small and totals stay exact."""
    lines = "".join(
        f"Nov {day:02} {hour:02}:00:00 mx1 postfix/smtp[1]: A{day}Z{hour}: to=<a@d{day * hour}.test>, relay=h{hour}.s{day}.test"
        "[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=4.0.0, status=deferred (no)\n"
        for day in range(1, 29)
        for hour in range(24)
    )

    tally = counted(lines, NARROW)

    assert len({start for start, _ in tally.hours}) <= NARROW.hours
    assert set(tally.deliveries) == {("other", "deferred")}
    assert tally.domains is None
    assert len(tally.as_json()["mails"]) == NARROW.mails
    assert tally.deliveries["other", "deferred"] == 28 * 24


def test_a_sample_estimates_the_number_of_mails() -> None:
    """A thousand of twenty thousand mails are kept; the estimate is within four standard errors."""
    lines = "".join(
        f"Nov 24 06:00:00 mx1 postfix/qmgr[1]: 4{number:08X}: from=<a@b.test>, size=1, nrcpt=1 (queue active)\n"
        for number in range(20_000)
    )

    sample = counted(lines + lines, Limits(mails=1024)).mails
    sample.prune()

    assert not sample.is_whole
    assert abs(sample.scaled(len(sample.rows)) - 20_000) < 4 * sample.error * 20_000

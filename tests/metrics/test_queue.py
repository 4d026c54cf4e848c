"""The queue by cause: postqueue's words, a real queue, and one of a million mails."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postward.agent.metrics.queue import QueueMonitor, count_queue
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.parsers import Cause
from postward.parsers.queue import HEAD, QueuedMail, QueueLines, parse_queued_mail, unescaped
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for

NOW = 1_800_000_000.0
REFUSED = "connect to smtp.relay.test[192.0.2.1]:587: Connection refused"


def line(queue: str = "deferred", age: int = 60, size: int = 1000, *reasons: str | None) -> bytes:
    """A mail as postqueue prints it, with a recipient for each reason."""
    recipients = [
        {"address": "a@b.test"} | ({"delay_reason": reason} if reason else {})
        for reason in reasons or (None,)
    ]
    entry = {
        "queue_name": queue,
        "queue_id": "4F2A91C0B3",
        "arrival_time": int(NOW) - age,
        "message_size": size,
        "forced_expire": False,
        "sender": "s@t.test",
        "recipients": recipients,
    }
    return json.dumps(entry).encode() + b"\n"


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """A stream."""
    for piece in data:
        yield piece


def gauges(*data: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    """What a listing is shown as, without zeros."""
    shown = asyncio.run(count_queue(pieces(*data), NOW)).gauges()
    return {metric: {key: number for key, number in rows.items() if number} for metric, rows in shown.items()}


def test_mails_are_counted_by_queue_and_cause_and_age_by_arrival() -> None:
    """Each mail once, under the first reason it has; age is since arrival, not since the last try."""
    shown = gauges(
        line("deferred", 7200, 100, None, REFUSED, "something else"),
        line("deferred", 60, 200, REFUSED),
        line("active", 5, 300),
        line("hold", 10, 50),
        line("elsewhere", 10, 50),
    )

    assert shown == {
        "postfix_queue_messages": {("deferred", "refused"): 2, ("active", "none"): 1, ("hold", "none"): 1},
        "postfix_queue_bytes": {("deferred",): 300, ("active",): 300, ("hold",): 50},
        "postfix_queue_oldest_age_seconds": {("deferred",): 7200, ("active",): 5, ("hold",): 10},
    }


def test_every_series_is_there_for_an_empty_queue() -> None:
    """Zeros for each queue and each cause, so that a graph shows that nothing waits."""
    shown = asyncio.run(count_queue(pieces(), NOW)).gauges()

    assert {cause for queue, cause in shown["postfix_queue_messages"] if queue == "deferred"} == {
        *Cause,
        "none",
    }
    assert set(shown["postfix_queue_oldest_age_seconds"].values()) == {0}


@pytest.mark.parametrize("cut", [1, 7, 100, 65536])
def test_pieces_may_end_anywhere(cut: int) -> None:
    """A stream is cut where it pleases the kernel."""
    data = line("deferred", 60, 1, REFUSED) * 3 + line("hold")
    parts = [data[start : start + cut] for start in range(0, len(data), cut)]

    assert gauges(*parts)["postfix_queue_messages"] == {("deferred", "refused"): 3, ("hold", "none"): 1}


def test_strangers_text_cannot_be_a_field() -> None:
    """An address that looks like a reason is escaped inside its string."""
    address = '", "delay_reason": "connect to x[192.0.2.1]:25: Connection refused'
    entry = json.loads(line()) | {"recipients": [{"address": address, "delay_reason": "4.7.1 wait"}]}

    mail = parse_queued_mail(json.dumps(entry).encode())
    assert mail == QueuedMail("deferred", int(NOW) - 60, 1000, b"4.7.1 wait")


@pytest.mark.parametrize(
    "words", [b"", b"{}", b"postqueue: fatal: x", b'{"queue_name": "deferred"', b"\xff" * 100]
)
def test_what_is_no_mail_is_none(words: bytes) -> None:
    """And nothing raises."""
    assert parse_queued_mail(words) is None


def test_reasons_are_read_as_the_log_has_them() -> None:
    """Escapes are undone, broken ones stay."""
    assert unescaped(rb"a \"b\" \\ \u00e9 \n \u12") == 'a "b" \\ é \n \\u12'


def test_a_mail_with_many_recipients_takes_no_memory() -> None:
    """Of a line of 20 MB only the beginning is kept."""
    lines = QueueLines()
    head = line("deferred", 60, 1, REFUSED)[:-3]
    for _ in range(320):
        assert list(lines.feed(head if not lines._head else b"x" * 65536)) == []
    (kept,) = lines.feed(b"\n")

    assert len(kept) == HEAD
    assert parse_queued_mail(kept) is not None


def test_a_million_mails_hold_nothing_up() -> None:
    """Twenty thousand here: memory stays flat, other tasks get their turn, and no scrape waits."""
    block = b"".join(line("deferred", number, 1000, REFUSED) for number in range(200))
    held: list[float] = []

    async def listing() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield block
            await asyncio.sleep(0)

    async def others() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            held.append(time.perf_counter() - before)

    async def scenario() -> float:
        monitor = QueueMonitor(listing, lambda: NOW)
        other = asyncio.create_task(others())
        tracemalloc.start()
        while monitor.counts is None:
            await monitor.refresh()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        other.cancel()
        assert monitor.counts.queues["deferred"].messages == 20_000
        return peak

    peak = asyncio.run(scenario())
    assert peak < 4_000_000
    assert len(held) > 90


def test_a_slow_listing_is_waited_for_once_and_then_shown_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Concurrent scrapes share one listing; while it runs the last one is shown; the next comes after ten times as long."""
    monkeypatch.setattr("postward.agent.metrics.queue._TIMEOUT", 0.01)
    started: list[asyncio.Event] = []

    async def listing() -> AsyncIterator[bytes]:
        started.append(asyncio.Event())
        yield line("deferred", 60, 1, REFUSED)
        await started[-1].wait()

    async def scenario() -> None:
        monitor = QueueMonitor(listing, lambda: NOW)
        await asyncio.gather(*(monitor.refresh() for _ in range(5)))
        assert len(started) == 1
        assert monitor.gauges() == {}
        started[0].set()
        assert monitor._task is not None
        await monitor._task
        await monitor.refresh()
        assert len(started) == 1  # it took some time, and ten times as long is not over
        assert monitor.gauges()["postward_queue_readable"] == {(): 1.0}

    asyncio.run(scenario())


def test_a_queue_that_cannot_be_listed_is_told() -> None:
    """`postward_queue_readable` is 0, and no old numbers are shown."""

    async def listing() -> AsyncIterator[bytes]:
        raise PostfixError("postqueue: mail system is down")
        yield b""

    async def scenario() -> dict[str, dict[tuple[str, ...], float]]:
        monitor = QueueMonitor(listing, lambda: NOW)
        await monitor.refresh()
        return monitor.gauges()

    shown = asyncio.run(scenario())
    assert shown["postward_queue_readable"] == {(): 0.0}
    assert "postfix_queue_messages" not in shown


def test_a_real_queue(tmp_path: Path) -> None:
    """Postfix's own postqueue: mails that a relay refuses wait under that cause, with their age."""
    require_postfix(sasl=False)
    with (
        Relay(CA(), tls="none", auth_required=False) as relay,
        PostfixInstance(tmp_path / "p", {"relayhost": f"[127.0.0.1]:{relay.port}"}) as postfix,
    ):
        relay.refuse = True
        postfix.inject(f"user{number}@dest.test" for number in range(5))
        wait_for(lambda: len(postfix.queue()) == 5 and all(
            mail["queue_name"] == "deferred" for mail in postfix.queue()), what="the mails to be deferred")  # fmt: skip
        monitor = QueueMonitor(Postfix(postfix.config_directory).list_queue)
        asyncio.run(monitor.refresh())
        shown = monitor.gauges()

    assert shown["postfix_queue_messages"][("deferred", "refused")] == 5
    assert shown["postfix_queue_bytes"][("deferred",)] > 500
    assert 0 <= shown["postfix_queue_oldest_age_seconds"][("deferred",)] < 60

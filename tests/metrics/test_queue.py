"""The queue by cause: the output of postqueue(1), a real queue, and a large one."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from postward.agent.metrics.queue import QueueMonitor, count_queue
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.parsers import Cause
from postward.parsers.queue import HEAD, QueuedMail, QueueLines, parse_queued_mail, unescaped
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.product import AgentProcess, write_reading_settings

NOW = 1_800_000_000.0
REFUSED = "connect to smtp.relay.test[192.0.2.1]:587: Connection refused"


def line(queue: str = "deferred", age: int = 60, size: int = 1000, *reasons: str | None) -> bytes:
    """Return a message as postqueue(1) prints it, with a recipient for each reason."""
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
    """Yield the pieces of a stream."""
    for piece in data:
        yield piece


def gauges(*data: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the gauges of a listing, without zeros."""
    shown = asyncio.run(count_queue(pieces(*data), NOW)).gauges()
    return {metric: {key: number for key, number in rows.items() if number} for metric, rows in shown.items()}


def test_messages_are_counted_by_queue_and_cause() -> None:
    """Each message counts once, under its first reason; its age is since arrival, not since the last attempt."""
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


def test_an_empty_queue_has_all_series() -> None:
    """Each queue and each cause is zero, so that a graph shows an empty queue."""
    shown = asyncio.run(count_queue(pieces(), NOW)).gauges()

    assert {cause for queue, cause in shown["postfix_queue_messages"] if queue == "deferred"} == {
        *Cause,
        "none",
    }
    assert set(shown["postfix_queue_oldest_age_seconds"].values()) == {0}


@pytest.mark.parametrize("cut", [1, 7, 100, 65536])
def test_pieces_may_end_anywhere(cut: int) -> None:
    """A read may end within a line."""
    data = line("deferred", 60, 1, REFUSED) * 3 + line("hold")
    parts = [data[start : start + cut] for start in range(0, len(data), cut)]

    assert gauges(*parts)["postfix_queue_messages"] == {("deferred", "refused"): 3, ("hold", "none"): 1}


def test_an_address_cannot_forge_a_reason() -> None:
    """An address that looks like a reason is escaped within its JSON string."""
    address = '", "delay_reason": "connect to x[192.0.2.1]:25: Connection refused'
    entry = json.loads(line()) | {"recipients": [{"address": address, "delay_reason": "4.7.1 wait"}]}

    mail = parse_queued_mail(json.dumps(entry).encode())
    assert mail == QueuedMail("deferred", int(NOW) - 60, 1000, b"4.7.1 wait", "4F2A91C0B3", "s@t.test")


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"postqueue: fatal: x", b'{"queue_name": "deferred"', b"\xff" * 100]
)
def test_an_invalid_line_is_skipped(text: bytes) -> None:
    """The parser returns None and raises nothing."""
    assert parse_queued_mail(text) is None


def test_reasons_are_unescaped() -> None:
    """JSON escapes are decoded, so that a reason is as in the log; invalid escapes stay."""
    assert unescaped(rb"a \"b\" \\ \u00e9 \n \u12") == 'a "b" \\ é \n \\u12'


def test_a_message_with_many_recipients_takes_little_memory() -> None:
    """Only the beginning of a line of 20 MB is kept."""
    lines = QueueLines()
    head = line("deferred", 60, 1, REFUSED)[:-3]
    for _ in range(320):
        assert list(lines.feed(head if not lines._head else b"x" * 65536)) == []
    (kept,) = lines.feed(b"\n")

    assert len(kept) == HEAD
    assert parse_queued_mail(kept) is not None


def test_a_large_queue_blocks_no_other_task() -> None:
    """With 20 000 messages, memory stays below 4 MB and other tasks of the event loop run."""
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
        assert sum(monitor.counts.queues["deferred"].ages[:-1]) == 20_000
        return peak

    peak = asyncio.run(scenario())
    assert peak < 4_000_000
    assert len(held) > 90


def test_scrapes_share_a_slow_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a listing runs, scrapes show the previous one. The next one starts after ten times its duration."""
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
        assert len(started) == 1  # ten times its duration is not over
        assert monitor.gauges()["postward_queue_readable"] == {(): 1.0}

    asyncio.run(scenario())


def test_an_unreadable_queue_is_reported() -> None:
    """`postward_queue_readable` is 0, and no old values are shown."""

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


def test_a_queue_that_cannot_be_listed_is_not_tried() -> None:
    """Postfix's command would write a fatal line into the mail log, at each scrape."""

    async def listing() -> AsyncIterator[bytes]:
        raise AssertionError
        yield b""

    async def scenario() -> dict[str, dict[tuple[str, ...], float]]:
        monitor = QueueMonitor(listing, lambda: NOW, lambda: "Postfix is not running")
        await monitor.refresh()
        return monitor.gauges()

    assert asyncio.run(scenario())["postward_queue_readable"] == {(): 0.0}


def test_a_real_queue(tmp_path: Path) -> None:
    """With Postfix's postqueue(1), messages that a relay refuses are counted under that cause, with size and age."""
    require_postfix(sasl=False)
    with (
        Relay(CA(), tls="none", auth_required=False) as relay,
        PostfixInstance(tmp_path / "p", {"relayhost": f"[127.0.0.1]:{relay.port}"}) as postfix,
    ):
        relay.refuse = True
        postfix.inject(f"user{number}@dest.test" for number in range(5))
        wait_for(
            lambda: [mail["queue_name"] for mail in postfix.queue()] == ["deferred"] * 5,
            what="the messages to be deferred",
        )
        monitor = QueueMonitor(Postfix(postfix.config_directory).list_queue)
        asyncio.run(monitor.refresh())
        shown = monitor.gauges()

    assert shown["postfix_queue_messages"][("deferred", "refused")] == 5
    assert shown["postfix_queue_bytes"][("deferred",)] > 500
    assert 0 <= shown["postfix_queue_oldest_age_seconds"][("deferred",)] < 60


def test_a_main_cf_that_cannot_be_parsed_is_not_read_by_postqueue(tmp_path: Path) -> None:
    """The agent says that it cannot list the queue, and its look writes no fatal line into the mail log."""
    require_postfix(sasl=False)
    with PostfixInstance(tmp_path / "p") as postfix, ExitStack() as stack:
        settings = write_reading_settings(tmp_path, postfix)
        settings.write_text(settings.read_text().replace("[queue]\nenabled = false\n", ""))
        agent = stack.enter_context(AgentProcess(settings))
        wait_for(lambda: agent.value("postward_queue_readable") == 1, what="the queue to be listed")
        main_cf = postfix.config_directory / "main.cf"
        number = len(main_cf.read_text().splitlines()) + 1
        main_cf.write_text(f"{main_cf.read_text()}relayhost [smtp.other.test]:25\n")
        wait_for(lambda: agent.value("postward_queue_readable") == 0, what="the queue not to be listed")
        printed, logged = agent.output(), postfix.maillog.read_text()

    assert f"queue: {main_cf}, line {number}: not of the form name = value" in printed
    assert "postqueue" not in logged

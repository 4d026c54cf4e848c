"""The test line, through the logging of a real Postfix: it arrives, is lost, or cannot be sent."""

import asyncio
from pathlib import Path

import pytest

from postward.agent.logs.canary import LogCanary
from postward.agent.logs.discover import open_sources
from postward.agent.logs.lines import lines_of
from postward.agent.logs.reader import LogReader
from postward.agent.metrics.tally import Tally
from postward.agent.postfix.commands import Postfix
from postward.parsers import parse
from tests.enforce.enforcing import Clock
from tests.support.postfix import PostfixInstance
from tests.support.require import require_postfix

_TIMEOUT = 2.0  # seconds; a test line is lost after its interval if that is less than ten seconds


async def _written() -> None:
    """Write no checkpoint."""


async def _send(postfix: PostfixInstance, tally: Tally) -> dict[str, float]:
    """Send one line while the log is read. Return the gauges."""
    line = LogCanary(Postfix(postfix.config_directory), tally, _TIMEOUT, lambda: False, _written)

    def feed(lines: bytes) -> None:
        for text in lines_of(lines):
            record, event = parse(text)
            if record is not None and event is not None:
                line.observe(record, event)

    sources = open_sources([str(postfix.maillog)], {})
    reader = LogReader(sources, feed, tally, awaited=lambda: line.is_waiting)  # as in the agent
    reading = asyncio.create_task(reader.run())
    await reader.looked.wait()
    await line.send()
    reading.cancel()
    reader.close()
    return {name: value for name, values in line.gauges().items() for value in values.values()}


def test_a_busy_log_that_falls_silent_is_tested_soon() -> None:
    """Half a minute after its last line, and once; an idle log is tested at the interval."""
    tally, clock = Tally(), Clock()
    line = LogCanary(Postfix(Path("/nowhere")), tally, 300.0, lambda: False, _written, clock=clock)
    assert line.is_due()  # the first one
    asyncio.run(line.send())  # it cannot be sent, as Postfix is missing there
    clock.now += 60
    assert not line.is_due()
    tally.add("postward_log_lines_total", ("event",), 5)
    assert not line.is_due()
    clock.now += 29
    assert not line.is_due()
    clock.now += 1
    assert line.is_due()
    tally.add("postward_log_lines_total", ("foreign",), 5)
    asyncio.run(line.send())
    clock.now += 300
    assert line.is_due()


def test_a_line_arrives_is_lost_or_cannot_be_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each result has its count; without a sent line the gauges are absent."""
    require_postfix(sasl=False)
    tally = Tally()
    with PostfixInstance(tmp_path) as postfix:
        shown = asyncio.run(_send(postfix, tally))
        assert shown["postward_log_test_line_success"] == 1
        assert 0 < shown["postward_log_test_line_latency_seconds"] < 30
        moved = postfix.maillog.with_name("elsewhere.log")
        main_cf = postfix.config_directory / "main.cf"
        with main_cf.open("a") as file:
            file.write(f"maillog_file = {moved}\nmaillog_file_prefixes = {tmp_path}, {postfix.folder}\n")
        postfix.stop()
        postfix.start()
        assert asyncio.run(_send(postfix, tally)) == {"postward_log_test_line_success": 0}
        assert "postward test line" in moved.read_text()
        assert "did not arrive: Postfix logs to another place" in caplog.text
        postfix.stop()
        (postfix.queue_directory / "public" / "postlog").unlink(missing_ok=True)
        assert asyncio.run(_send(postfix, tally)) == {}
        assert "cannot send a test line" in caplog.text
    assert tally.counters["postward_log_test_lines_total"] == {("arrived",): 1, ("lost",): 1, ("unsent",): 1}

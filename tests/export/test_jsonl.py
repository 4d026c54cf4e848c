"""Events as JSON lines: the schema, the protection of personal data, and a reader that stops reading."""

import io
import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from postward.agent.export import jsonl
from postward.agent.export.jsonl import EventStream, open_target
from postward.agent.metrics.labels import RelayNames
from postward.parsers import parse
from tests.support.waiting import wait_for

NAMES = RelayNames([("smtp.relay.test", 587, "demo")])
STAMP = "2026-11-24T09:00:00+00:00 mx"
DEFERRED = (
    f"{STAMP} postfix/smtp[7]: 4F2A91C0B3: to=<ann@private.test>, relay=smtp.relay.test[192.0.2.1]:587, delay=3, "
    "delays=1/0.5/1/0.5, dsn=4.7.8, status=deferred (SASL authentication failed; server smtp.relay.test[192.0.2.1] "
    "said: 535 5.7.8 bad password of ann@private.test)"
)


def noon() -> datetime:
    """Return a fixed time."""
    return datetime(2026, 11, 24, 12, tzinfo=UTC)


class UnclosedBuffer(io.BytesIO):
    """A file in memory that ignores `close`, so that its content stays readable."""

    def close(self) -> None:
        """Do nothing."""


def entries(*lines: str, personal: bool = False) -> list[dict[str, Any]]:
    """Return the JSON lines written for a log."""
    buffer = UnclosedBuffer()
    stream = EventStream(lambda: buffer, NAMES, personal=personal, clock=noon)
    for line in lines:
        record, event = parse(line)
        assert record is not None
        assert event is not None
        stream.observe(record, event)
    stream.close()
    return [json.loads(line) for line in buffer.getvalue().splitlines()]


def test_a_delivery_is_written_without_personal_data() -> None:
    """The entry follows version 1 of the schema in docs/fleet.md."""
    assert entries(DEFERRED) == [
        {
            "schema": 1,
            "time": "2026-11-24T09:00:00+00:00",
            "host": "mx",
            "instance": "postfix",
            "daemon": "smtp",
            "pid": 7,
            "severity": "info",
            "repeat": 1,
            "event": "Delivery",
            "queue_id": "4F2A91C0B3",
            "relay_name": "demo",
            "cause": "auth_rejected",
            "step": "auth",
            "delay": 3.0,
            "delays": [1.0, 0.5, 1.0, 0.5],
            "dsn": "4.7.8",
            "status": "deferred",
        }
    ]


@pytest.mark.parametrize(
    "corpus", sorted((Path(__file__).parents[1] / "corpus").glob("*.log")), ids=lambda p: p.stem
)
def test_no_personal_data_is_written(corpus: Path) -> None:
    """No message of the corpus causes an entry with a mail address, network address or client."""
    buffer = UnclosedBuffer()
    stream = EventStream(lambda: buffer, NAMES, clock=noon)
    for line in corpus.read_text(errors="replace").split("\n"):
        record, event = parse(line)
        if record is not None and event is not None:
            stream.observe(record, event)
    stream.close()
    for written in buffer.getvalue().splitlines():
        entry = json.loads(written)
        entry.pop("host")
        text = json.dumps(entry)
        assert "@" not in text
        assert "192.0.2" not in text
        assert "<" not in text


def test_personal_data_is_written_on_request() -> None:
    """With `personal`, the fields are those of `postward parse --json`."""
    (entry,) = entries(DEFERRED, personal=True)

    assert entry["to"] == "ann@private.test"
    assert entry["relay_host"] == "smtp.relay.test"
    assert entry["reason"].endswith("bad password of ann@private.test)") or "535 5.7.8" in entry["reason"]


def test_a_reader_that_stops_reading_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a pipe is full, events above the limit are dropped and counted."""
    monkeypatch.setattr(jsonl, "_MAX_WAITING", 100)
    reading, writing = os.pipe()
    over = threading.Event()
    stream = EventStream(lambda: os.fdopen(writing, "ab", closefd=False), NAMES, clock=noon)
    record, event = parse(DEFERRED)
    assert record is not None
    assert event is not None
    for _ in range(3000):
        stream.observe(record, event)
    assert stream.dropped > 0
    reader = threading.Thread(target=lambda: [os.read(reading, 65536) for _ in iter(over.is_set, True)])
    reader.start()
    stream.close()
    over.set()
    os.close(writing)
    reader.join(10)
    os.close(reading)


def test_a_rotated_file_is_opened_again(tmp_path: Path) -> None:
    """After a reload, lines go to the new file, which other users cannot read."""
    path = tmp_path / "events.json"
    target: Callable[[], BinaryIO] = open_target(str(path))
    stream = EventStream(target, NAMES, clock=noon)
    record, event = parse(DEFERRED)
    assert record is not None
    assert event is not None
    stream.observe(record, event)
    wait_for(lambda: path.read_bytes(), what="the first line")
    path.rename(tmp_path / "events.json.1")
    stream.reopen()
    stream.observe(record, event)
    stream.close()

    assert len(path.read_bytes().splitlines()) == 1
    assert path.stat().st_mode & 0o007 == 0

"""Events as JSON lines: their schema, nobody's data unless asked for, and a reader that stops reading."""

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
    """A clock."""
    return datetime(2026, 11, 24, 12, tzinfo=UTC)


class Sheet(io.BytesIO):
    """A file that keeps what was written when it is closed."""

    def close(self) -> None:
        """Stay open."""


def told(*lines: str, personal: bool = False) -> list[dict[str, Any]]:
    """What is written about a log."""
    sheet = Sheet()
    stream = EventStream(lambda: sheet, NAMES, personal=personal, clock=noon)
    for line in lines:
        record, event = parse(line)
        assert record is not None
        assert event is not None
        stream.observe(record, event)
    stream.close()
    return [json.loads(line) for line in sheet.getvalue().splitlines()]


def test_a_delivery_is_told_without_whom_it_concerns() -> None:
    """The schema of docs/fleet.md, version 1."""
    assert told(DEFERRED) == [
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
def test_no_personal_data_is_told(corpus: Path) -> None:
    """No address of mail or network, and no client, from any message that Postfix can print."""
    sheet = Sheet()
    stream = EventStream(lambda: sheet, NAMES, clock=noon)
    for line in corpus.read_text(errors="replace").split("\n"):
        record, event = parse(line)
        if record is not None and event is not None:
            stream.observe(record, event)
    stream.close()
    for written in sheet.getvalue().splitlines():
        entry = json.loads(written)
        entry.pop("host")
        text = json.dumps(entry)
        assert "@" not in text
        assert "192.0.2" not in text
        assert "<" not in text


def test_personal_data_is_told_when_asked_for() -> None:
    """Then the fields are those of `postward parse --json`."""
    (entry,) = told(DEFERRED, personal=True)

    assert entry["to"] == "ann@private.test"
    assert entry["relay_host"] == "smtp.relay.test"
    assert entry["reason"].endswith("bad password of ann@private.test)") or "535 5.7.8" in entry["reason"]


def test_a_reader_that_stops_reading_costs_its_events_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full pipe holds up nobody: what does not fit is dropped and counted."""
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
    """After a reload lines go to the new file, with a mode that strangers cannot read."""
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

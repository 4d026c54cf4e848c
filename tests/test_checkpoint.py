"""The checkpoint: what is written comes back, and whatever else is found there neither crashes the agent nor is lost."""

import errno
import hashlib
import json
import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postward.agent.checkpoint import (
    VERSION,
    Checkpoint,
    CheckpointError,
    parse_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from postward.agent.logs.discover import open_source
from postward.agent.logs.segment import FilePosition
from postward.agent.metrics.tally import Tally


def a_checkpoint(lines: int = 3) -> Checkpoint:
    """One with something of everything."""
    tally = Tally()
    tally.add("postward_log_lines_total", ("event",), lines)
    tally.latest("postfix_delivery_last_success_timestamp_seconds", ("demo",), 1717236000.25)
    tally.observe("postfix_delivery_delay_seconds", ("demo",), 0.1)
    marks = [
        FilePosition(1, 2, 10, "ab", 4096, 5, "cd", done=True),
        FilePosition(1, 3, 20, "ef", 77, copied=True),
    ]
    positions = {"/var/log/mail.log": [mark.as_json() for mark in marks], "journal": "s=ab;i=1", "-": None}
    return Checkpoint(positions, tally, {"other": [1, "x"]})


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    """Position and counts, to the last digit."""
    path = tmp_path / "checkpoint.json"
    written = a_checkpoint()
    write_checkpoint(path, written.to_json())
    found = read_checkpoint(path)
    assert found is not None
    assert found.positions == written.positions
    assert found.tally.as_json() == written.tally.as_json()
    assert found.parts == written.parts
    assert found.to_json() == written.to_json()
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.json"]


def test_no_position_yet_is_not_the_beginning() -> None:
    """None (nothing could be seen) and empty (everything is news) are kept apart."""
    positions: dict[str, list[Any] | None] = {"log": None, "other": []}
    assert parse_checkpoint(Checkpoint(positions, Tally()).to_json()).positions == positions


def test_one_of_version_1_is_taken_over() -> None:
    """It knew one source, and had its marks and a cursor apart. What is saved next is of this version."""
    mark = {"device": 1, "inode": 2, "head_length": 10, "head": "ab", "offset": 77, "line_length": 5, "line": "cd",
            "done": False, "copied": True}  # fmt: skip
    tally = a_checkpoint(7).tally
    body = {"source": "/log", "marks": [mark], "tally": tally.as_json(), "parts": {"a": 1}, "cursor": None}
    checksum = hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).hexdigest()
    found = parse_checkpoint(json.dumps({"version": 1, "sha256": checksum, **body}).encode())
    assert found.positions == {"/log": [mark]}
    assert found.tally.as_json() == tally.as_json()
    assert found.parts == {"a": 1}
    source = open_source("/log", found.positions["/log"])
    assert source.position == [mark]
    assert json.loads(found.to_json())["version"] == VERSION


def test_there_is_none(tmp_path: Path) -> None:
    """Absence is no fault."""
    assert read_checkpoint(tmp_path / "checkpoint.json") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 4096,
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b"7",
        b'{"version":"1"}',
        b'{"version":1}',
        b'{"version":1,"sha256":7}',
        b"[" * 100_000,
        a_checkpoint().to_json()[:-1],
        a_checkpoint().to_json() + b"x",
        a_checkpoint().to_json().replace(b"4096", b"4097"),
        a_checkpoint().to_json().replace(b'"offset"', b'"offest"'),
    ],
)
def test_a_damaged_one_is_put_aside_and_told(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Counting starts afresh; what was there is kept beside it."""
    path = tmp_path / "checkpoint.json"
    path.write_bytes(content)
    assert read_checkpoint(path) is None
    assert not path.exists()
    assert (tmp_path / "checkpoint.damaged").read_bytes() == content
    assert "put aside as checkpoint.damaged, counting starts afresh" in caplog.text


@settings(deadline=None)  # a machine that does other things as well
@given(st.data())
def test_any_flipped_byte_is_noticed(data: st.DataObject) -> None:
    """No single damaged byte gives other counts: it is a damage, another version, or nothing that means anything."""
    content = bytearray(a_checkpoint().to_json())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    try:
        found = parse_checkpoint(bytes(content))
    except (ValueError, CheckpointError):
        return
    assert found.to_json() == a_checkpoint().to_json()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (VERSION + 1, "start the Postward that wrote it, or move the file away to count afresh"),
        (0, "older than what this Postward can take over"),
    ],
)
def test_another_version_is_refused_and_left_alone(tmp_path: Path, version: int, words: str) -> None:
    """Whatever else such a file holds, it is the work of another Postward."""
    path = tmp_path / "checkpoint.json"
    content = json.dumps({"version": version, "something": "else"}).encode()
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: is of version {version}, ")
    assert path.read_bytes() == content


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    """It is told what is wrong."""
    (tmp_path / "checkpoint.json").mkdir()
    with pytest.raises(CheckpointError, match="it must be readable and writable"):
        read_checkpoint(tmp_path / "checkpoint.json")


def test_a_damaged_one_that_cannot_be_put_aside(tmp_path: Path) -> None:
    """It is told, not overwritten."""
    path = tmp_path / "checkpoint.json"
    path.write_bytes(b"junk")
    (tmp_path / "checkpoint.damaged").mkdir()
    with pytest.raises(CheckpointError, match="cannot be put aside: Is a directory; move it away"):
        read_checkpoint(path)
    assert path.read_bytes() == b"junk"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """At whatever step the disk fails, and nothing half-written stays behind."""
    path = tmp_path / "checkpoint.json"
    write_checkpoint(path, a_checkpoint(3).to_json())

    def fail(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left on device"):
        write_checkpoint(path, a_checkpoint(4).to_json())
    monkeypatch.undo()
    found = read_checkpoint(path)
    assert found is not None
    assert found.tally.counters["postward_log_lines_total"] == {("event",): 3}
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.json"]


def test_a_disk_that_is_full_amidst_the_write(tmp_path: Path) -> None:
    """The part that could be written is taken away again."""
    path = tmp_path / "checkpoint.json"
    write_checkpoint(path, a_checkpoint(3).to_json())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_checkpoint(path, a_checkpoint(4).to_json())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    found = read_checkpoint(path)
    assert found is not None
    assert found.tally.counters["postward_log_lines_total"] == {("event",): 3}
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.json"]


def test_a_left_over_of_a_crash_is_no_hindrance(tmp_path: Path) -> None:
    """A kill -9 amidst a write leaves the former checkpoint and a file that the next write replaces."""
    path = tmp_path / "checkpoint.json"
    write_checkpoint(path, a_checkpoint(3).to_json())
    (tmp_path / ".checkpoint.json.postward").write_bytes(b'{"version":1,"sha')
    assert read_checkpoint(path) is not None
    write_checkpoint(path, a_checkpoint(4).to_json())
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.json"]


def test_two_writers_at_once(tmp_path: Path) -> None:
    """One that was left behind in its thread, and the last one of all: never a mixture."""
    path = tmp_path / "checkpoint.json"
    contents = [a_checkpoint(number).to_json() for number in range(20)]
    threads = [threading.Thread(target=write_checkpoint, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.json"]


def test_only_the_agent_and_its_group_may_read_it(tmp_path: Path) -> None:
    """It says how much mail goes where."""
    path = tmp_path / "checkpoint.json"
    write_checkpoint(path, a_checkpoint().to_json())
    assert path.stat().st_mode & 0o777 == 0o640

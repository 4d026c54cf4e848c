"""The checkpoint: it reads back as written; any other content neither crashes the agent nor is lost."""

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from postward.agent.checkpoint import (
    VERSION,
    Checkpoint,
    CheckpointError,
    CheckpointWriter,
    parse_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from postward.agent.logs.discover import open_source
from postward.agent.logs.segment import FilePosition
from postward.agent.metrics.collector import PostwardCollector
from postward.agent.metrics.exemplars import Exemplars
from postward.agent.metrics.tally import Tally
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.product import AgentProcess, write_settings
from tests.support.require import demand

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"


def a_checkpoint(lines: int = 3) -> Checkpoint:
    """Return a checkpoint with every kind of value."""
    tally = Tally()
    tally.add("postward_log_lines_total", ("event",), lines)
    tally.latest("postfix_delivery_last_success_timestamp_seconds", ("demo",), 1717236000.25)
    tally.observe("postfix_delivery_delay_seconds", ("demo",), 0.1)
    log_positions = [
        FilePosition(1, 2, 10, "ab", 4096, 5, "cd", done=True),
        FilePosition(1, 3, 20, "ef", 77, copied=True),
    ]
    positions = {
        "/var/log/mail.log": [position.as_json() for position in log_positions],
        "journal": "s=ab;i=1",
        "-": None,
    }
    return Checkpoint(positions, tally, {"other": [1, "x"]})


def test_a_checkpoint_reads_back_as_written(tmp_path: Path) -> None:
    """Positions and counts are equal to the last digit."""
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


def test_root_leaves_the_file_to_the_owner_of_its_folder(tmp_path: Path) -> None:
    """`postward run` by hand must not lock the service out."""
    demand(None if os.geteuid() == 0 else "only root can write for another user")
    os.chown(tmp_path, 65534, 65534)
    path = tmp_path / "checkpoint.json"
    write_checkpoint(path, a_checkpoint().to_json())
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_an_unknown_position_is_not_the_beginning() -> None:
    """None (the source could not be read) and empty (read from the beginning) stay distinct."""
    positions: dict[str, list[Any] | None] = {"log": None, "other": []}
    assert parse_checkpoint(Checkpoint(positions, Tally()).to_json()).positions == positions


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    """The result is None, not an error."""
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
        b'{"version":%d}' % VERSION,
        b'{"version":%d,"sha256":7}' % VERSION,
        b"[" * 100_000,
        a_checkpoint().to_json()[:-1],
        a_checkpoint().to_json() + b"x",
        a_checkpoint().to_json().replace(b"4096", b"4097"),
        a_checkpoint().to_json().replace(b'"offset"', b'"offest"'),
    ],
)
def test_a_damaged_checkpoint_is_moved_aside(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Counting starts at zero, the damaged file is kept, and the log says so."""
    path = tmp_path / "checkpoint.json"
    path.write_bytes(content)
    assert read_checkpoint(path) is None
    assert not path.exists()
    assert (tmp_path / "checkpoint.damaged").read_bytes() == content
    assert "moved aside as checkpoint.damaged; counting starts at zero" in caplog.text


@settings(deadline=None)  # the machine may be busy
@given(st.data())
def test_any_flipped_byte_is_noticed(data: st.DataObject) -> None:
    """A single changed byte is rejected, or it changes no value."""
    content = bytearray(a_checkpoint().to_json())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    try:
        found = parse_checkpoint(bytes(content))
    except (ValueError, CheckpointError):
        return
    assert found.to_json() == a_checkpoint().to_json()


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (VERSION + 1, "start the Postward that wrote it, or move the file away to start counting at zero"),
        (VERSION - 2, "and this Postward uses version"),
    ],
)
def test_another_version_is_refused_and_kept(tmp_path: Path, version: int, message: str) -> None:
    """The error names both versions, and the file stays as it is."""
    path = tmp_path / "checkpoint.json"
    content = json.dumps({"version": version, "something": "else"}).encode()
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: has version {version}, ")
    assert path.read_bytes() == content


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    """The error says what the path must be."""
    (tmp_path / "checkpoint.json").mkdir()
    with pytest.raises(CheckpointError, match="it must be readable and writable"):
        read_checkpoint(tmp_path / "checkpoint.json")


def test_a_damaged_checkpoint_that_cannot_be_moved(tmp_path: Path) -> None:
    """An error is raised and the file stays."""
    path = tmp_path / "checkpoint.json"
    path.write_bytes(b"junk")
    (tmp_path / "checkpoint.damaged").mkdir()
    with pytest.raises(CheckpointError, match="cannot be moved aside: Is a directory; move it away"):
        read_checkpoint(path)
    assert path.read_bytes() == b"junk"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_the_former_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever step fails, no partial file is left."""
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


def test_a_disk_that_fills_up_during_the_write(tmp_path: Path) -> None:
    """The partial file is removed."""
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


def test_a_temporary_file_of_a_crash_is_replaced(tmp_path: Path) -> None:
    """Kill -9 during a write leaves the former checkpoint; the next write replaces the temporary file."""
    path = tmp_path / "checkpoint.json"
    write_checkpoint(path, a_checkpoint(3).to_json())
    (tmp_path / ".checkpoint.json.postward").write_bytes(b'{"version":1,"sha')
    assert read_checkpoint(path) is not None
    write_checkpoint(path, a_checkpoint(4).to_json())
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.json"]


def test_two_writers_at_once(tmp_path: Path) -> None:
    """The file is the content of one of the writers."""
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
    """It contains mail volumes, so its mode is 0640."""
    path = tmp_path / "checkpoint.json"
    write_checkpoint(path, a_checkpoint().to_json())
    assert path.stat().st_mode & 0o777 == 0o640


def test_flush_waits_for_a_save_that_began_after_the_call(tmp_path: Path) -> None:
    """Callers that flush at the same time share one save."""
    path, tally, saves = tmp_path / "checkpoint.json", Tally(), 0
    begun = asyncio.Event()

    def checkpoint() -> Checkpoint:
        nonlocal saves
        saves += 1
        begun.set()
        return Checkpoint({}, tally)

    async def scenario() -> None:
        writer, ready = CheckpointWriter(path, tally), asyncio.Event()
        ready.set()
        writer.start(checkpoint, lambda: lambda: None, ready)
        running = asyncio.create_task(writer.run())
        async with asyncio.timeout(4):  # less than the interval
            await begun.wait()
            tally.add("postward_probes_total", ("demo", "accepted", ""))  # while the first save is under way
            await asyncio.gather(*(writer.flush() for _ in range(100)))
        running.cancel()

    asyncio.run(scenario())
    saved = read_checkpoint(path)

    assert saved is not None
    assert saved.tally.counters["postward_probes_total"] == {("demo", "accepted", ""): 1}
    assert saves == 2


def test_unchanged_content_is_not_written_again(tmp_path: Path) -> None:
    """A host at rest costs no write and no fsync; the metric still shows that the file is current."""
    path, tally, syncs = tmp_path / "checkpoint.json", Tally(), 0

    def sync() -> None:
        nonlocal syncs
        syncs += 1

    async def scenario() -> None:
        writer, ready = CheckpointWriter(path, tally), asyncio.Event()
        ready.set()
        writer.start(lambda: Checkpoint({}, tally), lambda: sync, ready)
        running = asyncio.create_task(writer.run())
        await writer.flush()
        [first] = writer.gauges()["postward_checkpoint_timestamp_seconds"].values()
        written = path.stat()
        await writer.flush()
        [second] = writer.gauges()["postward_checkpoint_timestamp_seconds"].values()
        assert second > first
        assert (path.stat().st_ino, syncs) == (written.st_ino, 1)
        tally.add("postward_probes_total", ("demo", "accepted", ""))
        await writer.flush()
        assert syncs == 2
        running.cancel()

    asyncio.run(scenario())


def test_a_probe_that_was_sent_just_before_a_crash_is_counted(tmp_path: Path) -> None:
    """Both runs count their probe, although the first was killed as soon as the relay had received it."""
    require_postfix()
    tmp_path.chmod(0o755)
    with (
        Relay(CA(), users={USER: PASSWORD}) as relay,
        PostfixInstance(
            tmp_path / "postfix",
            {"relayhost": f"[127.0.0.1]:{relay.port}", "smtp_tls_security_level": "encrypt"},
        ) as postfix,
    ):
        relay.auth_required = False
        agent = AgentProcess(write_settings(tmp_path, relay, postfix, password=PASSWORD))
        agent.launch()
        wait_for(lambda: relay.messages, what="a probe at the relay")
        agent.stop(signal.SIGKILL)
        with agent:
            wait_for(
                lambda: agent.value("postward_probes_total", outcome="accepted") == 2, what="two outcomes"
            )


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in _places(child, (*path, key)))]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), other=_VALUES)
def test_values_of_another_form_are_damage_not_a_fault(data: st.DataObject, other: object) -> None:
    """Any value in any place, with the right checksum: the checkpoint reads, or is damaged; what reads can be shown."""
    body = json.loads(a_checkpoint().to_json())
    del body["version"], body["sha256"]
    place = data.draw(st.sampled_from([path for path in _places(body) if path]))
    parent = body
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = other
    content = json.dumps(
        {
            "version": VERSION,
            "sha256": hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).hexdigest(),
            **body,
        }
    ).encode()
    try:
        found = parse_checkpoint(content)
    except ValueError:
        return

    registry = CollectorRegistry()
    registry.register(PostwardCollector(found.tally, dict, Exemplars()))
    assert generate_latest(registry)
    for name in ("/var/log/mail.log", "journal"):
        with contextlib.suppress(ValueError):
            open_source(name, found.positions.get(name))


def test_a_fifo_in_the_place_of_the_checkpoint_is_moved_aside(tmp_path: Path) -> None:
    """Opening it does not wait for a writer."""
    os.mkfifo(tmp_path / "checkpoint.json")

    assert read_checkpoint(tmp_path / "checkpoint.json") is None
    assert (tmp_path / "checkpoint.damaged").is_fifo()

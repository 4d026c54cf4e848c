"""The entry point of the image, without a container: how it copies Postfix's log, and what it refuses.

`tools/container` tests it with podman.
"""

import contextlib
import importlib.util
import os
import threading
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.waiting import wait_for

_FILE = Path(__file__).parents[2] / "container/entrypoint.py"


@pytest.fixture
def entrypoint() -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("entrypoint", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_longer(data: bytearray, length: int) -> bool:
    return len(data) > length


def read_all(descriptor: int) -> bytes:
    """Return all that comes from a pipe until its end."""
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_every_reader_gets_the_whole_log(entrypoint: ModuleType) -> None:
    """Lines that arrive in parts come out whole, in order, and `flush` waits until they are read."""
    (source, log), (out, to_out), (agent, to_agent) = os.pipe(), os.pipe(), os.pipe()
    tee = entrypoint.Tee(source, entrypoint.Sink("output", to_out), entrypoint.Sink("agent", to_agent))
    got: dict[int, bytes] = {}
    readers = [
        threading.Thread(target=lambda pipe=pipe: got.update({pipe: read_all(pipe)})) for pipe in (out, agent)
    ]
    for reader in readers:
        reader.start()
    lines = b"".join(b"line %d of the log\n" % number for number in range(20_000))
    with os.fdopen(log, "wb", buffering=0) as postfix:
        for start in range(0, len(lines), 1013):
            postfix.write(lines[start : start + 1013])
    tee.flush(30)
    assert all(sink.is_read() for sink in tee._sinks)
    for descriptor in (to_out, to_agent):
        os.close(descriptor)
    for reader in readers:
        reader.join(10)
    assert got == {out: lines, agent: lines}


def test_a_reader_that_has_stopped_holds_nothing_up(
    entrypoint: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other one gets all lines, memory is bounded, and the number of dropped lines is logged."""
    monkeypatch.setattr(entrypoint, "MAX_WAITING", 1 << 16)
    (source, log), (stopped, to_stopped), (out, to_out) = os.pipe(), os.pipe(), os.pipe()
    sink = entrypoint.Sink("the agent", to_stopped)
    entrypoint.Tee(source, sink, entrypoint.Sink("output", to_out))
    lines = b"a line of the log\n" * 20_000
    got = bytearray()

    def read() -> None:
        while len(got) < len(lines):
            got.extend(os.read(out, 1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(log, "wb", buffering=0) as postfix:
        for start in range(0, len(lines), 1800):
            postfix.write(lines[start : start + 1800])
            wait_for(partial(_is_longer, got, start), what="the other reader")
    reader.join(20)
    assert bytes(got) == lines
    assert sink._bytes <= 1 << 16
    kept = bytearray()
    os.set_blocking(stopped, False)
    while not sink.is_read():
        with contextlib.suppress(BlockingIOError):
            kept.extend(os.read(stopped, 1 << 16))
    os.set_blocking(stopped, True)
    sink.put(b"the next line\n")
    wait_for(lambda: "lines of Postfix's log are missing" in capsys.readouterr().err, what="the message")
    kept.extend(os.read(stopped, 1 << 16))
    assert kept.replace(b"a line of the log\n", b"") == b"the next line\n"
    for descriptor in (stopped, out):
        os.close(descriptor)


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("-", "/dev/stdout"),
        ("auto", "/dev/stdout"),
        ("/var/log/postfix/mail.log", "/var/log/postfix/mail.log"),
        ("journal", None),
        (["/a.log", "/b.log"], None),
    ],
)
def test_the_settings_say_where_the_log_goes(
    entrypoint: ModuleType, source: object, file: str | None
) -> None:
    """A container has no journal, and Postfix writes one file."""
    assert entrypoint.log_file_of(source) == file


def test_an_agent_that_does_not_answer_is_not_healthy(
    entrypoint: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check prints why."""
    assert entrypoint.healthy(tmp_path / "agent.sock") == 1
    assert capsys.readouterr().out == f"{tmp_path}/agent.sock: No such file or directory\n"


def test_a_drain_time_that_is_not_a_number_is_refused(
    entrypoint: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused at the start, not when the container is to end."""
    monkeypatch.setenv("POSTWARD_DRAIN_SECONDS", "20s")
    assert entrypoint.main([]) == 78
    assert capsys.readouterr().err == (
        'container: POSTWARD_DRAIN_SECONDS: must be a number of seconds from 0 to 600, as in "20", not "20s"\n'
    )

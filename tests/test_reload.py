"""Settings that change while the agent or the enforcer runs."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from postward.agent.logs.watcher import Watcher
from postward.agent.reload import SettingsReloader, race
from postward.agent.systemd import SETTINGS_REFUSED
from postward.config.settings import Settings, load_settings
from tests.support.waiting import wait_for_async

_GOOD = """\
[host]
profile = "send-only"
myhostname = "mail.example.test"

[[relay]]
name = "demo"
host = "relay.example.test"

[probe]
interval_seconds = {seconds}
"""


def _write(path: Path, text: str) -> Path:
    """Write the file as an editor does: a new file is renamed over it."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)
    return path


async def _changed(reloader: SettingsReloader) -> Settings:
    async with asyncio.timeout(10):
        with Watcher() as watcher:
            return await reloader.changed(watcher)


def test_changed_settings_are_returned(tmp_path: Path) -> None:
    """A change of the file is enough."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        reloader = SettingsReloader(path, load_settings(path))
        task = asyncio.create_task(_changed(reloader))
        await asyncio.sleep(0)
        _write(path, _GOOD.format(seconds=6))
        assert (await task).probe.interval_seconds == 6
        assert reloader.gauges()["postward_settings_in_force"] == {(): 1.0}

    asyncio.run(run())


def test_a_change_before_watching_is_seen_at_once(tmp_path: Path) -> None:
    """The file changes between reading and watching, on the start and after a change."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        old = load_settings(path)
        _write(path, _GOOD.format(seconds=6))
        reloader = SettingsReloader(path, old)
        assert (await _changed(reloader)).probe.interval_seconds == 6
        _write(path, _GOOD.format(seconds=7))
        assert (await _changed(reloader)).probe.interval_seconds == 7

    asyncio.run(run())


def test_bad_settings_leave_the_former_ones_in_force(tmp_path: Path) -> None:
    """The problem is kept; good settings are returned later."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        old = load_settings(path)
        reloader = SettingsReloader(path, old)
        task = asyncio.create_task(_changed(reloader))
        await asyncio.sleep(0)
        _write(path, _GOOD.format(seconds='"often"'))
        problem = await wait_for_async(lambda: reloader.problem, what="the problem")
        assert problem is not None
        assert "probe.interval_seconds" in problem
        assert reloader.settings == old
        assert reloader.gauges()["postward_settings_in_force"] == {(): 0.0}
        assert not task.done()
        _write(path, _GOOD.format(seconds=7))
        assert (await task).probe.interval_seconds == 7
        assert reloader.problem is None

    asyncio.run(run())


def test_sighup_re_reads_and_equal_settings_are_not_returned(tmp_path: Path) -> None:
    """The file is read, `also` is called, and nothing is returned until the settings differ."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        reloader = SettingsReloader(path, load_settings(path))
        called = asyncio.Event()
        reloader.listen(called.set)
        task = asyncio.create_task(_changed(reloader))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(called.wait(), 10)
        assert not task.done()
        path.write_text(_GOOD.format(seconds=8))
        os.kill(os.getpid(), signal.SIGHUP)
        assert (await task).probe.interval_seconds == 8

    asyncio.run(run())


def test_refused_settings_are_not_tried_again(tmp_path: Path) -> None:
    """They stay refused until the file changes."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        old = load_settings(path)
        reloader = SettingsReloader(path, old)
        _write(path, _GOOD.format(seconds=9))
        refused = load_settings(path)
        reloader.refuse(refused, old, "web.listen: the port is taken")
        reloader.listen()
        task = asyncio.create_task(_changed(reloader))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        _write(path, _GOOD.format(seconds=10))
        assert (await task).probe.interval_seconds == 10
        assert reloader.problem is None

    asyncio.run(run())


def test_a_request_to_reload_is_answered_with_the_problem(tmp_path: Path) -> None:
    """Bad settings: the problem. Good ones: None, and they are returned by `changed`."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        reloader = SettingsReloader(path, load_settings(path))
        task = asyncio.create_task(_changed(reloader))
        _write(path, _GOOD.format(seconds='"often"'))
        assert "probe.interval_seconds" in (await reloader.reload() or "")
        _write(path, _GOOD.format(seconds=7))
        assert await reloader.reload() is None
        assert (await task).probe.interval_seconds == 7

    asyncio.run(run())


def test_the_status_of_refused_settings_is_the_one_that_doctor_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`systemctl status` shows the token that `postward doctor` looks for, and drops it with good settings."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))
    address = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(5)

        async def run() -> None:
            reloader = SettingsReloader(path, load_settings(path))
            _write(path, _GOOD.format(seconds='"often"'))
            await reloader.reload()
            assert SETTINGS_REFUSED in systemd.recv(4096).decode()
            _write(path, _GOOD.format(seconds=5))
            await reloader.reload()
            assert SETTINGS_REFUSED not in systemd.recv(4096).decode()

        asyncio.run(run())


def test_race_cancels_the_others() -> None:
    """It returns the first result, after the others have ended."""

    async def run() -> None:
        ended = asyncio.Event()

        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def quick() -> str:
            return "quick"

        assert await race(slow(), quick()) == "quick"
        assert ended.is_set()

    asyncio.run(run())


def test_a_changed_fragment_is_a_change(tmp_path: Path) -> None:
    """A fragment that is added, changed or removed comes into force like a change of the file."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))
    fragment = tmp_path / "postward.toml.d" / "10-fleet.toml"
    fragment.parent.mkdir()

    async def run() -> None:
        reloader = SettingsReloader(path, load_settings(path))
        for seconds in (6, 7):
            task = asyncio.create_task(_changed(reloader))
            await asyncio.sleep(0)
            _write(fragment, f"[probe]\ninterval_seconds = {seconds}\n")
            assert (await task).probe.interval_seconds == seconds
        task = asyncio.create_task(_changed(reloader))
        await asyncio.sleep(0)
        fragment.unlink()
        assert (await task).probe.interval_seconds == 5

    asyncio.run(run())

"""Settings that change while something runs."""

import asyncio
import os
import signal
from pathlib import Path

from postward.agent.logs.watcher import Watcher
from postward.agent.reload import SettingsReloader, race
from postward.config.settings import Settings, load_settings
from tests.support.waiting import wait_for_async

_GOOD = """\
[host]
myhostname = "mail.example.test"

[[relay]]
name = "demo"
host = "relay.example.test"

[probe]
interval_seconds = {seconds}
"""


def _write(path: Path, text: str) -> Path:
    """As an editor does: another file in its place."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)
    return path


async def _changed(reloading: SettingsReloader) -> Settings:
    async with asyncio.timeout(10):
        with Watcher() as watcher:
            return await reloading.changed(watcher)


def test_other_settings_are_handed_out(tmp_path: Path) -> None:
    """By the change of the file alone."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        reloading = SettingsReloader(path, load_settings(path))
        task = asyncio.create_task(_changed(reloading))
        await asyncio.sleep(0)
        _write(path, _GOOD.format(seconds=6))
        assert (await task).probe.interval_seconds == 6
        assert reloading.gauges()["postward_settings_in_force"] == {(): 1.0}

    asyncio.run(run())


def test_a_change_that_nobody_watched_is_seen_at_once(tmp_path: Path) -> None:
    """The file changes while the agent is put together: after it was read, and again after other settings were handed out."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        old = load_settings(path)
        _write(path, _GOOD.format(seconds=6))
        reloading = SettingsReloader(path, old)
        assert (await _changed(reloading)).probe.interval_seconds == 6
        _write(path, _GOOD.format(seconds=7))
        assert (await _changed(reloading)).probe.interval_seconds == 7

    asyncio.run(run())


def test_bad_settings_leave_the_old_ones(tmp_path: Path) -> None:
    """And say why; good ones come through afterwards."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        old = load_settings(path)
        reloading = SettingsReloader(path, old)
        task = asyncio.create_task(_changed(reloading))
        await asyncio.sleep(0)
        _write(path, _GOOD.format(seconds='"often"'))
        problem = await wait_for_async(lambda: reloading.problem, what="the problem")
        assert problem is not None
        assert "probe.interval_seconds" in problem
        assert reloading.settings == old
        assert reloading.gauges()["postward_settings_in_force"] == {(): 0.0}
        assert not task.done()
        _write(path, _GOOD.format(seconds=7))
        assert (await task).probe.interval_seconds == 7
        assert reloading.problem is None

    asyncio.run(run())


def test_sighup_looks_at_once_and_the_same_settings_are_no_change(tmp_path: Path) -> None:
    """The file is read again, `then` is called, and nothing is handed out."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        reloading = SettingsReloader(path, load_settings(path))
        called = asyncio.Event()
        reloading.listen(called.set)
        task = asyncio.create_task(_changed(reloading))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(called.wait(), 10)
        assert not task.done()
        path.write_text(_GOOD.format(seconds=8))
        os.kill(os.getpid(), signal.SIGHUP)
        assert (await task).probe.interval_seconds == 8

    asyncio.run(run())


def test_settings_that_cannot_be_put_into_force_are_not_tried_again(tmp_path: Path) -> None:
    """They stay refused until the file changes."""
    path = _write(tmp_path / "postward.toml", _GOOD.format(seconds=5))

    async def run() -> None:
        old = load_settings(path)
        reloading = SettingsReloader(path, old)
        _write(path, _GOOD.format(seconds=9))
        refused = load_settings(path)
        reloading.refuse(refused, old, "web.listen: the port is taken")
        reloading.listen()
        task = asyncio.create_task(_changed(reloading))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        _write(path, _GOOD.format(seconds=10))
        assert (await task).probe.interval_seconds == 10
        assert reloading.problem is None

    asyncio.run(run())


def test_first_of_gives_the_others_up() -> None:
    """The result of what came first; the rest is cancelled."""

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

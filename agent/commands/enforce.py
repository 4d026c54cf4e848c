"""`postward enforce`: the enforcer without the agent, for each instance of Postfix that the settings name."""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from postward.agent.commands.common import exit_on_error, load, require_root, settings_option
from postward.agent.commands.exit_status import FAILED
from postward.agent.commands.log_output import log_options
from postward.agent.enforce.confirm import decide
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.loop import EnforceLoop, confirm, converge, feed_watchdog
from postward.agent.instances import Instances
from postward.agent.logs.discover import NoLogError
from postward.agent.logs.watcher import Watcher
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.probe.message import KeyFileError
from postward.agent.probe.once import probe_once
from postward.agent.reload import SettingsReloader, race
from postward.agent.systemd import notify
from postward.config.instances import load_instances
from postward.config.settings import Settings

_FIRST_RETRY = 60.0  # seconds until settings that no probe has confirmed are probed again; doubled each time
_MAX_RETRY = 3600.0  # seconds

_log = logging.getLogger("postward.enforce")


@click.command("enforce")
@settings_option
@click.option("--once", is_flag=True, help="Repair drift once, then exit.")
@log_options
def command(settings_file: Path, once: bool) -> None:
    """Keep Postfix's configuration equal to the settings, which are reloaded when their file changes."""
    require_root()
    with exit_on_error():
        settings = load(settings_file)
        if not once:
            asyncio.run(_enforce(settings, settings_file))
            return
        every = [settings, *load_instances(settings_file, settings).values()]
        in_sync = [asyncio.run(_once(each)) for each in every]
    sys.exit(0 if all(in_sync) else FAILED)


async def _once(settings: Settings) -> bool:
    enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
    await _Confirmation(settings, enforcer).request(await converge(enforcer))
    return bool(enforcer.state.in_sync)


async def _enforce(settings: Settings, settings_file: Path) -> None:
    """Run an enforcer for the main settings, and one for each further instance that they name."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reloader = SettingsReloader(settings_file, settings)
    reloader.listen()
    loops: dict[Path | None, EnforceLoop] = {}

    async def run_instance(
        reloader: SettingsReloader, stop: asyncio.Event, begun: Callable[[], None]
    ) -> None:
        await _run(reloader, stop, begun, loops)

    instances = Instances(reloader, run_instance)
    notify("READY=1")
    try:
        await race(_run(reloader, stop, instances.update, loops), feed_watchdog(loops))
    finally:
        await instances.close()


async def _run(
    reloader: SettingsReloader,
    stop: asyncio.Event,
    begun: Callable[[], None],
    loops: dict[Path | None, EnforceLoop],
) -> None:
    """Run one enforcer after the other, each with other settings, until `stop`. `begun` is called when one begins."""
    settings = reloader.settings
    while True:
        enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
        with Watcher() as watcher:
            loop = EnforceLoop(settings, enforcer, watcher, _Confirmation(settings, enforcer).request)
            loops[reloader.path] = loop
            begun()
            try:
                changed = await race(stop.wait(), reloader.changed(watcher), loop.run())
            finally:
                del loops[reloader.path]
        if not isinstance(changed, Settings):
            return
        settings = changed


class _Confirmation:
    """Probes the configuration in force until a probe is conclusive, with exponential back-off."""

    def __init__(self, settings: Settings, enforcer: Enforcer) -> None:
        self._settings = settings
        self._enforcer = enforcer
        self._pause = _FIRST_RETRY
        self._next = 0.0  # monotonic

    async def request(self, new: bool) -> None:
        """Send a probe if the configuration waits for one and it is `new`, or the pause since the last probe is over."""
        if not self._settings.sends_probes or not self._enforcer.pending_confirmation:
            return
        if not new and time.monotonic() < self._next:
            return
        self._pause = _FIRST_RETRY if new else min(2 * self._pause, _MAX_RETRY)
        try:
            result = await probe_once(self._settings)
            await confirm(self._enforcer, result, lambda applied_at: decide(applied_at, [result]))
        except (NoLogError, KeyFileError, PostfixError, OSError) as error:
            _log.error("new settings cannot be confirmed by a probe: %s", error)
        self._next = time.monotonic() + self._pause

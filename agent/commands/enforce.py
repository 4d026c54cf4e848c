"""`postward enforce`: the enforcer without the agent."""

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

import click

from postward.agent.commands.common import exit_on_error, load, require_root, settings_option
from postward.agent.commands.exit_status import FAILED
from postward.agent.commands.log_output import log_options
from postward.agent.enforce.confirm import decide
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.enforce.loop import EnforceLoop, confirm, converge, feed_watchdog
from postward.agent.logs.discover import NoLogError
from postward.agent.logs.watcher import Watcher
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.probe.message import KeyFileError
from postward.agent.probe.once import probe_once
from postward.agent.reload import SettingsReloader, race
from postward.agent.systemd import notify
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
        in_sync = asyncio.run(_once(settings))
    sys.exit(0 if in_sync else FAILED)


async def _once(settings: Settings) -> bool:
    enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
    await _Confirmation(settings, enforcer).request(await converge(enforcer))
    return bool(enforcer.state.in_sync)


async def _enforce(settings: Settings, settings_file: Path) -> None:
    """Run one enforcer after the other, each with other settings."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reloading = SettingsReloader(settings_file, settings)
    reloading.listen()
    notify("READY=1")
    while True:
        enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
        with Watcher() as watcher:
            loop = EnforceLoop(settings, enforcer, watcher, _Confirmation(settings, enforcer).request)
            changed = await race(stop.wait(), reloading.changed(watcher), loop.run(), feed_watchdog(loop))
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

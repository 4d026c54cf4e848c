"""`postward enforce`: the enforcer on its own."""

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

import click

from postward.agent.commands.common import (
    FAILED,
    exit_on_error,
    load,
    log_to_stderr,
    require_root,
    settings_option,
)
from postward.agent.enforce.enforcer import Enforcer, is_config_file
from postward.agent.logs.discover import NoLogError
from postward.agent.logs.watcher import Watcher, wake_up
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.probe.message import KeyFileError
from postward.agent.probe.once import probe_once
from postward.agent.reload import SettingsReloader, race
from postward.agent.systemd import notify
from postward.config.settings import Settings

_PROOF_AGAIN = 60.0  # seconds to the next probe of what none has confirmed yet; then twice as long
_LONGEST_PAUSE = 3600.0  # seconds

_log = logging.getLogger("postward.enforce")


@click.command("enforce")
@settings_option
@click.option("--once", is_flag=True, help="Look and put right once, then end.")
def command(settings_file: Path, once: bool) -> None:
    """Keep Postfix's configuration what the settings say; other settings are taken on when their file changes."""
    log_to_stderr()
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
    if await _converge(enforcer) or enforcer.pending_confirmation:
        await _prove(settings, enforcer)
    return bool(enforcer.state.in_sync)


async def _enforce(settings: Settings, settings_file: Path) -> None:
    """One enforcer after the other, each with other settings."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reloading = SettingsReloader(settings_file, settings)
    reloading.listen()
    notify("READY=1")
    while True:
        enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
        with Watcher() as watcher:
            changed = await race(stop.wait(), reloading.changed(watcher), _keep(settings, enforcer, watcher))
        if not isinstance(changed, Settings):
            return
        settings = changed


async def _keep(settings: Settings, enforcer: Enforcer, watcher: Watcher) -> None:
    """Look again and again, at once when something changes in Postfix's folder or among the passwords."""
    wake = watcher.watch(Path(settings.postfix.config_directory), is_config_file)
    for folder in {Path(relay.password_file).parent for relay in settings.relay if relay.password_file}:
        names = {Path(relay.password_file).name for relay in settings.relay if relay.password_file}
        watcher.watch(folder, names.__contains__, wake)
    proof_at, pause = 0.0, _PROOF_AGAIN
    try:
        while True:
            new = await _converge(enforcer)
            if enforcer.pending_confirmation and (new or time.monotonic() >= proof_at):
                pause = _PROOF_AGAIN if new else min(2 * pause, _LONGEST_PAUSE)
                await _prove(settings, enforcer)
                proof_at = time.monotonic() + pause
            await wake_up(wake, settings.enforce.interval_seconds)
            await asyncio.sleep(enforcer.pause)
    finally:
        enforcer.retire()


async def _converge(enforcer: Enforcer) -> bool:
    # A change that has begun is not left half-way, whatever else happens.
    return await asyncio.shield(asyncio.to_thread(enforcer.converge))


async def _prove(settings: Settings, enforcer: Enforcer) -> None:
    """Let a probe say whether what is in force works. Where none can be sent, it stays pending_confirmation."""
    if not settings.probe.recipient:
        return
    applied_at = enforcer.applied_at
    try:
        result = await probe_once(settings)
    except (NoLogError, KeyFileError, PostfixError, OSError) as error:
        _log.error("new settings cannot be confirmed by a probe: %s", error)
        return
    await asyncio.to_thread(
        enforcer.confirm, accepted=result.accepted, reason=result.reason, applied_at=applied_at
    )

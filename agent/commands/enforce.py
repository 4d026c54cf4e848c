"""`postward enforce`: the enforcer on its own."""

import asyncio
import signal
import sys
from pathlib import Path

import click

from agent.commands.common import FAILED, load, log_to_stderr, need_root, settings_option, told
from agent.enforcing.enforcer import Enforcer
from agent.notify import notify
from agent.postfix import Postfix
from agent.probing.one_probe import one_probe
from agent.reloading import Reloading, first_of
from agent.source.find import NoLogError
from agent.source.watch import Watcher, wake_up
from config.settings import Settings


@click.command("enforce")
@settings_option
@click.option("--once", is_flag=True, help="Look and put right once, then end.")
def command(settings_file: Path, once: bool) -> None:
    """Keep Postfix's configuration what the settings say; other settings are taken on when their file changes."""
    log_to_stderr()
    need_root()
    with told():
        settings = load(settings_file)
        if not once:
            asyncio.run(_enforce(settings, settings_file))
            return
        in_sync = asyncio.run(_once(settings))
    sys.exit(0 if in_sync else FAILED)


async def _once(settings: Settings) -> bool:
    enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
    await _converge(settings, enforcer)
    return bool(enforcer.state.in_sync)


async def _enforce(settings: Settings, settings_file: Path) -> None:
    """One enforcer after the other, each with other settings."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reloading = Reloading(settings_file, settings)
    reloading.listen()
    notify("READY=1")
    while True:
        enforcer = Enforcer(settings, Postfix(Path(settings.postfix.config_directory)))
        with Watcher() as watcher:
            changed = await first_of(
                stop.wait(), reloading.changed(watcher), _keep(settings, enforcer, watcher)
            )
        if not isinstance(changed, Settings):
            return
        settings = changed


async def _keep(settings: Settings, enforcer: Enforcer, watcher: Watcher) -> None:
    """Look again and again, at once when something changes in Postfix's folder or among the passwords."""
    wake = watcher.watch(Path(settings.postfix.config_directory), lambda name: not name.startswith("."))
    for folder in {Path(relay.password_file).parent for relay in settings.relay if relay.password_file}:
        names = {Path(relay.password_file).name for relay in settings.relay if relay.password_file}
        watcher.watch(folder, names.__contains__, wake)
    while True:
        await _converge(settings, enforcer)
        await wake_up(wake, settings.enforce.interval_seconds)


async def _converge(settings: Settings, enforcer: Enforcer) -> None:
    # A change that has begun is not left half-way, whatever else happens.
    new = await asyncio.shield(asyncio.to_thread(enforcer.converge))
    if new and enforcer.unconfirmed and settings.probe.recipient:
        try:
            result = await one_probe(settings)
        except NoLogError:
            return  # nobody can tell what becomes of a probe; the settings stay unconfirmed
        reason = f"probe {result.outcome} at step {result.step}: {result.words}"
        await asyncio.to_thread(enforcer.confirm, accepted=result.accepted, reason=reason)

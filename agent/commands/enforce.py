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
from agent.source.watch import Watcher, wake_up
from config.settings import Settings


@click.command("enforce")
@settings_option
@click.option("--once", is_flag=True, help="Look and put right once, then end.")
def command(settings_file: Path, once: bool) -> None:
    """Keep Postfix's configuration what the settings say."""
    log_to_stderr()
    need_root()
    with told():
        settings = load(settings_file)
        in_sync = asyncio.run(_enforce(settings, once=once))
    sys.exit(0 if in_sync else FAILED)


async def _enforce(settings: Settings, *, once: bool) -> bool:
    postfix = Postfix(Path(settings.postfix.config_directory))
    enforcer = Enforcer(settings, postfix)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with Watcher() as watcher:
        wake = watcher.watch(postfix.config_directory, lambda name: not name.startswith("."))
        notify("READY=1")
        while not stop.is_set():
            await _converge(settings, enforcer)
            if once:
                break
            await _either(wake, stop, settings.enforce.interval_seconds)
    return bool(enforcer.state.in_sync)


async def _converge(settings: Settings, enforcer: Enforcer) -> None:
    if await asyncio.to_thread(enforcer.converge) and enforcer.unconfirmed and settings.probe.recipient:
        result = await one_probe(settings)
        reason = f"probe {result.outcome} at step {result.step}: {result.words}"
        await asyncio.to_thread(enforcer.confirm, accepted=result.accepted, reason=reason)


async def _either(wake: asyncio.Event, stop: asyncio.Event, seconds: float) -> None:
    """Wait for a change, for the interval to pass, or for the end."""
    waits = [asyncio.create_task(wake_up(wake, seconds)), asyncio.create_task(stop.wait())]
    _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()

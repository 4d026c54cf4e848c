"""`postward token`: the service that fetches and renews the tokens of relays with `[relay.oauth2]`."""

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

import click

from postward.agent.commands.common import exit_on_error, fail, load, settings_option
from postward.agent.commands.exit_status import FAILED
from postward.agent.commands.log_output import log_options
from postward.agent.logs.watcher import Watcher
from postward.agent.oauth2.keeper import OutdatedSecretError, TokenKeeper, relays_with_tokens, renew
from postward.agent.oauth2.store import TokenStore
from postward.agent.reload import SettingsReloader, race
from postward.agent.systemd import notify
from postward.config.settings import Settings

_log = logging.getLogger("postward.token")


@click.command("token")
@settings_option
@click.option("--once", is_flag=True, help="Renew each token whose time has come, then exit.")
@log_options
def command(settings_file: Path, once: bool) -> None:
    """Keep the tokens of relays with [relay.oauth2] fresh. Ends if no relay has it."""
    with exit_on_error():
        settings = load(settings_file)
        try:
            if not once:
                asyncio.run(_keep(settings, settings_file))
                return
            problems = _once(settings)
        except OutdatedSecretError:
            fail("a secret is newer than this service: starting again, so that systemd passes it")
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(FAILED if problems else 0)


def _once(settings: Settings) -> list[str]:
    """Return the problems."""
    relays = relays_with_tokens(settings)
    states = [renew(relay, TokenStore(relay), time.time(), 1.0) for relay in relays]
    pairs = zip(relays, states, strict=True)
    return [f"relay {relay.name}: {state.problem}" for relay, state in pairs if state.problem]


async def _keep(settings: Settings, settings_file: Path) -> None:
    """Run one keeper after the other, each with other settings."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reloader = SettingsReloader(settings_file, settings)
    reloader.listen()
    notify("READY=1")
    while relays_with_tokens(settings):
        with Watcher() as watcher:
            keeper = TokenKeeper(settings, watcher)
            changed = await race(stop.wait(), reloader.changed(watcher), keeper.run())
        if not isinstance(changed, Settings):
            return
        settings = changed
    _log.info("no relay has [relay.oauth2]: there is nothing to do")

"""The enforcing loop of `postward run --enforce` and `postward enforce`: wake up, converge, have it confirmed, pause."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from postward.agent.beat import next_beat
from postward.agent.enforce.confirm import Decision, Result
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.logs.watcher import Watcher, wake_up
from postward.agent.parts import Part
from postward.agent.systemd import Watchdog
from postward.config.settings import Settings

_MAX_CONVERGENCE = (
    300.0  # seconds; every command in it has a deadline, and the longest is a restart of Postfix
)
# Kubernetes replaces the files of a secret at once: they are links through this link, which it moves.
_OF_VOLUMES = frozenset({"..data"})
_log = logging.getLogger("postward.enforce")


class EnforceLoop(Part):
    """Converges when a file changes in Postfix's directory or a password changes, and at least each interval.

    Args:
        settings: the configuration that Postfix should have.
        enforcer: converges to it.
        watcher: reports changes of files; entered before `run`.
        request_probe: awaited after each convergence; True if its result needs confirming by a probe, and after the
            first one, which may find settings that were applied before.
    """

    def __init__(
        self,
        settings: Settings,
        enforcer: Enforcer,
        watcher: Watcher,
        request_probe: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._enforcer = enforcer
        self._watcher = watcher
        self._request_probe = request_probe
        self._began: float | None = None  # monotonic, of the convergence under way
        enforcer.interval = settings.enforce.interval_seconds

    @property
    def hangs(self) -> bool:
        """True if the convergence under way takes longer than any should."""
        return self._began is not None and time.monotonic() - self._began > _MAX_CONVERGENCE

    async def run(self) -> None:
        """Enforce until cancelled. A convergence that has begun is completed in its thread."""
        wake, is_first = self._watch(), True
        try:
            while True:
                self._began = time.monotonic()
                needs_confirming = await converge(self._enforcer)
                _log.debug("compared with the settings in %.2f s", time.monotonic() - self._began)
                self._began = None
                await self._request_probe(needs_confirming or is_first)
                is_first = False
                await wake_up(wake, self._settings.enforce.interval_seconds)
                await asyncio.sleep(self._enforcer.pause)
        finally:
            self._enforcer.retire()

    def _watch(self) -> asyncio.Event:
        wake = self._watcher.watch(Path(self._settings.postfix.config_directory), is_config_file)
        passwords = [path for relay in self._settings.relay if (path := relay.login_file)]
        for folder in {path.parent for path in passwords}:
            # Each directory once: every access to a watched directory calls all its watches.
            names = frozenset(path.name for path in passwords if path.parent == folder) | _OF_VOLUMES
            self._watcher.watch(folder, names.__contains__, wake)
        return wake


async def feed_watchdog(loops: Mapping[Any, EnforceLoop]) -> None:
    """Feed systemd's watchdog until cancelled, unless a convergence of one of the loops hangs."""
    watchdog = Watchdog()
    while True:
        if not any(loop.hangs for loop in loops.values()):
            watchdog.alive()
        await next_beat()


def is_config_file(name: str) -> bool:
    """Return True if a change of this file in Postfix's directory matters. Temporary files do not."""
    return not name.startswith(".") and not name.endswith(".tmp")


async def converge(enforcer: Enforcer) -> bool:
    """Call `Enforcer.converge` in a thread. Cancelling does not interrupt it."""
    return await asyncio.shield(asyncio.to_thread(enforcer.converge))


async def confirm(enforcer: Enforcer, result: Result, decide: Callable[[float], Decision]) -> bool:
    """Keep or roll back new settings after a probe.

    Args:
        enforcer: its configuration in force may wait for confirmation.
        result: the result of the probe.
        decide: decides about a configuration that came into force at a moment (`confirm.decide`).

    Returns:
        True if the configuration in force is now confirmed.
    """
    applied_at = enforcer.applied_at
    if not enforcer.pending_confirmation or result.submitted < applied_at:
        return False
    decision = decide(applied_at)
    # Only a probe that was not relayed gives a reason for rolling back.
    if decision is Decision.KEEP or (decision is Decision.ROLL_BACK and not result.relayed):
        await asyncio.shield(asyncio.to_thread(enforcer.confirm, decision, result.reason, applied_at))
    return decision is Decision.KEEP and not enforcer.pending_confirmation

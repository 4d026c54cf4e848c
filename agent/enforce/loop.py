"""The enforcing loop of `postward run --enforce` and `postward enforce`: wake up, converge, have it confirmed, pause."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from postward.agent.enforce.confirm import Decision, Result
from postward.agent.enforce.enforcer import Enforcer
from postward.agent.logs.watcher import Watcher, wake_up
from postward.agent.parts import Part
from postward.config.settings import Settings


class EnforceLoop(Part):
    """Converges when a file changes in Postfix's directory or a password changes, and at least each interval.

    Args:
        settings: the configuration that Postfix should have.
        enforcer: converges to it.
        watcher: reports changes of files; entered before `run`.
        request_probe: awaited after each convergence; True if its result needs confirming by a probe.
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

    async def run(self) -> None:
        """Enforce until cancelled. A convergence that has begun is completed in its thread."""
        wake = self._watch()
        try:
            while True:
                await self._request_probe(await converge(self._enforcer))
                await wake_up(wake, self._settings.enforce.interval_seconds)
                await asyncio.sleep(self._enforcer.pause)
        finally:
            self._enforcer.retire()

    def _watch(self) -> asyncio.Event:
        wake = self._watcher.watch(Path(self._settings.postfix.config_directory), is_config_file)
        passwords = [path for relay in self._settings.relay if (path := relay.login_file)]
        for folder in {path.parent for path in passwords}:
            # Each directory once: every access to a watched directory calls all its watches.
            names = frozenset(path.name for path in passwords if path.parent == folder)
            self._watcher.watch(folder, names.__contains__, wake)
        return wake


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

"""The agent's conversations with its relays: periodic, each in a task of its own, and what is told of them.

Promise: a relay that hangs delays no other; no login is tried that the guard forbids; what was last known of a
certificate is told also while the relay cannot be reached, and across restarts.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from postward.agent.metrics.tally import Gauges, Tally
from postward.agent.relay.changes import KINDS, Seen, look
from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.target import target_of
from postward.config.errors import SettingsError
from postward.config.relay import Relay
from postward.config.settings import Settings
from postward.parsers import Cause

_JITTER = 0.1
_STAGGER = 0.05  # seconds between the first conversations of two relays
_log = logging.getLogger("postward.relay")


class RelayMonitor:
    """Talks to all relays of the settings.

    Args:
        settings: the relays, and how often.
        tally: where changes are counted.
        guard: of the logins.
        written: awaited when changes were counted: a crash must not forget them.
    """

    def __init__(
        self, settings: Settings, tally: Tally, guard: LoginThrottle, written: Callable[[], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._written = written
        self._tally = tally
        self._guard = guard
        self._seen = {relay.name: Seen() for relay in settings.relay}
        self._last: dict[str, tuple[float, RelayCheck]] = {}
        self._auth: dict[str, bool] = {}
        if settings.probe.relay_check_interval_seconds:
            for relay in settings.relay:
                for kind in KINDS:
                    tally.add("postward_relay_changes_total", (relay.name, kind), 0)

    async def run(self) -> None:
        """Talk until cancelled."""
        interval = self._settings.probe.relay_check_interval_seconds
        if interval:
            async with asyncio.TaskGroup() as group:
                for number, relay in enumerate(self._settings.relay):
                    group.create_task(self._watch(relay, number * _STAGGER, interval))

    async def _watch(self, relay: Relay, head_start: float, interval: int) -> None:
        await asyncio.sleep(head_start)
        while True:
            await self.check(relay)
            await asyncio.sleep(interval * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - no secret

    async def check(self, relay: Relay) -> RelayCheck:
        """Talk to a relay once, and take in what that shows."""
        check = await guarded_check(relay, self._settings, self._guard)
        if self.take(check, time.time()):
            await self._written()
        return check

    def take(self, check: RelayCheck, now: float) -> bool:
        """Take in what a conversation showed. True if something has changed."""
        before = self._last.get(check.relay)
        self._last[check.relay] = now, check
        if check.auth != "untried":
            self._auth[check.relay] = check.auth == "accepted"
        changes = look(self._seen[check.relay], check, now)
        for change in changes:
            self._tally.add("postward_relay_changes_total", (change.relay, change.kind))
            level = logging.WARNING if change.alarm else logging.INFO
            _log.log(level, "relay %s: %s: %s", change.relay, change.kind, change.words)
        if before is None or (before[1].step, before[1].cause) != (check.step, check.cause):
            _log.log(
                logging.INFO if check.ok else logging.ERROR,
                "relay %s: %s",
                check.relay,
                "the conversation went through"
                if check.ok
                else f"stopped at {check.step}: {check.cause}: {check.words}",
            )
        return bool(changes)

    def gauges(self) -> Gauges:
        """What /metrics shows of the last conversations."""
        last = {name: check for name, (_, check) in self._last.items()}
        return {
            "postward_relay_reachable": {(name,): float(check.reachable) for name, check in last.items()},
            "postward_relay_auth_accepted": {(name,): float(ok) for name, ok in self._auth.items()},
            "postward_relay_check_timestamp_seconds": {(name,): at for name, (at, _) in self._last.items()},
            "postward_relay_step_duration_seconds": {
                (name, step.name): step.seconds for name, check in last.items() for step in check.steps
            },
            "postward_relay_starttls_offered": {
                (name,): float(seen.starttls)
                for name, seen in self._seen.items()
                if seen.starttls is not None
            },
            "postward_relay_certificate_valid": {
                (name,): float(seen.problem is None)
                for name, seen in self._seen.items()
                if seen.fingerprint is not None
            },
            "postward_relay_certificate_expiry_timestamp_seconds": {
                (name,): seen.not_after for name, seen in self._seen.items() if seen.not_after is not None
            },
        }

    def as_json(self) -> dict[str, Any]:
        """What is remembered."""
        return {name: seen.as_json() for name, seen in self._seen.items()}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Take what `as_json` made, of relays that still are in the settings."""
        for name in self._seen.keys() & data.keys():
            try:
                self._seen[name] = Seen.from_json(data[name])
            except (TypeError, ValueError):
                continue


async def guarded_check(relay: Relay, settings: Settings, guard: LoginThrottle | None) -> RelayCheck:
    """Talk to a relay, with a login only if there is a password at hand and the guard (if any) lets us try.

    A login that was refused and may not be tried again yet is still refused, as far as anybody knows.
    """
    password, why = await asyncio.to_thread(_password, relay)
    held = password is not None and guard is not None and not guard.begin(relay.name)
    accepted: bool | None = None
    try:
        target = target_of(
            relay, settings.host.myhostname, settings.host.inet_protocols, None if held else password
        )
        check = await check_relay(target)
        accepted = {"accepted": True, "rejected": False}.get(check.auth)
    finally:
        if password is not None and guard is not None and not held:
            guard.end(relay.name, accepted=accepted)
    if held and guard is not None and check.ok:
        again = time.strftime("%H:%M", time.localtime(guard.try_again_at(relay.name)))
        check.auth_words = f"refused before; tried again after {again}, or with other settings"
        check.step, check.cause, check.words = "auth", Cause.AUTH_REJECTED, check.auth_words
    elif password is None and check.ok:
        check.auth_words = why
    return check


def _password(relay: Relay) -> tuple[str | None, str]:
    if not relay.username:
        return None, "no login"
    try:
        return relay.read_password(), ""
    except SettingsError:
        return None, "the password is not for this user to read"

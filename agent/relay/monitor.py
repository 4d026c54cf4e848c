"""Checks each relay periodically, and exports and reports what the checks show.

Promise: a relay that hangs delays no other. No login is attempted that the throttle forbids. The last known certificate
is exported also while the relay cannot be reached, and across restarts.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from postward.agent.metrics.tally import Tally
from postward.agent.parts import Gauges, Labels, Part
from postward.agent.relay.changes import KINDS, RelaySnapshot, update
from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import login_endpoint, read_client
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.x509 import der_of, parse_certificate
from postward.config.errors import SettingsError
from postward.config.providers import provider_of
from postward.config.relay import Relay
from postward.config.settings import Settings
from postward.parsers import Cause

_JITTER = 0.1  # of the interval, in both directions
_STAGGER = 0.05  # seconds between the first checks of two relays
_log = logging.getLogger("postward.relay")


class RelayMonitor(Part):
    """Checks all relays of the settings every `probe.relay_check_interval_seconds`; 0: never.

    Args:
        settings: the relays and the interval.
        tally: where changes are counted.
        throttle: limits logins.
        flush: saves the checkpoint; awaited after changes were counted.
    """

    name = "relays"

    def __init__(
        self, settings: Settings, tally: Tally, throttle: LoginThrottle, flush: Callable[[], Awaitable[None]]
    ) -> None:
        self._settings = settings
        self._tally = tally
        self._throttle = throttle
        self._flush = flush
        self._snapshots = {relay.name: RelaySnapshot() for relay in settings.relays_with_server}
        self._last: dict[str, tuple[float, RelayCheck]] = {}
        self._auth_accepted: dict[str, bool] = {}
        self._own_ends: dict[str, float] = {}  # of the client certificates
        if settings.probe.relay_check_interval_seconds:
            for relay in settings.relays_with_server:
                for kind in KINDS:
                    tally.add("postward_relay_changes_total", (relay.name, kind), 0)

    async def run(self) -> None:
        """Check until cancelled."""
        interval = self._settings.probe.relay_check_interval_seconds
        if interval:
            async with asyncio.TaskGroup() as group:
                for number, relay in enumerate(self._settings.relays_with_server):
                    group.create_task(self._check_periodically(relay, number * _STAGGER, interval))

    async def _check_periodically(self, relay: Relay, delay: float, interval: int) -> None:
        await asyncio.sleep(delay)
        while True:
            await self.check(relay)
            await asyncio.sleep(interval * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 -- not a secret

    async def check(self, relay: Relay) -> RelayCheck:
        """Check a relay once."""
        check = await throttled_check(relay, self._settings, self._throttle)
        if end := await asyncio.to_thread(_client_certificate_end, relay, self._settings):
            self._own_ends[relay.name] = end
        if self._take(check, time.time()):
            await self._flush()
        return check

    def _take(self, check: RelayCheck, now: float) -> bool:
        """Take the result of a check. Return True if something has changed."""
        _, before = self._last.get(check.relay, (0.0, None))
        self._last[check.relay] = now, check
        if check.auth != "untried":
            self._auth_accepted[check.relay] = check.auth == "accepted"
        changes = update(self._snapshots[check.relay], check, now)
        for change in changes:
            self._tally.add("postward_relay_changes_total", (change.relay, change.kind))
            level = logging.WARNING if change.alarm else logging.INFO
            _log.log(level, "relay %s: %s: %s", change.relay, change.kind, change.detail)
        if before is None or (before.step, before.cause) != (check.step, check.cause):
            if check.ok:
                _log.info("relay %s: every step of the check succeeded", check.relay)
            else:
                _log.error(
                    "relay %s: stopped at %s: %s: %s", check.relay, check.step, check.cause, check.detail
                )
        return bool(changes)

    def gauges(self) -> Gauges:
        """Return the results of the last checks."""
        last = {name: check for name, (_, check) in self._last.items()}
        snapshots = self._snapshots
        return {
            "postward_relay_reachable": {(name,): float(check.reachable) for name, check in last.items()},
            "postward_relay_auth_accepted": {(name,): float(ok) for name, ok in self._auth_accepted.items()},
            "postward_relay_check_timestamp_seconds": {(name,): at for name, (at, _) in self._last.items()},
            "postward_relay_step_duration_seconds": {
                (name, step.name): step.seconds for name, check in last.items() for step in check.steps
            },
            "postward_relay_starttls_offered": {
                (name,): float(relay.starttls)
                for name, relay in snapshots.items()
                if relay.starttls is not None
            },
            "postward_relay_certificate_valid": {
                (name,): float(relay.problem is None)
                for name, relay in snapshots.items()
                if relay.fingerprint is not None
            },
            "postward_relay_certificate_expiry_timestamp_seconds": {
                (name,): relay.not_after for name, relay in snapshots.items() if relay.not_after is not None
            },
            "postward_relay_client_certificate_expiry_timestamp_seconds": {
                (name,): end for name, end in self._own_ends.items()
            },
            "postward_relay_passwords_end_timestamp_seconds": dict(_passwords_end(self._settings)),
        }

    def state(self) -> Mapping[str, Any]:
        """Return the snapshot of each relay, by name."""
        return {name: snapshot.to_dict() for name, snapshot in self._snapshots.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the snapshots of relays that are still in the settings."""
        for name in self._snapshots.keys() & state.keys():
            try:
                self._snapshots[name] = RelaySnapshot.from_dict(state[name])
            except (TypeError, ValueError):
                continue


async def throttled_check(
    relay: Relay,
    settings: Settings,
    throttle: LoginThrottle | None,
    envelope: tuple[str, ...] = (),
    message: bytes = b"",
) -> RelayCheck:
    """Check a relay, with a login only if its password is readable and the throttle, if any, allows the attempt.

    With an envelope and a message, send that mail. A login that was rejected and may not be attempted yet is reported
    as rejected.
    """
    password, reason = await asyncio.to_thread(_password, relay)
    held_back = password is not None and throttle is not None and not throttle.acquire(relay.name)
    accepted: bool | None = None
    try:
        client = await asyncio.to_thread(read_client, settings)
        endpoint = login_endpoint(relay, settings, None if held_back else password, client)
        check = await check_relay(replace(endpoint, envelope=envelope, message=message))
        accepted = {"accepted": True, "rejected": False}.get(check.auth)
    finally:
        if password is not None and throttle is not None and not held_back:
            throttle.release(relay.name, accepted=accepted)
    if held_back and throttle is not None and check.ok:
        again = time.strftime("%H:%M", time.localtime(throttle.next_attempt_at(relay.name)))
        check.auth_detail = f"rejected before; the next attempt is after {again}, or with other settings"
        check.step, check.cause, check.detail = "auth", Cause.AUTH_REJECTED, check.auth_detail
    elif password is None and check.ok:
        check.auth_detail = reason
    return check


def _passwords_end(settings: Settings) -> Iterator[tuple[Labels, float]]:
    """Yield when providers switch the passwords off with which Postfix logs in."""
    for relay in settings.relay:
        _, provider = provider_of(relay.host) or ("", None)
        if provider and provider.passwords_end and relay.logs_in_by_password:
            day = datetime.combine(provider.passwords_end, datetime.min.time(), UTC)
            yield (relay.name,), day.timestamp()


def _client_certificate_end(relay: Relay, settings: Settings) -> float | None:
    """Return when the certificate ends that this host presents; None without one, or if this user cannot read it."""
    path = relay.client_certificate or read_client(settings).certificate
    try:
        return parse_certificate(der_of(Path(path).read_text())).not_after if path else None
    except (OSError, ValueError):
        return None


def _password(relay: Relay) -> tuple[str | None, str]:
    if not relay.username:
        return None, "no login"
    try:
        return relay.read_password(), ""
    except SettingsError:
        return None, "this user may not read the password"

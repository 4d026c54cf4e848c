"""Tries new settings on the relays before they are applied: connection, TLS, login, no mail.

A fault that will persist (a refused login, a bad certificate) is a refusal. One that may pass (connection refused, no
answer, no address) is reported as such and tried again. Neither changes anything.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import login_endpoint, read_plugins
from postward.config.settings import Settings
from postward.parsers import Cause

# Causes that depend on the relay or the network rather than on the settings.
_TRANSIENT = frozenset(
    {
        Cause.REFUSED,
        Cause.TIMEOUT,
        Cause.UNREACHABLE,
        Cause.DNS,
        Cause.LOST,
        Cause.GREETING_REFUSED,
        Cause.RATE_LIMIT,
        Cause.QUOTA,
        Cause.AUTH_TEMPORARY,
        Cause.REMOTE_TEMPORARY,
        Cause.LOCAL_RESOURCE,
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why new settings must not be applied.

    Attributes:
        text: the relays' answers.
        transient: the same settings may work later.
    """

    text: str
    transient: bool


def preflight(settings: Settings, passwords: Mapping[str, str]) -> Fault | None:
    """Check every relay of the settings with its new login. None if all accept it."""
    return fault_of(check_relays(settings, passwords))


def fault_of(checks: Iterable[RelayCheck]) -> Fault | None:
    """Return why the settings must not be applied after these checks; None if every step succeeded."""
    failed = [check for check in checks if not check.ok]
    if not failed:
        return None
    text = "; ".join(_describe(check) for check in failed)
    return Fault(text, all(check.cause in _TRANSIENT for check in failed))


def check_relays(settings: Settings, passwords: Mapping[str, str]) -> list[RelayCheck]:
    """Check all relays at once, each with its password."""
    return asyncio.run(_check_all(settings, passwords))


async def _check_all(settings: Settings, passwords: Mapping[str, str]) -> list[RelayCheck]:
    plugins = read_plugins()
    endpoints = [
        login_endpoint(relay, settings, passwords.get(relay.name), plugins)
        for relay in settings.relays_with_server
    ]
    return await asyncio.gather(*map(check_relay, endpoints))


def _describe(check: RelayCheck) -> str:
    return f"relay {check.relay} ({check.host}:{check.port}) fails at step {check.step}: {check.cause} ({check.detail})"

"""New settings, tried on the relays before they are put into force: connect, TLS, login, no mail.

A fault that is there to stay (a refused login, a certificate that is not valid) is a refusal; one that may pass
(nobody listens, no answer, no name) is told as such, so that it is tried again. Nothing is changed in either case.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import endpoint_of
from postward.config.settings import Settings
from postward.parsers import Cause

# What waits for the relay or the network rather than for other settings.
_MAY_PASS = frozenset(
    {
        Cause.REFUSED,
        Cause.TIMEOUT,
        Cause.UNREACHABLE,
        Cause.DNS,
        Cause.LOST,
        Cause.GREETING_REFUSED,
        Cause.RATE_LIMIT,
        Cause.AUTH_TEMPORARY,
        Cause.REMOTE_TEMPORARY,
        Cause.LOCAL_RESOURCE,
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why new settings must not be put into force: the words, and whether they may do so later as they are."""

    words: str
    may_pass: bool


def preflight(settings: Settings, passwords: Mapping[str, str]) -> Fault | None:
    """Talk to every relay of the settings, with the new logins. None if all of them take us."""
    checks = asyncio.run(_check_all(settings, passwords))
    failed = [check for check in checks if not check.ok]
    if not failed:
        return None
    words = "; ".join(_words(check) for check in failed)
    return Fault(words, all(check.cause in _MAY_PASS for check in failed))


async def _check_all(settings: Settings, passwords: Mapping[str, str]) -> list[RelayCheck]:
    endpoints = [endpoint_of(relay, settings.host, passwords.get(relay.name)) for relay in settings.relay]
    return await asyncio.gather(*map(check_relay, endpoints))


def _words(check: RelayCheck) -> str:
    return f"relay {check.relay} ({check.host}:{check.port}) stops us at step {check.step}: {check.cause} ({check.detail})"

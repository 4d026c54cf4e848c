"""The port and the kind of TLS by which a relay answers, found by trying. No login is attempted and no mail is sent."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import RelayEndpoint
from postward.config.relay import IMPLICIT_TLS_PORTS, STARTTLS_PORTS, TlsMode

_TIMEOUT = 10.0  # seconds a step


def find_ways(endpoint: RelayEndpoint, ports: Iterable[int], tls: TlsMode | None) -> list[RelayCheck]:
    """Try ports of a relay, all at once.

    Args:
        endpoint: the relay.
        ports: the ports, the preferred one first.
        tls: the only kind of TLS to try; None: the port's usual one, or both on a port without.

    Returns:
        a check for each port; a failed one is that which got further.
    """
    return asyncio.run(_find_ways(endpoint, ports, tls))


async def _find_ways(endpoint: RelayEndpoint, ports: Iterable[int], tls: TlsMode | None) -> list[RelayCheck]:
    return list(await asyncio.gather(*(_try(endpoint, port, tls) for port in dict.fromkeys(ports))))


async def _try(endpoint: RelayEndpoint, port: int, tls: TlsMode | None) -> RelayCheck:
    """Return the first check that succeeds; a relay that waits for TLS does not answer the other one before a timeout."""
    running = {
        asyncio.ensure_future(check_relay(_without_login(endpoint, port, kind)))
        for kind in ([tls] if tls else _kinds(port))
    }
    failed: list[RelayCheck] = []
    while running:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for check in (task.result() for task in done):
            if check.ok or (check.tls == "starttls" and check.starttls is False):
                for other in running:
                    other.cancel()
                await asyncio.gather(*running, return_exceptions=True)
                return check
            failed.append(check)
    return max(failed, key=lambda check: (len(check.steps), check.tls == "starttls"))


def _kinds(port: int) -> list[TlsMode]:
    if port in IMPLICIT_TLS_PORTS:
        return ["implicit"]
    return ["starttls"] if port in STARTTLS_PORTS else ["starttls", "implicit"]


def _without_login(endpoint: RelayEndpoint, port: int, tls: TlsMode) -> RelayEndpoint:
    return replace(endpoint, port=port, tls=tls, username=None, password=None, envelope=(), timeout=_TIMEOUT)

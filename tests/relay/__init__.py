"""Tests of agent/relay."""

import asyncio

from postward.agent.relay.check import RelayCheck, check_relay
from postward.agent.relay.endpoint import RelayEndpoint

USER, PASSWORD = "API_USER", "s3cret-Gr33n-Fern"


def checked(endpoint: RelayEndpoint) -> RelayCheck:
    """Check a relay once."""
    return asyncio.run(check_relay(endpoint))

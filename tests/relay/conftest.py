"""A relay and the endpoint that fits it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent.relay.endpoint import RelayEndpoint
from tests.relay import PASSWORD, USER
from tests.support import CA, Relay


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[tuple[Relay, RelayEndpoint]]:
    """A relay, and the endpoint that fits it."""
    ca = CA()
    with Relay(ca, users={USER: PASSWORD}) as running:
        yield (
            running,
            RelayEndpoint(
                "demo",
                "localhost",
                running.port,
                "starttls",
                ca_file=str(ca.write(tmp_path)),
                helo="client.test",
                username=USER,
                password=PASSWORD,
                timeout=1.0,
            ),
        )

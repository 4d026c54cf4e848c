"""An authorization server whose certificate the HTTP client trusts, and settings of relays that ask it for tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent import http_client
from tests.oauth2 import Bed
from tests.support import CA
from tests.support.authorization import Authorization


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    """A server and a folder for tokens and secrets."""
    ca = CA()
    monkeypatch.setenv("SSL_CERT_FILE", str(ca.write(tmp_path)))
    http_client._context.cache_clear()
    (tmp_path / "tokens").mkdir()
    with Authorization(ca) as server:
        yield Bed(server, tmp_path, ca)
    http_client._context.cache_clear()

"""One host for all tests, restored before each test."""

from collections.abc import Iterator

import pytest

from tests.config.lint.host import Host
from tests.support import require_postfix


@pytest.fixture(scope="session")
def one_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A correct host."""
    require_postfix(sasl=False)
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.fixture
def host(one_host: Host) -> Host:
    """The correct host, restored after the changes of earlier tests."""
    one_host.repair()
    return one_host

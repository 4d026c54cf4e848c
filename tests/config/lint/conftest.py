"""One host for all tests of a module, brought back to what it was before each."""

from collections.abc import Iterator

import pytest

from tests.config.lint.host import Host
from tests.support import require_postfix


@pytest.fixture(scope="session")
def one_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host, as it should be."""
    require_postfix(sasl=False)
    host = Host(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


@pytest.fixture
def host(one_host: Host) -> Host:
    """The host, whatever was done to it before."""
    one_host.repair()
    return one_host

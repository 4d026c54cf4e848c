"""The Postfix that tests of enforcement change."""

from pathlib import Path

import pytest

from tests.support import PostfixInstance, require_postfix


@pytest.fixture
def instance(tmp_path: Path) -> PostfixInstance:
    """A private Postfix that is laid out, not started."""
    require_postfix()
    return PostfixInstance(tmp_path / "postfix")

"""The Postfix instance that the tests change."""

from pathlib import Path

import pytest

from tests.support import PostfixInstance, require_postfix


@pytest.fixture
def instance(tmp_path: Path) -> PostfixInstance:
    """A private Postfix with its files in place, not started."""
    require_postfix()
    return PostfixInstance(tmp_path / "postfix")

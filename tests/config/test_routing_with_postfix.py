"""Routing agrees with the real cleanup(8) and trivial-rewrite(8). `python -m tools.oracle` compares more."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import require_postfix
from tools.oracle.compare import differences
from tools.oracle.generate import Generator
from tools.oracle.real import Postfix

_CASES, _SEED = 30, 7


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that Postfix's user can enter."""
    with tempfile.TemporaryDirectory(prefix="oracle-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_routes_are_those_of_postfix(folder: Path) -> None:
    """Generated configurations and mails have the rewritten addresses and routes that Postfix gives them."""
    require_postfix()
    postfix, counts = Postfix(folder), Counter[str]()
    cases = Generator(_SEED, postfix.config.facts().map_types).cases(_CASES, mails=8)

    found = [
        f"case {number}: {text}"
        for number, case in enumerate(cases, 1)
        for text in differences(case, postfix, counts)
    ]

    assert found == []
    assert counts["route: equal"] > _CASES
    assert counts["envelope: unknown"] < _CASES

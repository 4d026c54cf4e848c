"""The reference pages are those that `make docs` makes from the code."""

import pytest

from postward.agent.incidents.catalog.table import SYMPTOMS
from tests.support.documents import ROOT
from tools.reference import PAGES
from tools.reference.symptoms import SUBJECTS


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_up_to_date(page: str) -> None:
    """Run `make docs` after a change of a table, a model or a command."""
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == PAGES[page]()


def test_every_symptom_is_documented() -> None:
    """The page has the modules of the catalogue by name; none of them is missing."""
    text = PAGES["symptoms.md"]()
    assert [name for name in SYMPTOMS if f"| `{name}` |" not in text] == []
    assert all(f"\n## {heading}\n" in text for heading in SUBJECTS.values())

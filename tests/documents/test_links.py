"""Links of the documents lead somewhere, without a look at the network; and so do mentions of documents in the code."""

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.documents import DOCUMENTS, ROOT, anchors_of, links_of

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Source"]


def fault_of(document: Path, target: str) -> str | None:
    """Return what is wrong with a link: a missing file or anchor, or a page without TLS."""
    own = re.match(rf"{re.escape(PROJECT)}/(?:blob|tree|raw)/main/", target)
    if own:
        document, target = Path("README.md"), target[own.end() :]
    elif re.match(r"[a-z]+:", target):
        return None if target.startswith("https://") else "is not a https URL"
    path, _, anchor = unquote(target).partition("#")
    page = (ROOT / document.parent / path).resolve() if path else ROOT / document
    if not page.exists():
        return "does not exist"
    if anchor and anchor not in anchors_of(page.relative_to(ROOT)):
        return f"has no heading #{anchor}"
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    """Each relative link, and each to the project's own copy, is a file, and its anchor a heading of it."""
    faults = [
        f"{document}:{line}: {target} {fault}"
        for line, target in links_of(document)
        if (fault := fault_of(document, target))
    ]
    assert faults == []


def test_broken_links_are_found() -> None:
    """A missing page, a missing anchor, and a page without TLS are faults; a heading and a picture are none."""
    page = Path("docs/incidents.md")
    assert fault_of(page, "gone.md") == "does not exist"
    assert fault_of(page, "probes.md#gone") == "has no heading #gone"
    assert fault_of(page, "#gone") == "has no heading #gone"
    assert fault_of(page, f"{PROJECT}/blob/main/docs/gone.md") == "does not exist"
    assert fault_of(page, "http://example.com/") == "is not a https URL"
    assert fault_of(page, "probes.md#in-a-mailbox") is None
    assert fault_of(page, "../SECURITY.md") is None


def test_documents_that_the_code_names_exist() -> None:
    """Messages and comments name pages of docs/."""
    named = {
        (path.relative_to(ROOT), name)
        for folder in ("agent", "config", "parsers", "grafana", "systemd", "tools")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in {".py", ".j2", ".service", ".timer", ".yml", ""}
        for name in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8", errors="replace"))
    }
    assert len(named) > 5
    assert [f"{path}: {name}" for path, name in sorted(named) if not (ROOT / name).exists()] == []

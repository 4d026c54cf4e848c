"""`python -m tools.site FOLDER`: check that no page of a built site fetches anything from another host."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# What a browser fetches without a click: attributes of elements, and references in style sheets.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b[^>]*\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|(?:url\(|@import\s)\s*["']?((?:https?:)?//[^"')\s]+)"""
)


def fetched(text: str) -> list[str]:
    """Return the URLs on other hosts that a page or a style sheet fetches."""
    return ["".join(groups) for groups in _FETCHED.findall(text)]


def _faults(folder: Path) -> Iterator[str]:
    pages = sorted(path for path in folder.rglob("*") if path.suffix in {".html", ".css"})
    if not pages:
        yield f"{folder}: has no pages"
    for path in pages:
        yield from (f"{path}: fetches {url}" for url in fetched(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit("\n".join(_faults(Path(sys.argv[1]))) or None)

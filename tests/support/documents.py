"""The project's documents in Markdown: their code blocks, headings and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
_MARKDOWN = MarkdownIt("commonmark").enable("table")
# What a reader of the project meets: not the data of tests.
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "tests/**/README.md", "tools/**/*.md")
    for path in ROOT.glob(pattern)
)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        document: path in the repository.
        line: number of its first line in the document.
        language: the first word after the fence; "" without one.
        text: its content.
        heading: the heading above it; "" at the top.
    """

    document: Path
    line: int
    language: str
    text: str
    heading: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Its lines as shell commands, without comments; a continued line is one."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = (re.sub(r"(^|\s+)#.*", "", line) for line in joined.splitlines())
        return [line for line in lines if line]


def _tokens(document: Path) -> list[Token]:
    return _MARKDOWN.parse((ROOT / document).read_text(encoding="utf-8"))


def blocks_of(document: Path | str) -> Iterator[Block]:
    """Yield the code blocks of a document."""
    document, heading = Path(document), ""
    tokens = _tokens(document)
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = tokens[number + 1].content
        elif token.type == "fence":
            assert token.map
            language = token.info.split()[0] if token.info.strip() else ""
            yield Block(document, token.map[0] + 1, language, token.content, heading)


def anchors_of(document: Path | str) -> set[str]:
    """Return the anchors of a document's headings, as a forge makes them."""
    found: set[str] = set()
    tokens = _tokens(Path(document))
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            text = "".join(
                child.content for child in tokens[number + 1].children or () if child.type != "html_inline"
            )
            base = anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            repeated = 0
            while anchor in found:
                repeated += 1
                anchor = f"{base}-{repeated}"
            found.add(anchor)
    return found


def links_of(document: Path | str) -> Iterator[tuple[int, str]]:
    """Yield the links and pictures of a document: the line of their paragraph, and the target."""
    for token in _tokens(Path(document)):
        for child in token.children or ():
            target = child.attrGet("href") if child.type == "link_open" else child.attrGet("src")
            if target is not None:
                yield (token.map[0] + 1 if token.map else 0), str(target)

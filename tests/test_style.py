"""The style of `CONTRIBUTING.md`, held over docs, docstrings, comments and messages.

A word list catches what was written in this project before it had a style. A sentence has at most 30 words; Markdown is
wrapped at 120 columns.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.reference import PAGES

ROOT = Path(__file__).parents[1]
MAX_WORDS = 30
MAX_COLUMNS = 120

# Pattern → what to write instead.
BANNED = {
    r"anew": "again",
    r"lest": "so that … not",
    r"for ever(?! [a-z]+ing)": "forever, without limit",
    r"departures?": "drift",
    r"puts? (?:\w+ )?right": "repair",
    r"mend(?:s|ed|ing)?": "fix, repair, remedy",
    r"told|tells?(?! apart)|telling": "report, log, say, print, show",
    r"is no (?!longer|more|better|worse|later|earlier|faster|slower)\w+": "is not a …",
    r"are no (?!longer|more|better|worse|later|earlier|faster|slower)\w+": "are not …",
    r"has none": "has no …",
    r"proven": "confirmed",
    r"(?:the|a|every|each) fights?": "conflict",
    r"hindrance": "blocked reason",
    r"nobody|somebody|whoever": "name the subject",
    r"(?:by|for|to|of|from) who (?:\w+)": "name the subject",
    r"(?:by|for|to|of|from|at|with|on|in) what (?:nobody|nothing|is|was|are|comes|came|goes|has|had)": "name the thing",
    r"as good as|so to speak": "leave out",
    r"(?:looks?|looked) (?:up|at|for|on|into)?\s?anew": "poll again",
    r"word by word": "verbatim",
    r"its affair|an old acquaintance|farewell|goodbye": "plain words",
    r"in words": "in plain text, as text",
}
_BANNED = [
    (re.compile(rf"(?<![\w-]){pattern}(?![\w-])", re.IGNORECASE), better)
    for pattern, better in BANNED.items()
]
# A clause in the place of a subject: "What is read is counted." A question may begin so.
_RIDDLE = re.compile(r"(?:^|[.:;] )(?:What|Who|Whose|Whatever) [^.?:]*[.](?:\s|$)")
_CODE = re.compile(r"`[^`]*`|https?://\S+")
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+|(?<=[。！？；：])|\n\s*\n|\n\s*(?=[-*|#])|\s[|·]\s|\s→\s")

SOURCES = [
    *sorted(
        path
        for folder in ("parsers", "config", "agent", "grafana", "container", "tests", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__)
    )
]
# Not the references, whose texts are those of the sources.
DOCUMENTS = [
    *sorted(path for path in ROOT.glob("*.md")),
    *sorted(set((ROOT / "docs").rglob("*.md")) - {ROOT / "docs" / page for page in PAGES}),
    *sorted((ROOT / "tests").rglob("README.md")),
]


def name_of(path: Path) -> str:
    """The path in the repository."""
    return str(path.relative_to(ROOT))


def faults(text: str) -> Iterator[str]:
    """What a text says otherwise than the style asks for."""
    text = _CODE.sub("x", text)
    for pattern, better in _BANNED:
        for match in pattern.finditer(text):
            yield f'"{match[0]}": {better}'
    if riddle := _RIDDLE.search(text):
        yield f'"{riddle[0].strip()[:60]}": name the subject'
    for sentence in _SENTENCE_END.split(text):
        words = re.findall(r"[^\W\d_][\w'’-]*", sentence)
        if len(words) > MAX_WORDS:
            yield f"{len(words)} words in one sentence: {' '.join(sentence.split())[:70]}…"


def prose_of(source: str) -> Iterator[tuple[int, str]]:
    """Docstrings, comments, messages and names of tests, each with its line."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(" ") > 1:
            yield node.lineno, re.sub(r"\n {4,}(\w+):", r"\n\n\1:", node.value)
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")
    comment: list[str] = []
    line = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line = line or token.start[0]
            comment.append(token.string.lstrip("# "))
        elif token.type not in {tokenize.NL, tokenize.COMMENT} and comment:
            yield line, " ".join(comment)
            comment, line = [], 0


def without_code(markdown: str) -> str:
    """Markdown without its code blocks, each of their lines empty."""
    return re.sub(
        r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), markdown, flags=re.MULTILINE | re.DOTALL
    )


def long_lines(markdown: str) -> Iterator[str]:
    """Lines that end after column 120, except tables, links, code, and Chinese, which has no blanks to wrap at."""
    for number, line in enumerate(without_code(markdown).split("\n"), 1):
        if len(line) <= MAX_COLUMNS or line.startswith("|") or re.search(r"[\u4e00-\u9fff]", line):
            continue
        if "](" not in line[MAX_COLUMNS - 40 :]:
            yield f"line {number} has {len(line)} columns"


def faults_of(path: Path) -> list[str]:
    """All faults of a file."""
    text = path.read_text()
    if path.suffix == ".md":
        return [*faults(without_code(text)), *long_lines(text)]
    return [f"{line}: {fault}" for line, prose in prose_of(text) for fault in faults(prose)]


@pytest.mark.parametrize("path", [*SOURCES, *DOCUMENTS], ids=name_of)
def test_text_keeps_to_the_style(path: Path) -> None:
    """Docstrings, comments, messages and documents are in plain English, and Markdown is wrapped."""
    assert faults_of(path) == []

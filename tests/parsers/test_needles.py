"""Words that a text must contain for a pattern to match: they leave out no match."""

import re

import pytest

from postward.agent.incidents.catalog.table import ROWS
from postward.parsers.cause.texts import AUTH_TEXTS, TEXTS
from postward.parsers.needles import is_found, needles, searches
from tests.parsers.golden import CORPUS

_TEXTS = [
    line
    for file in sorted((*CORPUS.rglob("*.log"), *CORPUS.glob("*.tsv")))
    for line in file.read_text(errors="replace").split("\n")
]
_PATTERNS = [
    *(re.compile(pattern) for text in (*TEXTS, *AUTH_TEXTS) for pattern in text.patterns),
    *(row.text for row in ROWS if row.text is not None),
]


def test_no_match_is_left_out() -> None:
    """For each pattern of replies and of the catalogue, in the lines of the corpus as they are and in lower case."""
    for pattern in _PATTERNS:
        only = searches((pattern,))
        for text in {line[:600] for line in _TEXTS[:: max(1, len(_TEXTS) // 1500)]}:
            for form in (text, text.casefold()):
                assert is_found(only, form, form.casefold()) == bool(pattern.search(form)), (pattern, form)


def test_nearly_every_pattern_has_words() -> None:
    """Only patterns without a word, such as those of conditions, are searched in every text."""
    without = [pattern for pattern in _PATTERNS if needles(pattern) == ("",)]

    assert len(without) < len(_PATTERNS) / 10


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("too many (?:hops|loops)", {"too many "}),
        ("grey ?listing", {"listing"}),
        ("(?:user|mailbox) unknown", {" unknown"}),
        ("(?:spam|junk mail)", {"spam", "junk mail"}),
        ("(?:spam|no)", {""}),
        ("(?:quota)?", {""}),
        ("(?:exceeded)+", {"exceeded"}),
        ("(?!refused)ab", {""}),
        ("(?i:QUOTA)", {"quota"}),
    ],
)
def test_words_are_those_that_every_match_has(pattern: str, words: set[str]) -> None:
    """The longest run of characters that no alternative and no repetition leaves out."""
    assert set(needles(re.compile(pattern))) == words

"""Words that a text must contain for a pattern to match: a search for them is far cheaper than the pattern.

They are read from the pattern itself, by the parser of `re`. A pattern without such words is always
searched. Pure.
"""

import re
from collections.abc import Iterable
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

_MIN_LENGTH: Final = 3  # characters; shorter words are in too many texts
_REPEATS: Final = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


# Pairs of a word and a pattern that it may stand for.
Searches = tuple[tuple[str, re.Pattern[str]], ...]


def searches(patterns: Iterable[re.Pattern[str]]) -> Searches:
    """Return the searches for patterns."""
    return tuple((word, pattern) for pattern in patterns for word in needles(pattern))


def is_found(searches: Searches, text: str, folded: str) -> bool:
    """Return whether any of the patterns is found in a text; `folded` is the text after `casefold`."""
    for word, pattern in searches:  # noqa: SIM110 -- a generator takes half as long again
        if word in folded and pattern.search(text) is not None:
            return True
    return False


def needles(pattern: re.Pattern[str]) -> tuple[str, ...]:
    """Return words, one of which every text has, after `casefold`, in which the pattern is found; "" if none is known."""
    words = _of_sequence(_parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG))
    return ("",) if words is None else tuple(sorted(words))


def _of_sequence(items: Iterable[Any]) -> frozenset[str] | None:
    """Return the best words of the parts of a sequence, all of which must match."""
    found: list[frozenset[str]] = []
    run = ""
    for kind, value in items:
        if kind is op.LITERAL:
            run += chr(value)
            continue
        if len(run) >= _MIN_LENGTH:
            found.append(frozenset({run.casefold()}))
        run = ""
        words = _of_part(kind, value)
        if words is not None:
            found.append(words)
    if len(run) >= _MIN_LENGTH:
        found.append(frozenset({run.casefold()}))
    return max(found, key=lambda words: (min(map(len, words)), -len(words)), default=None)


def _of_part(kind: Any, value: Any) -> frozenset[str] | None:
    if kind is op.SUBPATTERN:
        return _of_sequence(value[-1])
    if kind is op.ATOMIC_GROUP:
        return _of_sequence(value)
    if kind in _REPEATS and value[0] > 0:
        return _of_sequence(value[2])
    if kind is op.BRANCH:
        branches = [_of_sequence(branch) for branch in value[1]]
        known = [words for words in branches if words is not None]
        return frozenset().union(*known) if len(known) == len(branches) else None
    return None

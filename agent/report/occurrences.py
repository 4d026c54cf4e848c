"""How often something occurred, when, and the first text of it, fit to be shown.

Promise: neither the order of what is added nor how it was cut changes the result: of the texts of the first second, the
least stays.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from postward.parsers.scrub import scrub

_LONGEST_EXAMPLE: Final = 300  # characters
# What an address may look like inside a text: enough to hide every one, not to judge it.
_ADDRESS: Final = re.compile(r"[^\s<>()\[\]\"',;:=]+@[^\s<>()\[\]\"',;:=]+")


class Seen(NamedTuple):
    """Times; seconds since 1970 by the log's own clock; the second and text of the example."""

    times: int
    first: int
    last: int
    example: tuple[int, str]

    def joined(self, other: "Seen") -> "Seen":
        """Both together."""
        return Seen(
            self.times + other.times,
            min(self.first, other.first),
            max(self.last, other.last),
            min(self.example, other.example),
        )


def seen_again(known: Seen | None, times: int, first: int, last: int, texts: Iterable[str]) -> Seen:
    """What is known, with so many times more.

    Args:
        known: what was seen before.
        times: how often it was seen now.
        first: when first, in seconds.
        last: when last.
        texts: those of the first second; looked at only where one of them may be the example, because making them fit
            to be shown takes longer than counting.
    """
    if known is not None and known.first < first:
        return Seen(known.times + times, known.first, max(known.last, last), known.example)
    seen = Seen(times, first, last, (first, min(map(example, texts))))
    return seen if known is None else known.joined(seen)


def example(text: str) -> str:
    """A text fit to be shown: without secrets and addresses, in one piece that can be read."""
    text = _ADDRESS.sub("…@…", scrub(text))
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "�" for char in text)
    return text if len(text) <= _LONGEST_EXAMPLE else f"{text[:_LONGEST_EXAMPLE]}…"

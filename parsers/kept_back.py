"""Replies that accept a mail and say that it is not passed on: suppressed, quarantined or discarded.

Postfix logs such a delivery as sent, for the server took the mail. amavis answers so where its policy is D_DISCARD
("250 2.7.0 Ok, discarded, id=… - spam"); gateways and providers use the same words. A reply says so only in its own
words: not in an address, a Message-ID, a host name or a queue ID that it repeats.

Pure. Healthy logs do not pay: one search for three stems in the replies of a whole block comes first.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

KEPT_BACK: Final = ("suppressed", "quarantined", "discarded")

_STEMS: Final = ("quarantin", "discard", "suppress", "drop")
_REPLY: Final = re.compile(r"\A2\d\d(?:[ -]|\Z)")
_REPEATED: Final = re.compile(r"<[^<>]*>|\"[^\"]*\"|\[[^\[\]]*\]|\bqueued as \S+")
_OF_NAMES: Final = frozenset("@=/\\")  # characters of a word that is a name
_WORDS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("suppressed", re.compile(r"(?<![\w.-])(?:suppressed|suppression list)(?![\w-]|\.\w)", re.IGNORECASE)),
    (
        "quarantined",
        re.compile(
            r"(?<![\w.-])(?:quarantined|(?:to|in|into|for|under) (?:the |spam |virus )?quarantine)(?![\w-]|\.\w)",
            re.IGNORECASE,
        ),
    ),
    (
        "discarded",
        re.compile(
            r"(?<![\w.-])(?:discarded|(?:silently|message|mail) (?:was )?dropped)(?![\w-]|\.\w)",
            re.IGNORECASE,
        ),
    ),
)
_DENIED: Final = re.compile(r"\b(?:not|never|isn't|wasn't) (?:been |be )?\w+\Z", re.IGNORECASE)
_REMEMBERED: Final = 4096


def may_be_kept_back(replies: Iterable[str | None]) -> bool:
    """Return whether any of these replies can say so: one search for many replies."""
    text = "\n".join(filter(None, replies)).lower()
    return any(stem in text for stem in _STEMS)


def kept_back_of(replies: Sequence[str | None]) -> list[str]:
    """Return one of KEPT_BACK for each of the replies that says so."""
    return [kind for reply in replies if reply and (kind := kept_back(reply)) is not None]


@lru_cache(_REMEMBERED)
def kept_back(reply: str) -> str | None:
    """Return how a reply keeps its mail back: one of KEPT_BACK; None for every other reply."""
    if _REPLY.match(reply) is None:
        return None
    own = " ".join(word for word in _REPEATED.sub(" ", reply).split() if _OF_NAMES.isdisjoint(word))
    for kind, words in _WORDS:
        for found in words.finditer(own):
            if not _DENIED.search(own[: found.end()]):
                return kind
    return None

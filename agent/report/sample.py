"""Facts about mails, joined by queue ID over any number of lines, in bounded memory.

A mail's lines are far apart, in different chunks and counted by different processes. Of each mail a row is kept under
a hash of its host and queue ID, and rows of the same mail merge. When there are more mails than the sample holds, those
with the smallest hashes stay ("bottom-k"): a random sample that does not depend on who saw which line first, in which every
mail kept is whole. Until then all that is told of mails is exact; afterwards numbers are scaled up, with a relative error
of about one in the square root of the rows that a number rests on.

Promise: `merge` is associative, commutative and independent of how lines were cut.
"""

from collections.abc import Iterator
from hashlib import blake2b
from math import isqrt
from typing import Final, NamedTuple
from zlib import crc32

KEPT: Final = 1 << 15
_HASH_BYTES: Final = 8
_KEY_BYTES: Final = 4 + _HASH_BYTES
_NONE: Final[frozenset[tuple[str, str]]] = frozenset()


class Mail(NamedTuple):
    """What is known of a mail. A queue ID that was used again counts as one mail, its larger size stands."""

    size: int = -1  # bytes; -1: no qmgr line was seen
    sender: str = ""  # domain
    received: bool = False  # its arrival was seen: it is no bounce and no forwarded copy
    sent: int = 0  # recipients
    deferred: int = 0  # attempts
    bounced: int = 0  # recipients
    failures: frozenset[tuple[str, str]] = _NONE  # (relay, cause)

    def joined(self, other: "Mail") -> "Mail":
        """The facts of both."""
        size, sender = max(self[:2], other[:2])
        return Mail(
            size,
            sender,
            self.received or other.received,
            self.sent + other.sent,
            self.deferred + other.deferred,
            self.bounced + other.bounced,
            self.failures | other.failures if other.failures else self.failures,
        )


def rank(queue_id: str) -> int:
    """What a mail's hash begins with: quick, and enough to leave most mails out."""
    return crc32(queue_id.encode("utf-8", "replace"))


def of_rank(highest: int, hosts: list[str], queue_ids: list[str]) -> list[tuple[str, str]]:
    """Host and queue ID of those among these mails that are of no higher rank. Queue IDs of ASCII only."""
    return [mail for mail in zip(hosts, queue_ids, strict=True) if crc32(mail[1].encode()) <= highest]


def key_of(host: str, queue_id: str) -> bytes:
    """A mail's hash: the same in every process."""
    mail = f"{host} {queue_id}".encode("utf-8", "replace")
    return rank(queue_id).to_bytes(4) + blake2b(mail, digest_size=_HASH_BYTES).digest()


class Sample:
    """Mails by hash, at most so many.

    Args:
        limit: how many mails are kept.
    """

    def __init__(self, limit: int = KEPT) -> None:
        self.limit = limit
        self.rows: dict[bytes, Mail] = {}
        self.ceiling: bytes | None = None  # the largest hash that is kept, once mails were left out

    @property
    def highest_rank(self) -> int:
        """Mails of a higher rank are certainly not in the sample: their facts need not be gathered."""
        return 0xFFFFFFFF if self.ceiling is None else int.from_bytes(self.ceiling[:4])

    def add(self, key: bytes, mail: Mail) -> None:
        """Join facts to those known of this mail."""
        if self.ceiling is not None and key > self.ceiling:
            return
        known = self.rows.get(key)
        self.rows[key] = mail if known is None else known.joined(mail)
        if len(self.rows) > self.limit + (self.limit >> 2):
            self.prune()

    def merge(self, other: "Sample") -> None:
        """Add what another sample of the same limit knows."""
        for key, mail in other.rows.items():
            self.add(key, mail)
        if other.ceiling is not None and (self.ceiling is None or other.ceiling < self.ceiling):
            self.ceiling = other.ceiling
            self.rows = {key: mail for key, mail in self.rows.items() if key <= other.ceiling}
        self.prune()

    def prune(self) -> None:
        """Leave out what is above the limit. A mail left out is never taken again, so no row is ever half a mail."""
        if len(self.rows) > self.limit:
            kept = sorted(self.rows)[: self.limit]
            self.ceiling = kept[-1]
            self.rows = {key: self.rows[key] for key in kept}

    def replace_failures(self, rename: "dict[str, str]") -> None:
        """Give relays other names."""
        for key, mail in self.rows.items():
            if mail.failures:
                renamed = frozenset((rename.get(relay, relay), cause) for relay, cause in mail.failures)
                self.rows[key] = mail._replace(failures=renamed)

    @property
    def is_whole(self) -> bool:
        """True while every mail is in the sample: numbers are exact."""
        return self.ceiling is None

    def scaled(self, number: int) -> int:
        """How many there are in all, if there are so many in the sample."""
        if self.ceiling is None:
            return number
        # Of a random order of all mails' hashes, the largest of the k smallest lies at k in all of them.
        share = int.from_bytes(self.ceiling) + 1
        return (number << (8 * _KEY_BYTES)) // share

    @property
    def error(self) -> float:
        """The relative standard error of the number of mails; 0 while it is exact."""
        return 0.0 if self.ceiling is None else round(1 / max(1, isqrt(self.limit)), 4)

    def mails(self) -> Iterator[Mail]:
        """The rows, in no order that means anything."""
        yield from self.rows.values()

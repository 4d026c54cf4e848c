"""Facts about mails, joined by queue ID over any number of lines, in bounded memory.

The lines of a mail are far apart, in different chunks that different processes count. Each mail has a row under a hash of
its host and queue ID, and rows of the same mail merge. When there are more mails than the sample holds, the smallest hashes
stay ("bottom-k"): a random sample of whole mails that does not depend on the order of lines. Until then numbers are exact;
afterwards they are scaled up, with a relative error of about one in the square root of the rows behind a number.

Promise: `merge` is associative, commutative and independent of how lines were cut.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from math import isqrt
from operator import add
from typing import Final, Generic, NamedTuple, Protocol, Self, TypeVar
from zlib import crc32

from postward.agent.metrics.labels import STATUSES
from postward.agent.text import domain_of

KEPT: Final = 1 << 15
_HASH_BYTES: Final = 8
_KEY_BYTES: Final = 4 + _HASH_BYTES
_MAX_DIGITS: Final = 18  # of a size or number
_MAX_ADDRESS: Final = 320  # characters
_NONE: Final[frozenset[tuple[str, str]]] = frozenset()


class Mail(NamedTuple):
    """Facts about a mail. Mails that share a reused queue ID count as one, with the larger size."""

    size: int = -1  # bytes; -1: no qmgr line was seen
    sender: str = ""  # domain
    received: bool = False  # its arrival is in the log: neither a bounce nor a forwarded copy
    source: str = ""  # how it was submitted, see `senders/share.py`; "" if its arrival is not in the log
    address: str = ""  # of the sender, if addresses are counted
    recipients: int = 0
    sent: int = 0  # recipients
    deferred: int = 0  # attempts
    bounced: int = 0  # recipients
    failures: frozenset[tuple[str, str]] = _NONE  # (relay, cause)

    def joined(self, other: "Mail") -> "Mail":
        """Return the facts of both."""
        size, sender = max(self[:2], other[:2])
        return Mail(
            size,
            sender,
            self.received or other.received,
            max(self.source, other.source),
            max(self.address, other.address),
            max(self.recipients, other.recipients),
            self.sent + other.sent,
            self.deferred + other.deferred,
            self.bounced + other.bounced,
            self.failures | other.failures if other.failures else self.failures,
        )


class Recipient(NamedTuple):
    """Attempts to deliver a mail to one of its recipients."""

    address: str
    sent: int = 0
    deferred: int = 0
    bounced: int = 0

    def joined(self, other: "Recipient") -> "Recipient":
        """Return the sum of both."""
        return Recipient(self.address, *map(add, self[1:], other[1:]))


class _Row(Protocol):
    def joined(self, other: Self) -> Self: ...


Row = TypeVar("Row", bound=_Row)


def rank(queue_id: str) -> int:
    """Return the first bytes of a mail's hash: quick to compute, and enough to exclude most mails."""
    return crc32(queue_id.encode("utf-8", "replace"))


def key_of(host: str, queue_id: str) -> bytes:
    """Return a mail's hash, the same in every process."""
    mail = f"{host} {queue_id}".encode("utf-8", "replace")
    return rank(queue_id).to_bytes(4) + blake2b(mail, digest_size=_HASH_BYTES).digest()


class Sample(Generic[Row]):
    """Rows of mails, or of their recipients, by hash, at most `limit`.

    Args:
        limit: number of rows.
    """

    def __init__(self, limit: int = KEPT) -> None:
        self.limit = limit
        self.rows: dict[bytes, Row] = {}
        self.ceiling: bytes | None = None  # the largest hash, once mails were left out

    @property
    def highest_rank(self) -> int:
        """The highest rank that can be in the sample."""
        return 0xFFFFFFFF if self.ceiling is None else int.from_bytes(self.ceiling[:4])

    def add(self, key: bytes, row: Row) -> None:
        """Add facts."""
        if self.ceiling is not None and key > self.ceiling:
            return
        known = self.rows.get(key)
        self.rows[key] = row if known is None else known.joined(row)
        if len(self.rows) > self.limit + (self.limit >> 2):
            self.prune()

    def merge(self, other: "Sample[Row]") -> None:
        """Add another sample of the same limit."""
        for key, row in other.rows.items():
            self.add(key, row)
        if other.ceiling is not None and (self.ceiling is None or other.ceiling < self.ceiling):
            self.ceiling = other.ceiling
            self.rows = {key: row for key, row in self.rows.items() if key <= other.ceiling}
        self.prune()

    def prune(self) -> None:
        """Drop mails above the limit. A dropped mail never returns, so every row is a whole mail."""
        if len(self.rows) > self.limit:
            kept = sorted(self.rows)[: self.limit]
            self.ceiling = kept[-1]
            self.rows = {key: self.rows[key] for key in kept}

    @property
    def is_whole(self) -> bool:
        """Whether every mail is in the sample, so that numbers are exact."""
        return self.ceiling is None

    def scaled(self, number: int) -> int:
        """Scale a number of the sample up to all mails."""
        if self.ceiling is None:
            return number
        # The largest of the k smallest hashes estimates the share of the hash space that holds k mails.
        share = int.from_bytes(self.ceiling) + 1
        return (number << (8 * _KEY_BYTES)) // share

    @property
    def error(self) -> float:
        """The relative standard error of the number of mails; 0 while it is exact."""
        return 0.0 if self.ceiling is None else round(1 / max(1, isqrt(self.limit)), 4)

    def values(self) -> Iterator[Row]:
        """Yield the rows in arbitrary order."""
        yield from self.rows.values()


def rename_relays(sample: Sample[Mail], rename: dict[str, str]) -> None:
    """Rename the relays in the failures of mails."""
    for key, mail in sample.rows.items():
        if mail.failures:
            renamed = frozenset((rename.get(relay, relay), cause) for relay, cause in mail.failures)
            sample.rows[key] = mail._replace(failures=renamed)


_Id = tuple[str, str]  # host, queue ID


class Mails:
    """Facts of a block about each mail that the sample may take, joined so that the sample is updated once a mail.

    Args:
        sample: receives them.
        addresses: keep the senders' addresses too.
    """

    def __init__(self, sample: Sample[Mail], *, addresses: bool = False) -> None:
        self._sample = sample
        self._addresses = addresses
        self._forget()

    def arrived(self, hosts: Sequence[str], ids: Sequence[str], sources: Sequence[str]) -> None:
        """Note arrivals."""
        highest, received = self._sample.highest_rank, self._received
        for host, queue_id, source in zip(hosts, ids, sources, strict=True):
            if rank(queue_id) <= highest:
                received[host, queue_id] = max(received.get((host, queue_id), ""), source)

    def active(self, rows: Iterable[tuple[str, str, str, str, str]]) -> None:
        """Note messages in the active queue: host, queue ID, size, sender and number of recipients."""
        highest = self._sample.highest_rank
        for host, queue_id, size, sender, nrcpt in rows:
            if rank(queue_id) <= highest:
                facts = Mail(
                    size=_number(size, -1),
                    sender=domain_of(sender),
                    address=sender[:_MAX_ADDRESS] if self._addresses else "",
                    recipients=_number(nrcpt, 0),
                )
                known = self._active.get((host, queue_id))
                self._active[host, queue_id] = facts if known is None else known.joined(facts)

    def delivered(self, status: str, hosts: Sequence[str], ids: Sequence[str], times: int) -> None:
        """Note attempts with a status."""
        mails = self._sampled(hosts, ids)
        self._by_status[status].update(mails if times == 1 else dict.fromkeys(mails, times))

    def failed(self, hosts: Sequence[str], ids: Sequence[str], failures: Sequence[tuple[str, str]]) -> None:
        """Note failures: name of the relay and cause."""
        for host, queue_id, failure in zip(hosts, ids, failures, strict=True):
            self._failures[host, queue_id].add(failure)

    def settle(self, name_of: Callable[[str], str]) -> None:
        """Add the facts to the sample; `name_of` returns the name under which a relay is counted."""
        active, received, failures = self._active, self._received, self._failures
        sent, deferred, bounced = (counter.get for counter in self._by_status.values())
        for mail in {**received, **active}.keys() | set().union(*self._by_status.values()):
            failed, facts = failures.get(mail), active.get(mail, _UNKNOWN)
            source = received.get(mail)
            self._sample.add(
                key_of(*mail),
                Mail(
                    facts.size,
                    facts.sender,
                    source is not None,
                    source or "",
                    facts.address,
                    facts.recipients,
                    sent(mail, 0),
                    deferred(mail, 0),
                    bounced(mail, 0),
                    frozenset((name_of(relay), cause) for relay, cause in failed) if failed else _NONE,
                ),
            )
        self._forget()

    def _forget(self) -> None:
        self._received: dict[_Id, str] = {}  # → source
        self._active: dict[_Id, Mail] = {}
        self._by_status: dict[str, Counter[_Id]] = {status: Counter() for status in STATUSES}
        self._failures: defaultdict[_Id, set[tuple[str, str]]] = defaultdict(set)

    def _sampled(self, hosts: Sequence[str], ids: Sequence[str]) -> list[_Id]:
        """Return the mails that the sample may take."""
        highest = self._sample.highest_rank
        return [mail for mail in zip(hosts, ids, strict=True) if crc32(mail[1].encode()) <= highest]


_UNKNOWN: Final = Mail()


def _number(printed: str, otherwise: int) -> int:
    return int(printed) if printed.isdigit() and len(printed) <= _MAX_DIGITS else otherwise

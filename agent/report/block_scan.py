"""What one pattern finds in a block of lines, as columns of text.

It walks over the block, passes over lines that count as lines only, and gives a match for each that counts for more.
Which groups are taken of a match is said by `OUTCOME`, `ARRIVAL` and `MAIL`; those of all lines of a kind stand one after
the other in one list, because that takes half as long as a value for each line.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from postward.agent.report.sample import rank
from postward.parsers.blocks import PLAIN, RECEIVED, TLS_SESSION, block_pattern, delivery, queue_active

_LOCAL: Final = r'[^<>"\[\\ \n@]*+'
_DOMAIN: Final = r'[^<>"\[\\ \n@]++'
_BLOCK: Final = block_pattern(
    PLAIN,
    queue_active(rf"(?:{_LOCAL}@(?P<sender>{_DOMAIN})|)"),
    delivery(rf"{_LOCAL}@(?P<domain>{_DOMAIN})"),
    RECEIVED,
    TLS_SESSION,
)


def _groups(*names: str) -> tuple[int, ...]:
    return tuple(_BLOCK.groupindex[name] for name in names)


_STAMP2, _ACTIVE_ID = _groups("stamp2", "active_id")
_TO: Final = _groups("relay_host", "relay_port", "status")
OUTCOME: Final = _groups(
    "stamp1", "stamp2", "host", "queue_id", "domain", "dsn", "reason", "delay", "a", "b", "c", "d"
)
ARRIVAL: Final = {
    "client": _groups("stamp1", "stamp2", "host", "client"),
    "uid": _groups("stamp1", "stamp2", "host", "uid"),
}
MAIL: Final = _groups("host", "active_id", "size", "sender")
_SESSION: Final = _groups("tls_host", "tls_port", "tls", "trust")


class Found:
    """What the pattern finds in a block: the groups of all lines of a kind, one after the other."""

    def __init__(self, highest_rank: int) -> None:
        self._highest_rank = highest_rank
        self.notifications = 0
        self.arrivals: dict[str, list[str]] = {"client": [], "uid": []}
        self.active: list[str] = []
        self.deliveries: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        self.sessions: list[tuple[str, ...]] = []

    def walk(self, text: str) -> Iterator[str]:
        """Gather, and hand out the lines that the pattern does not know."""
        for match in _BLOCK.finditer(text):
            kind = match.lastgroup
            if kind == "active":
                if rank(match[_ACTIVE_ID]) <= self._highest_rank:
                    self.active.extend(match.group(*MAIL))
            elif kind == "reason":
                self.deliveries[match.group(*_TO)].extend(match.group(*OUTCOME))
            elif kind in ARRIVAL:
                self.arrivals[kind].extend(match.group(*ARRIVAL[kind]))
            elif kind == "tls":
                self.sessions.append(match.group(*_SESSION))
            elif kind == "bounce":
                self.notifications += 1
            elif kind in {"rest", "strange"}:
                start = match.start(_STAMP2)  # behind the plain lines of this match, if there are any
                yield text[match.start() if start < 0 else start : match.end()]


def columns(flat: list[str], width: int) -> list[list[str]]:
    """The groups of a kind, a list for each."""
    return [flat[start::width] for start in range(width)]

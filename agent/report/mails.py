"""What a block tells of each mail, on its way to the sample."""

from collections import Counter, defaultdict
from typing import Final

from postward.agent.report.block_scan import MAIL, columns
from postward.agent.report.counter import ReportCounting
from postward.agent.report.sample import Mail, key_of

_Id = tuple[str, str]  # host, queue ID


class Mails:
    """What a block tells of each mail that the sample may take: joined here, so that the sample is asked once a mail."""

    def __init__(self, highest_rank: int, flat: list[str]) -> None:
        self.highest_rank = highest_rank
        self.received: set[_Id] = set()
        self.by_status: dict[str, Counter[_Id]] = {
            "sent": Counter(),
            "deferred": Counter(),
            "bounced": Counter(),
        }
        self.failures: defaultdict[_Id, set[tuple[str, str]]] = defaultdict(set)
        self.active: dict[_Id, tuple[int, str]] = {}
        for host, queue_id, size, sender in zip(*columns(flat, len(MAIL)), strict=True):
            facts = (int(size), sender.lower() if sender else "<>")
            known = self.active.get((host, queue_id))
            if known is None or known < facts:
                self.active[host, queue_id] = facts

    def settle(self, counting: ReportCounting) -> None:
        """Put it into the tally's sample."""
        tally, sample = counting.tally, counting.tally.mails
        active, received, failures = self.active, self.received, self.failures
        sent, deferred, bounced = (counter.get for counter in self.by_status.values())
        for mail in received.union(active, *self.by_status.values()):
            size, sender = active.get(mail, _UNKNOWN)
            failed = failures.get(mail)
            row = (
                size,
                sender,
                mail in received,
                sent(mail, 0),
                deferred(mail, 0),
                bounced(mail, 0),
                frozenset((tally.relay(relay), cause) for relay, cause in failed) if failed else _NEVER,
            )
            sample.add(key_of(*mail), _new(Mail, row))


_UNKNOWN: Final = (-1, "")
_NEVER: Final[frozenset[tuple[str, str]]] = frozenset()
_new: Final = tuple.__new__

"""What a process of Postfix said before the outcome of a delivery: it tells the causes of one and the same outcome apart.

Bounded: the last few lines of the last few processes. What was said before a former delivery is forgotten with the next
clue, but for what holds for the life of a process.
"""

import re
from collections import OrderedDict, deque
from typing import NamedTuple

from postward.agent.incidents.evidence import line_of
from postward.parsers import Event, Record
from postward.parsers import events as ev

_MAX_PROCESSES = 256
_MAX_CLUES = 8
_TLS_FOR_OTHERS = "tlsproxy"  # what it says of a server concerns whichever smtp(8) talks to that server
# What a process finds out when it starts, and says once in its life.
_SAID_ONCE = re.compile(r"disabling TLS|chain file")

CLUES = (
    ev.TlsFailed, ev.TlsLibraryProblem, ev.CertificateNotVerified, ev.TlsDisabled, ev.WrapperModeNeeded, ev.SaslFailed,
    ev.MechanismsUnsupported, ev.TableUnavailable, ev.TableProblem, ev.LookupFailed, ev.TableOutdated, ev.NameLookupProblem,
    ev.RelayhostProblem, ev.ConnectFailed, ev.BadParameter, ev.ConfigurationProblem, ev.TransportUnavailable, ev.LoopDetected,
    ev.Problem,
)  # fmt: skip


class ContextLine(NamedTuple):
    """A line that was said before.

    Attributes:
        text: its text.
        peer: the server that it is about, if it is about one.
        line: the whole of it, as evidence.
    """

    text: str
    peer: str | None
    line: str


class _Process:
    __slots__ = ("clues", "delivered")

    def __init__(self) -> None:
        self.clues: deque[ContextLine] = deque(maxlen=_MAX_CLUES)
        self.delivered = False


class Clues:
    """What the processes said."""

    def __init__(self) -> None:
        self._processes: OrderedDict[tuple[str, str, int | None], _Process] = OrderedDict()

    def add(self, record: Record, event: Event) -> None:
        """Remember a line."""
        key = _key(record)
        process = self._processes.pop(key, None) or _Process()
        if process.delivered:
            kept = [clue for clue in process.clues if _SAID_ONCE.search(clue.text)]
            process.clues = deque(kept, maxlen=_MAX_CLUES)
            process.delivered = False
        process.clues.append(ContextLine(record.text, getattr(event, "peer", None), line_of(record)))
        self._processes[key] = process
        if len(self._processes) > _MAX_PROCESSES:
            self._processes.popitem(last=False)

    def before(self, record: Record, relay: str) -> tuple[list[ContextLine], bool]:
        """What was said before this delivery and is not about another server; and whether it is the first one since."""
        process = self._processes.get(_key(record))
        if process is None:
            return self._said_for(record, relay), False
        first, process.delivered = not process.delivered, True
        own = [clue for clue in process.clues if _about(clue.peer, relay)]
        return own or self._said_for(record, relay), first

    def _said_for(self, record: Record, relay: str) -> list[ContextLine]:
        """The last that tlsproxy(8) said of this server."""
        process = self._processes.get((record.instance, _TLS_FOR_OTHERS, None))
        return [clue for clue in process.clues if clue.peer == relay][-1:] if process is not None else []

    def all_before(self, record: Record) -> list[ContextLine]:
        """Also what is about other servers: those that were tried first."""
        process = self._processes.get(_key(record))
        return list(process.clues) if process is not None else []


def _key(record: Record) -> tuple[str, str, int | None]:
    return record.instance, record.daemon, None if record.daemon == _TLS_FOR_OTHERS else record.pid


def _about(peer: str | None, relay: str) -> bool:
    return peer is None or "[" not in relay or "[" not in peer or peer == relay

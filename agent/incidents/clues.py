"""What a process of Postfix said before the outcome of a delivery: it tells the causes of one and the same outcome apart.

Bounded: the last few lines of the last few processes. What was said before a former delivery is forgotten with the next
clue, but for what holds for the life of a process.
"""

from collections import OrderedDict, deque
from typing import NamedTuple

from agent.incidents.evidence import line_of
from parsers import Event, Record
from parsers import events as ev

_MOST_PROCESSES = 256
_MOST_CLUES = 8

CLUES = (
    ev.TlsFailed, ev.TlsLibraryProblem, ev.CertificateNotVerified, ev.TlsDisabled, ev.WrapperModeNeeded, ev.SaslFailed,
    ev.MechanismsUnsupported, ev.TableUnavailable, ev.TableProblem, ev.LookupFailed, ev.TableOutdated, ev.NameLookupProblem,
    ev.RelayhostProblem, ev.ConnectFailed, ev.BadParameter, ev.ConfigurationProblem, ev.TransportUnavailable, ev.LoopDetected,
    ev.Problem,
)  # fmt: skip


class Clue(NamedTuple):
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
        self.clues: deque[Clue] = deque(maxlen=_MOST_CLUES)
        self.delivered = False


class Clues:
    """What the processes said."""

    def __init__(self) -> None:
        self._processes: OrderedDict[tuple[str, str, int | None], _Process] = OrderedDict()

    def add(self, record: Record, event: Event) -> None:
        """Remember a line."""
        key = (record.instance, record.daemon, record.pid)
        process = self._processes.pop(key, None) or _Process()
        if process.delivered:
            kept = [clue for clue in process.clues if "disabling TLS" in clue.text]
            process.clues = deque(kept, maxlen=_MOST_CLUES)
            process.delivered = False
        process.clues.append(Clue(record.text, getattr(event, "peer", None), line_of(record)))
        self._processes[key] = process
        if len(self._processes) > _MOST_PROCESSES:
            self._processes.popitem(last=False)

    def before(self, record: Record, relay: str) -> tuple[list[Clue], bool]:
        """What was said before this delivery and is not about another server; and whether it is the first one since."""
        process = self._processes.get((record.instance, record.daemon, record.pid))
        if process is None:
            return [], False
        first, process.delivered = not process.delivered, True
        return [clue for clue in process.clues if _about(clue.peer, relay)], first

    def all_before(self, record: Record) -> list[Clue]:
        """Also what is about other servers: those that were tried first."""
        process = self._processes.get((record.instance, record.daemon, record.pid))
        return list(process.clues) if process is not None else []


def _about(peer: str | None, relay: str) -> bool:
    return peer is None or "[" not in relay or "[" not in peer or peer == relay

"""The lines of a Postfix process before a delivery: they separate the causes of one and the same outcome.

Bounded: the last lines of the last processes. Lines before a delivery are forgotten with the next line after it,
except those that hold for the life of a process.
"""

import re
from collections import OrderedDict, deque
from typing import Final, NamedTuple

from postward.agent.incidents.evidence import MAX_CHARACTERS, line_of
from postward.agent.incidents.model import Server
from postward.parsers import Event, Record
from postward.parsers import events as ev
from postward.parsers.scrub import printable, scrub
from postward.parsers.strangers import own_words

# A complaint of another daemon is over when any mail leaves: all mail passes the other daemons.
DELIVERY_AGENTS: Final = frozenset({"smtp", "lmtp", "local", "virtual", "pipe", "discard", "error", "retry"})
_MAX_PROCESSES: Final = 256
_MAX_LINES: Final = 8  # of one process
_TLS_PROXY: Final = "tlsproxy"  # its lines concern every smtp(8) that talks to the server they name
# Their lines concern every process that looks up a proxy: table.
_TABLE_PROXIES: Final = ("proxymap", "proxywrite")
# Logged once in the life of a process, when it starts.
_ONCE_PER_PROCESS: Final = re.compile(r"disabling TLS|chain file|entry_point\(\)")
# Lines without the severity of a complaint that say why a delivery fails.
_TELLING: Final = re.compile(r"Host offered STARTTLS|entry_point\(\): failed|SSL3 alert")
_TELLING_EVENTS: Final = (ev.StartTlsOffered, ev.TlsNote, ev.Verbose)
# Lines of SASL plug-ins, which log under a name of their own.
PLUGIN_LINE: Final = re.compile(
    r"(?:\[sasl-xoauth2\] |\bsasl-xoauth2: |\b(?:sasl-xoauth2|pluginviewer|sasl2?|saslauthd|libsasl2?)(?:\[\d+\])?: )"
    r".*(?:fail|error|exception|unable|cannot|missing|invalid|exceeded)",
    re.IGNORECASE,
)
_MAX_PLUGIN_LINES: Final = 3

CONTEXT_EVENTS: Final = (
    ev.TlsFailed,
    ev.TlsLibraryProblem,
    ev.CertificateNotVerified,
    ev.TlsDisabled,
    ev.WrapperModeNeeded,
    ev.SaslFailed,
    ev.MechanismsUnsupported,
    ev.TableUnavailable,
    ev.TableProblem,
    ev.LookupFailed,
    ev.TableOutdated,
    ev.NameLookupProblem,
    ev.RelayhostProblem,
    ev.ConnectFailed,
    ev.BadParameter,
    ev.ConfigurationProblem,
    ev.TransportUnavailable,
    ev.LoopDetected,
    ev.Problem,
)


def is_context(record: Record, event: Event) -> bool:
    """Whether a line can say why a later delivery of the same process fails."""
    return isinstance(event, CONTEXT_EVENTS) or (
        isinstance(event, _TELLING_EVENTS) and _TELLING.search(own_words(record.text, event)) is not None
    )


def is_complaint(record: Record, event: Event) -> bool:
    """Whether a line says that something fails, also if it is not the outcome of a delivery."""
    return isinstance(event, ev.Attempt | ev.WrapperModeNeeded | ev.TlsDisabled) or (
        record.severity != "info" and not isinstance(event, ev.ClientVerdict)
    )


class ContextLine(NamedTuple):
    """An earlier line of a process.

    Attributes:
        daemon: the daemon that logged it.
        text: its text, without the words of strangers.
        peer: `host[address]:port` of the server that it is about; None if it is about none.
        line: the whole line, as evidence.
    """

    daemon: str
    text: str
    peer: str | None
    line: str

    @property
    def is_complaint(self) -> bool:
        """Whether it is a warning or worse, and not a failed connection."""
        return re.search(r"\]: (?:warning|error|fatal|panic): ", self.line) is not None

    @property
    def server(self) -> Server | None:
        """The server that the line names."""
        return Server.of_peer(self.peer) or Server.in_text(self.text)


_Key = tuple[str, str, int | None]  # instance, daemon, process


class _Process:
    __slots__ = ("delivered", "lines")

    def __init__(self) -> None:
        self.lines: deque[ContextLine] = deque(maxlen=_MAX_LINES)
        self.delivered = False


class ProcessContext:
    """The recent lines of all processes."""

    def __init__(self) -> None:
        self._processes: OrderedDict[_Key, _Process] = OrderedDict()
        self._undelivered: set[_Key] = set()
        self._plugin_lines: deque[str] = deque(maxlen=_MAX_PLUGIN_LINES)

    @property
    def is_waiting(self) -> bool:
        """Whether a delivery agent has logged lines since its last delivery."""
        return bool(self._undelivered)

    def is_first(self, instance: str, daemon: str, pid: str | int | None) -> bool:
        """Whether a delivery of this process would be its first since it logged lines."""
        return bool(self._undelivered) and (instance, daemon, pid and int(pid)) in self._undelivered

    def add_plugin(self, line: str) -> ContextLine | None:
        """Remember and return a failure that a SASL plug-in logs; None for any other line."""
        if not ("sasl" in line or "pluginviewer" in line) or not PLUGIN_LINE.search(line):
            return None
        self._plugin_lines.append(printable(scrub(line))[:MAX_CHARACTERS])
        return self.of_plugins[-1]

    @property
    def of_plugins(self) -> list[ContextLine]:
        """The last lines of SASL plug-ins."""
        return [ContextLine("", line, None, line) for line in self._plugin_lines]

    def add(self, record: Record, event: Event) -> None:
        """Remember a line."""
        key = _key(record)
        process = self._processes.pop(key, None) or _Process()
        if process.delivered:
            kept = [line for line in process.lines if _ONCE_PER_PROCESS.search(line.text)]
            process.lines = deque(kept, maxlen=_MAX_LINES)
            process.delivered = False
        process.lines.append(
            ContextLine(
                record.daemon, own_words(record.text, event), getattr(event, "peer", None), line_of(record)
            )
        )
        self._processes[key] = process
        if record.daemon in DELIVERY_AGENTS:
            self._undelivered.add(key)
        if len(self._processes) > _MAX_PROCESSES:
            self._undelivered.discard(self._processes.popitem(last=False)[0])

    def before(self, record: Record, relay: str) -> tuple[list[ContextLine], bool]:
        """Return the lines before this delivery that may be about its server, and whether it is the first since."""
        process = self._processes.get(_key(record))
        if process is None:
            return self._from_tls_proxy(record, relay), False
        first, process.delivered = not process.delivered, True
        self._undelivered.discard(_key(record))
        own = [line for line in process.lines if _is_about(line.peer, relay)]
        return own or self._from_tls_proxy(record, relay), first

    def all_before(self, record: Record) -> list[ContextLine]:
        """Return the lines before this delivery, including those about servers that were tried first."""
        process = self._processes.get(_key(record))
        own = list(process.lines) if process is not None else []
        return [*self._from_table_proxies(record), *own] if "proxy:" in record.text else own

    def _from_table_proxies(self, record: Record) -> list[ContextLine]:
        """Return the last line of each proxymap(8)."""
        processes = (self._processes.get((record.instance, daemon, None)) for daemon in _TABLE_PROXIES)
        return [process.lines[-1] for process in processes if process is not None and process.lines]

    def _from_tls_proxy(self, record: Record, relay: str) -> list[ContextLine]:
        """Return the last line of tlsproxy(8) about this server."""
        process = self._processes.get((record.instance, _TLS_PROXY, None))
        return [line for line in process.lines if line.peer == relay][-1:] if process is not None else []


def _key(record: Record) -> _Key:
    is_shared = record.daemon == _TLS_PROXY or record.daemon in _TABLE_PROXIES
    return record.instance, record.daemon, None if is_shared else record.pid


def _is_about(peer: str | None, relay: str) -> bool:
    return peer is None or "[" not in relay or "[" not in peer or peer == relay

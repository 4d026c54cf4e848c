"""An incident: one thing that is wrong at one place, from its first sign to the proof that it is over.

Plain data that survives a restart as JSON. Bounded: an incident keeps a few lines of evidence and counts mails and
senders up to a limit. `IncidentRow` is the form in which commands, the status page, the API and web hooks see it.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, TypedDict

from postward.agent.senders.share import WINDOWS, Share, ShareRow
from postward.agent.stored import MAX_MOMENT, MAX_TEXT, Form
from postward.parsers import Cause
from postward.parsers.scrub import printable

MAX_MAILS: Final = 512  # queue IDs
MAX_SENDERS: Final = 64  # also the limit for domains
MAX_EVIDENCE: Final = 5  # lines

# Host names that are safe in a shell command: remote parties choose some of them.
_NAME: Final = r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]{0,254})"
_SAFE_NAME: Final = re.compile(_NAME)
_PEER: Final = re.compile(rf"{_NAME}\[(?P<address>[0-9a-fA-F.:]+)\]:(?P<port>\d+)")
_SAFE_SERVER: Final = re.compile(rf"{_NAME}\[[0-9a-fA-F.:]*\]:\d*")
_CONNECTS_TO: Final = re.compile(rf"\bto {_PEER.pattern}")
# smtp/smtp_addr.c
_LOOKS_UP: Final = re.compile(rf"(?:Name service error for name=|unable to look up host ){_NAME}(?![^\s:])")


class Certainty(StrEnum):
    """How sure a diagnosis is."""

    CERTAIN = "certain"  # the lines, or a fact of the host, identify the cause
    LIKELY = "likely"  # one fact is left to check
    AMBIGUOUS = "ambiguous"  # several causes fit, and no known fact separates them


class Effect(StrEnum):
    """The effect of a symptom on mail, worst first."""

    LOST = "lost"  # Postfix gives up mail that has no fault of its own
    DELAYED = "delayed"  # mail waits
    BLIND = "blind"  # Postward does not observe the mail: whether it goes out is not known
    DEGRADED = "degraded"  # mail still goes out, and Postward does not do all of its work
    REJECTED = "rejected"  # single mails come back for their recipient, content or size; the host is healthy
    NOTE = "note"  # mail still goes out


SEVERITY: Final[Mapping[Effect, int]] = {
    effect: place for place, effect in enumerate(Effect)
}  # 0 is the worst
Key = tuple[str, str, str]  # symptom, instance, place


@dataclass(frozen=True, slots=True)
class Server:
    """The server that an incident is about; "" for parts that the log does not name.

    Only parts that are safe in a shell command are kept, because remedies and checks contain them.
    """

    host: str
    address: str = ""
    port: str = ""

    @property
    def is_safe(self) -> bool:
        """Whether all parts may be put into a shell command."""
        return _SAFE_SERVER.fullmatch(f"{self.host}[{self.address}]:{self.port}") is not None

    @classmethod
    def of_peer(cls, peer: str | None) -> "Server | None":
        """Return the server of `host[address]:port`; None if a part is missing or unsafe."""
        match = _PEER.fullmatch(peer or "")
        return cls(match["host"], match["address"], match["port"]) if match else None

    @classmethod
    def in_text(cls, text: str) -> "Server | None":
        """Return the server that Postfix connects to, or could not look up, in the text of a line; else None."""
        if match := _CONNECTS_TO.search(text):
            return cls(match["host"], match["address"], match["port"])
        match = _LOOKS_UP.search(text)
        return cls(match["host"]) if match else None


@dataclass(slots=True, eq=False)
class Incident:
    """One thing that is wrong, with its place, time and evidence.

    Attributes:
        symptom: identifier in the catalogue.
        instance: name of the Postfix instance.
        place: name of the relay in the settings; else host and port of the next hop, a daemon, or "this host".
        relay: label of the relay: a name in the settings, other, none or local.
        daemon: the daemon that logged the first line.
        cause: cause of the failed deliveries; None if no delivery failed.
        effect: what the symptom does to mail.
        first: time of the first line, in seconds since the epoch.
        last: time of the latest line.
        attempts: number of lines, repeats included.
        lost: number of mails that Postfix gave up though they had no fault of their own.
        mails: queue IDs of the mails concerned, at most MAX_MAILS.
        senders: their envelope senders, at most MAX_SENDERS; "" is the empty sender.
        domains: domains of their recipients, at most MAX_SENDERS.
        evidence: the lines that prove it, scrubbed, with mail addresses.
        server: the server that the latest line names; None if no line names one.
        daemons: the daemons that logged evidence.
        opened: number of times it opened, with its former periods of the last hour.
        confirmed: whether it is announced; a single failed attempt may pass with the next one.
        closed: time of the proof that it is over; None while it is open.
        closed_by: that proof, as text.
        share: the source of most mail before the latest line, if the symptom can come from too much mail and one stands out.
    """

    symptom: str
    instance: str
    place: str
    relay: str
    daemon: str
    cause: str | None
    effect: Effect
    first: float
    last: float
    attempts: int = 0
    lost: int = 0
    mails: dict[str, None] = field(default_factory=dict)
    senders: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    server: Server | None = None
    daemons: set[str] = field(default_factory=set)
    opened: int = 1
    confirmed: bool = True
    closed: float | None = None
    closed_by: str = ""
    share: Share | None = None

    @property
    def key(self) -> Key:
        """The subject: two incidents with the same key are the same."""
        return self.symptom, self.instance, self.place

    @property
    def worst(self) -> Effect:
        """The effect so far: a delay that became a bounce is a loss."""
        return Effect.LOST if self.lost else self.effect

    @property
    def rank(self) -> tuple[int, int, float]:
        """Sort key, worst first: by effect, then by number of attempts, then by age."""
        return SEVERITY[self.worst], -self.attempts, self.first

    def add_evidence(self, line: str, daemon: str = "", server: Server | None = None) -> None:
        """Keep a line as evidence, with its daemon and server: the first lines stay, the last one is replaced."""
        if daemon:
            self.daemons.add(daemon)
        self.server = server or self.server
        if line in self.evidence:
            return
        if len(self.evidence) >= MAX_EVIDENCE:
            self.evidence.pop()
        self.evidence.append(line)

    def absorb(self, other: "Incident") -> None:
        """Take over the counts and lines of an incident that follows from this one."""
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.attempts += other.attempts
        self.lost += other.lost
        for line in other.evidence:
            self.add_evidence(line)
        self.daemons |= other.daemons
        for queue_id in other.mails:
            self._add_mail(queue_id)
        for items, others in ((self.senders, other.senders), (self.domains, other.domains)):
            items += [item for item in others if item not in items][: MAX_SENDERS - len(items)]

    def reopen(self, period: "Incident") -> None:
        """Open this closed incident again, with the counts and lines of its new period."""
        self.absorb(period)
        self.opened, self.closed, self.closed_by = period.opened, None, ""
        self.relay = self.relay if period.relay == "none" else period.relay
        self.cause, self.server = period.cause or self.cause, period.server or self.server
        self.share = period.share or self.share

    def add_mail(self, queue_id: str, sender: str | None, domain: str) -> None:
        """Note a mail concerned; `sender` is None if it is not known."""
        if queue_id:
            self._add_mail(queue_id)
        for items, item in ((self.senders, sender), (self.domains, domain)):
            if item is not None and len(items) < MAX_SENDERS and item not in items:
                items.append(item)

    def _add_mail(self, queue_id: str) -> None:
        if len(self.mails) < MAX_MAILS:
            self.mails[queue_id] = None

    def to_dict(self) -> dict[str, Any]:
        """Return the incident as JSON values, for the checkpoint."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "mails": list(self.mails),
            "senders": list(self.senders),
            "domains": list(self.domains),
            "evidence": list(self.evidence),
            "server": None if self.server is None else asdict(self.server),
            "daemons": sorted(self.daemons),
            "share": None if self.share is None else asdict(self.share),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Incident":
        """Return the incident that `to_dict` described, printable and within its limits. Raises ValueError for other data."""
        saved = _SAVED.check(data)
        mails = _MAILS.check(saved.get("mails", []))[:MAX_MAILS]
        read = _FORM.check(saved | {"mails": dict.fromkeys(mails)})
        if not all(0 <= moment <= MAX_MOMENT for moment in (read.first, read.last, read.closed or 0)):
            raise ValueError("times must be seconds since 1970")
        for name in ("symptom", "instance", "place", "relay", "daemon", "closed_by"):
            setattr(read, name, printable(getattr(read, name))[:MAX_TEXT])
        read.evidence = [printable(line)[:MAX_TEXT] for line in read.evidence[:MAX_EVIDENCE]]
        read.cause = None if read.cause is None else Cause(read.cause).value
        if read.server is not None and not read.server.is_safe:
            read.server = None
        if read.share is not None:
            is_valid = read.share.window in WINDOWS and 0 <= read.share.until <= MAX_MOMENT
            read.share = read.share.printable() if is_valid else None
        del read.senders[MAX_SENDERS:], read.domains[MAX_SENDERS:]
        return read


_FORM: Final[Form[Incident]] = Form(Incident)
_SAVED: Final[Form[dict[str, Any]]] = Form(dict[str, Any])
_MAILS: Final[Form[list[str]]] = Form(list[str])


def is_safe_name(name: str) -> bool:
    """Whether a host or domain name may be put into a shell command."""
    return _SAFE_NAME.fullmatch(name) is not None


class Change(NamedTuple):
    """An incident opened or closed."""

    kind: Literal["opened", "closed"]
    incident: Incident


class CauseRow(TypedDict):
    """A possible cause in JSON.

    Keys:
        id: identifier in the catalogue.
        what: the cause as text.
        setting: the setting to blame, as the settings file names it.
        parameter: the parameter, table or file of Postfix.
        remedy: the command or the edit.
        check: what to check to be sure; "" if nothing is left to check.
        where: the place on this host where lint found it; "" if lint did not.
    """

    id: str
    what: str
    setting: str
    parameter: str
    remedy: str
    check: str
    where: str


class IncidentRow(TypedDict):
    """An incident with its diagnosis in JSON.

    Times are seconds since the epoch. Mail addresses are masked unless the caller asks for them. `host` is the host whose
    log shows the incident, in a log of several hosts; "" for this host. `sender` is the source of most mail, as in `Incident`.
    """

    host: str

    symptom: str
    title: str
    effect: str
    relay: str
    place: str
    postfix_instance: str
    daemon: str
    cause: str | None
    first: float
    last: float
    closed: float | None
    closed_by: str
    attempts: int
    mails: int
    lost: int
    certainty: str
    causes: list[CauseRow]
    evidence: list[str]
    sender: ShareRow | None

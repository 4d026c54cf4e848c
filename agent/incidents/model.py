"""An incident: one thing that is wrong at one place, from its first sign to the proof that it is over.

Plain data that survives a restart as JSON. Bounded: evidence is a few lines, mails and envelopes are counted up to a limit.
"""

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from postward.agent.incidents.symptom import Effect

MOST_MAILS = 512  # queue IDs remembered; more are "512 or more"
MOST_SENDERS = 64
MOST_EVIDENCE = 5  # lines
# Names that may stand in a command that somebody copies: strangers choose some of them.
_PLAIN = r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,254})"
_SERVER = re.compile(rf"(?:relay=|connect to |to ){_PLAIN}\[([0-9a-fA-F.:]+)\]:(\d+)")
_LOOKED_UP = re.compile(rf"(?:Name service error for name=|unable to look up host ){_PLAIN}(?![^\s:])")
_DOMAIN = re.compile(_PLAIN)


@dataclass(slots=True)
class Incident:
    """What is wrong, where, since when.

    Attributes:
        symptom: of the catalogue.
        instance: Postfix's instance.
        place: the relay's name in the settings; or the host and port of the next hop, the daemon, or "this host".
        relay: the label of the relay: a name of the settings, other, none or local.
        daemon: the daemon that says it.
        cause: of the failed deliveries; None where none failed.
        first: when it was first seen, in seconds since the epoch.
        last: when it was last seen.
        attempts: how often.
        lost: mails that Postfix gave up though nothing was wrong with them.
        mails: queue IDs of the mails concerned, at most MOST_MAILS.
        senders: their envelope senders, at most MOST_SENDERS; "" is the empty sender.
        domains: the domains of their recipients, at most MOST_SENDERS.
        evidence: the lines that prove it, scrubbed, with addresses.
        opened: how often it opened: more than once if it came back soon.
        closed: when the proof came that it is over; None while it is open.
        closed_by: that proof, in words.
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
    mails: list[str] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    opened: int = 1
    closed: float | None = None
    closed_by: str = ""

    @property
    def key(self) -> str:
        """What it is about: two incidents of one key are the same."""
        return key_of(self.symptom, self.instance, self.place)

    @property
    def worst(self) -> Effect:
        """What it does to mail, as it turned out: a delay that became a bounce is a loss."""
        return Effect.LOST if self.lost else self.effect

    @property
    def rank(self) -> tuple[int, int, float]:
        """Worst first: mail that is lost above everything, then what concerns most attempts."""
        return list(Effect).index(self.worst), -self.attempts, self.first

    @property
    def server(self) -> dict[str, str]:
        """HOST, ADDRESS and PORT of the server and the DOMAIN of the mail, as far as the lines tell."""
        (domain,) = self.domains if len(self.domains) == 1 else ("",)
        known = {"DOMAIN": domain} if _DOMAIN.fullmatch(domain) else {}
        for line in reversed(self.evidence):
            if match := _SERVER.search(line):
                return known | {"HOST": match[1], "ADDRESS": match[2], "PORT": match[3]}
            if match := _LOOKED_UP.search(line):
                return known | {"HOST": match[1]}
        return known

    def show(self, line: str) -> None:
        """Add a line of evidence: the first few, and the last one."""
        if line in self.evidence:
            return
        if len(self.evidence) >= MOST_EVIDENCE:
            self.evidence.pop()
        self.evidence.append(line)

    def concerns(self, mail: str, sender: str | None, domain: str) -> None:
        """Note a mail."""
        if mail and mail not in self.mails and len(self.mails) < MOST_MAILS:
            self.mails.append(mail)
        if sender is not None and sender not in self.senders and len(self.senders) < MOST_SENDERS:
            self.senders.append(sender)
        if domain not in self.domains and len(self.domains) < MOST_SENDERS:
            self.domains.append(domain)

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Incident":
        """Raises TypeError, ValueError, KeyError for what `as_json` did not make."""
        return cls(**data | {"effect": Effect(data["effect"])})


def key_of(symptom: str, instance: str, place: str) -> str:
    """The key of an incident."""
    return f"{symptom} {instance} {place}"


class Change(NamedTuple):
    """An incident opened or closed."""

    kind: Literal["opened", "closed"]
    incident: Incident

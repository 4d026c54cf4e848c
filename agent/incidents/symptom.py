"""The types of the catalogue: a symptom, and the causes that it can have.

A symptom is what the log (or a probe, the queue, the enforcer) shows; a candidate is one cause of it, with the setting
responsible and what mends it. A symptom with one candidate is a diagnosis; with several, facts of the host decide, or
they are told as what they are: ambiguous. A wrong guess is worse than no guess.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from postward.config.lint.facts import HostFacts
from postward.parsers import Cause


class Certainty(StrEnum):
    """How sure a diagnosis is."""

    CERTAIN = "certain"  # the lines, or a fact of the host, identify the cause
    LIKELY = "likely"  # one cheap fact is left to look at
    AMBIGUOUS = "ambiguous"  # the same lines have several causes, and no fact here separates them


class Effect(StrEnum):
    """What a symptom does to mail, worst first."""

    LOST = "lost"  # Postfix gives the mail up though nothing is wrong with it
    DELAYED = "delayed"  # mail waits
    REJECTED = "rejected"  # single mails come back: recipient, content, size. Nothing of this host is broken
    NOTE = "note"  # mail goes out all the same


class Resolution(StrEnum):
    """What closes an incident: a success on the same path."""

    SENT = "sent"  # a mail sent by the same relay, or by the same daemon
    SAME_SENDER = "same-sender"  # the same mail, or one of the same sender
    LEFT = "left"  # any mail that left this host
    SUBMITTED = "submitted"  # a program of this host submitted a mail
    ACCEPTED = "accepted"  # a client's mail was accepted
    STARTED = "started"  # Postfix started or was reloaded, and did not say it again
    CONDITION = "condition"  # whoever told of it says that it is over


LOGIN_TABLE = "the password table (smtp_sasl_password_maps)"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a relay said when the agent last talked to it.

    Attributes:
        mechanisms: of AUTH, in capitals; None if it did not come so far.
    """

    mechanisms: frozenset[str] | None = None

    @classmethod
    def of(cls, seen: Any) -> "Offer":
        """From what the agent remembers of a relay (`probing/watches.py`); empty for anything else."""
        mechanisms = seen.get("mechanisms") if isinstance(seen, dict) else None
        return cls(frozenset(map(str, mechanisms))) if isinstance(mechanisms, list) else cls()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible cause.

    Attributes:
        id: its name, stable.
        what: the cause in plain words.
        setting: the setting responsible, in the words of the settings file.
        parameter: the parameter, table or file of Postfix.
        remedy: the command or edit; `{ca_file}`, `{install_sasl}`, `{reload}`, `{restart}` and the like stand for what holds on
            this host (`diagnosis.py`).
        look: what to look at, where nobody has looked yet.
        proofs: rules of lint whose finding proves it, and whose silence, once looked, speaks against it.
        signs: other symptoms that prove it while they last.
        hints: rules of lint whose finding proves it, and whose silence says nothing.
        only_if: rules of lint whose silence, once looked, speaks against it, and whose finding proves nothing.
        needs: parameters of which main.cf or master.cf must set one; where none is set, it is not this.
        elsewhere: mail goes to another host than any relay of the configuration: proved where that host stands in one of `needs`,
            refuted where it went to a relay.
        host: what else of a host, and of the domains that the mail was for, proves it (True), speaks against it (False), or says
            nothing (None).
        proved_by: what the relay offers that proves it.
        refuted_by: what the relay offers that speaks against it.
    """

    id: str
    what: str
    setting: str
    parameter: str
    remedy: str
    check: str = ""
    proofs: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    only_if: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    elsewhere: bool = False
    host: Callable[[HostFacts, Collection[str]], bool | None] | None = None
    proved_by: Callable[[Offer], bool] | None = None
    refuted_by: Callable[[Offer], bool] | None = None


@dataclass(frozen=True, slots=True)
class Symptom:
    """What is seen.

    Attributes:
        id: its name, stable: a label.
        title: a headline, without a full stop.
        candidates: the causes that it can have, likeliest first.
        certainty: of the only candidate, before any fact of the host is looked at.
        cause: the failed delivery's cause, for symptoms of deliveries.
        daemon: the daemons that say it, as a pattern; "" for all.
        says: what the reason, or the line, says; None where the cause is enough.
        clue: what an earlier line of the same process says.
        effect: what it does to mail.
        proof: what closes it.
    """

    id: str
    title: str
    candidates: tuple[Candidate, ...]
    certainty: Certainty = Certainty.CERTAIN
    cause: Cause | None = None
    daemon: str = ""
    says: re.Pattern[str] | None = None
    clue: re.Pattern[str] | None = None
    effect: Effect = Effect.DELAYED
    proof: Resolution = Resolution.SENT

    def __post_init__(self) -> None:
        """A symptom with several causes cannot be certain of one."""
        if len(self.candidates) > 1:
            object.__setattr__(self, "certainty", Certainty.AMBIGUOUS)


def words(pattern: str) -> re.Pattern[str]:
    """A pattern of the catalogue: servers' words come in any case."""
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)

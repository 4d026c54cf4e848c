"""The types of the catalogue: a symptom, and the causes that it can have.

A symptom is a sign in the log, a probe, the queue or the enforcer. A candidate is one possible cause of it, with the
setting to blame and the remedy. A candidate is certain only by words of Postfix that name it (`certain_by`) or by a
fact of the host. A candidate that is alone in its row is likely at most without them.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from postward.agent.incidents.model import Certainty, Effect
from postward.config.lint.facts import HostFacts
from postward.parsers import Cause


class Resolution(StrEnum):
    """The success on the same path that closes an incident."""

    SENT = "sent"  # a mail sent through the same relay, or by the same daemon
    SAME_SENDER = "same-sender"  # the same mail, or one from the same sender
    LEFT = "left"  # any mail that left this host
    SUBMITTED = "submitted"  # a program on this host submitted a mail
    READ = "read"  # main.cf was read: a mail was submitted, or Postfix started or was reloaded
    ACCEPTED = "accepted"  # a client's mail was accepted
    STARTED = "started"  # Postfix started or was reloaded, and did not log the line again
    CONDITION = "condition"  # the part of the agent that reported the condition says that it is over


class Changes(StrEnum):
    """The change that a remedy makes on this host."""

    READS = "reads"  # nothing
    RESTARTS = "restarts"  # starts, stops or reloads a program
    WRITES = "writes"  # the configuration, a table or its index, the owner of a file
    OPENS = "opens"  # gives access to more clients
    LOWERS = "lowers"  # checks less: certificates, encryption, filters
    STRANDS = "strands"  # can leave mail behind where no queue manager looks for it

    @property
    def is_harmful(self) -> bool:
        """Whether the remedy of a wrong guess does harm: it is shown only under a certain cause."""
        return self in {Changes.OPENS, Changes.LOWERS, Changes.STRANDS}


LOGIN_TABLE: Final = "the password table (smtp_sasl_password_maps)"


@dataclass(frozen=True, slots=True)
class Offer:
    """The offer of a relay in the agent's last conversation with it.

    Attributes:
        mechanisms: AUTH mechanisms in capitals; None if the conversation did not reach that step.
    """

    mechanisms: frozenset[str] | None = None

    @classmethod
    def of(cls, snapshot: Any) -> "Offer":
        """Return the offer in a relay's saved state (`relay/changes.py`); an empty one for other data."""
        mechanisms = snapshot.get("mechanisms") if isinstance(snapshot, dict) else None
        return cls(frozenset(map(str, mechanisms))) if isinstance(mechanisms, list) else cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One possible cause.

    The fields after `check` are the facts that confirm it or rule it out. All of them are optional; a fact that could
    not be read does neither.

    Attributes:
        id: stable identifier.
        what: the cause in plain text.
        setting: the setting to blame, as the settings file names it.
        parameter: the parameter, table or file of Postfix.
        remedy: the command or the edit, with placeholders such as `{reload}` (`remedies.py`).
        changes: what the remedy changes on this host.
        check: what to check to be sure; "" if the line says all that can be known.
        is_unknown: stands for causes that the catalogue does not know; it is never likely.
        certain_by: pattern of the words of Postfix that name this cause, searched in the incident's lines.
        refuted_by: pattern of words that rule this cause out, searched in the same lines. They beat `certain_by`.
        lint_decides: lint rules: a finding confirms the cause, and no finding rules it out.
        lint_proves: lint rules: a finding confirms the cause, and no finding says nothing.
        lint_required: lint rules: no finding rules the cause out, and a finding says nothing.
        proving_symptoms: other symptoms that confirm the cause while they are open.
        required_parameters: the cause is ruled out if main.cf and master.cf set none of these parameters.
        goes_elsewhere: the mail goes to a host that is not a relay of the configuration. Confirmed if one of
            `required_parameters` or its table names the host; ruled out if the mail went to a relay.
        host_check: takes the host's facts and the recipients' domains. True confirms, False rules out, None is neither.
        offer_proves: takes the relay's offer; True confirms.
        offer_refutes: takes the relay's offer; True rules out.
    """

    id: str
    what: str
    setting: str
    parameter: str
    remedy: str
    changes: Changes
    check: str = ""
    is_unknown: bool = False
    certain_by: re.Pattern[str] | None = None
    refuted_by: re.Pattern[str] | None = None
    lint_decides: tuple[str, ...] = ()
    lint_proves: tuple[str, ...] = ()
    lint_required: tuple[str, ...] = ()
    proving_symptoms: tuple[str, ...] = ()
    required_parameters: tuple[str, ...] = ()
    goes_elsewhere: bool = False
    host_check: Callable[[HostFacts, Collection[str]], bool | None] | None = None
    offer_proves: Callable[[Offer], bool] | None = None
    offer_refutes: Callable[[Offer], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """A symptom: the lines that show it, and its possible causes.

    Attributes:
        id: stable identifier, used as a metric label.
        title: a headline without a full stop.
        cause: the cause of the failed delivery; None for a symptom of another line or of a condition.
        daemon: pattern of the daemons that log it; "" for all.
        text: pattern in the line, or in `status=STATUS relay=LABEL REASON` of a delivery; None if the cause is enough.
        context: pattern in an earlier line of the same process.
        names: patterns whose groups name what the lines are about, for `{line GROUP|otherwise}` in texts.
        effect: what it does to mail.
        resolution: what closes it.
        candidates: the possible causes, likeliest first.
    """

    id: str
    title: str
    cause: Cause | None = None
    daemon: str = ""
    text: re.Pattern[str] | None = None
    context: re.Pattern[str] | None = None
    names: tuple[re.Pattern[str], ...] = ()
    effect: Effect = Effect.DELAYED
    resolution: Resolution = Resolution.SENT
    candidates: tuple[Candidate, ...]

    @property
    def certainty(self) -> Certainty:
        """How sure the diagnosis is before any line or fact proves a cause."""
        only = len(self.candidates) == 1 and not self.candidates[0].is_unknown
        return Certainty.LIKELY if only else Certainty.AMBIGUOUS


def proves_cause(symptom: Symptom, text: str) -> bool:
    """Whether an earlier line of the process has words that name one of the symptom's causes."""
    return any(c.certain_by is not None and c.certain_by.search(text) for c in symptom.candidates)


def says_why(symptom: Symptom, text: str) -> bool:
    """Whether an earlier line of the process has words that show the symptom, or one of its causes."""
    regexes = (symptom.context, *symptom.names, *(c.certain_by for c in symptom.candidates))
    regexes += tuple(c.refuted_by for c in symptom.candidates)
    return any(regex is not None and regex.search(text) for regex in regexes)


def pattern(regex: str) -> re.Pattern[str]:
    """Compile a pattern of the catalogue, ignoring case because servers differ in it."""
    return re.compile(regex, re.IGNORECASE | re.DOTALL)


def lacks(regex: str) -> re.Pattern[str]:
    """Compile a pattern of a line without these words, for conditions whose reason names the cause."""
    return pattern(rf"\A(?!.*(?:{regex}))")


NEVER: Final = pattern(r"(?!)")  # for symptoms that no line shows

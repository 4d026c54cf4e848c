"""What lint finds, and what a rule is.

A rule's function yields where, what and the remedy; the identifier, the severity and the reason why it hurts stand in
the rule itself, so that the tables of rules read as their own documentation (`docs/lint.md` is made from them).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

Subject = TypeVar("Subject")


class Severity(StrEnum):
    """How bad it is, worst first."""

    ERROR = "error"  # mail does not leave, is lost, or Postfix does not run
    WARNING = "warning"  # mail may leave, but not as meant, or a secret is exposed
    NOTE = "note"  # worth knowing


class Fault(NamedTuple):
    """One place where a rule is broken.

    Attributes:
        where: file and line, or the setting.
        what: what stands there, in words fit to print: never a secret.
        remedy: the command or the edit that puts it right on this host.
    """

    where: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule, ready to print."""

    id: str
    severity: Severity
    where: str
    what: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """A rule: `check` finds where a subject breaks it, `why` says what comes of it."""

    id: str
    severity: Severity
    check: Callable[[Subject], Iterator[Fault]]
    why: str

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Where the subject breaks this rule."""
        for fault in self.check(subject):
            yield Finding(self.id, self.severity, fault.where, fault.what, self.why, fault.remedy)

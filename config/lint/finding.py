"""Findings of lint, and the rules that make them.

The function of a rule yields the place, the fact and the remedy. The rule itself holds identifier, severity and
consequence, so the tables of rules are their own documentation: `docs/lint.md` is made from them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from postward.config.lint.remedies import APPLY

Subject = TypeVar("Subject")


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    ERROR = "error"  # mail does not leave, is lost, or Postfix does not run
    WARNING = "warning"  # mail may leave by the wrong way, or a secret is exposed
    NOTE = "note"  # worth knowing


class Fault(NamedTuple):
    """One place where a rule is broken.

    Attributes:
        where: file and line, or the setting.
        what: the fact, as text that holds no secret.
        remedy: the command or the edit that repairs it on this host.
        next_hops: hosts of the next hops with which the fault interferes, lower case; empty if it is not about single hosts.
    """

    where: str
    what: str
    remedy: str
    next_hops: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule, ready to print: the rule's identifier, severity and consequence, and the fault."""

    id: str
    severity: Severity
    where: str
    what: str
    why: str
    remedy: str
    next_hops: frozenset[str] = frozenset()

    @property
    def by_apply(self) -> bool:
        """True if `postward apply` is the whole remedy."""
        return self.remedy == APPLY

    def to_dict(self) -> dict[str, str]:
        """Return the printed fields, for JSON."""
        return {name: getattr(self, name) for name in ("id", "severity", "where", "what", "why", "remedy")}


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """A rule: `check` yields the places where a subject breaks it, `why` states the consequence."""

    id: str
    severity: Severity
    check: Callable[[Subject], Iterator[Fault]]
    why: str

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """Yield a finding for each place where the subject breaks this rule."""
        for fault in self.check(subject):
            yield Finding(
                self.id, self.severity, fault.where, fault.what, self.why, fault.remedy, fault.next_hops
            )

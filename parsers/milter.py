"""What the mail filter client logs, in smtpd(8) and cleanup(8): src/milter of the Postfix source."""

from typing import Final

from postward.parsers.events import MilterProblem
from postward.parsers.rules import Rule, problem

MILTER: Final[tuple[Rule, ...]] = (
    problem(r"connect to Milter service (?P<milter>\S+): (?P<reason>.*)", MilterProblem, "milter/milter8.c"),
    problem(r"milter (?P<milter>\S+): (?P<reason>.*)", MilterProblem, "milter/milter8.c"),
)

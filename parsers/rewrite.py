"""What trivial-rewrite(8) logs: src/trivial-rewrite of the Postfix source."""

from typing import Final

from postward.parsers.events import ConfigurationProblem, LookupFailed
from postward.parsers.rules import Rule, problem

RULES: Final[tuple[Rule, ...]] = (
    problem(r"(?P<table>\w+) lookup failure", LookupFailed, "trivial-rewrite/resolve.c"),
    problem(
        r"(?P<text>do not list domain .* in BOTH .*)",
        ConfigurationProblem,
        "trivial-rewrite/resolve.c",
    ),
)

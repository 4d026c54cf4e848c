"""Rules for local(8), virtual(8) and pipe(8): src/local, src/virtual and src/pipe of the Postfix source."""

from typing import Final

from postward.parsers.daemons.delivery import DELIVERY
from postward.parsers.events import ConfigurationProblem
from postward.parsers.rules import Rule, problem

RULES: Final[tuple[Rule, ...]] = (
    *DELIVERY,
    problem(
        r"(?P<text>required alias not found: .*|maildir access problem for .*|perhaps you need to create the maildirs .*"
        r"|cannot find alias database for owner: .*|.*: owner .* not found)",
        ConfigurationProblem,
        "local/bounce_workaround.c",
        "local/alias.c",
        "virtual/maildir.c",
    ),
)

"""The reference pages of docs/, made from the tables and models of the code: `python -m tools.reference` writes them."""

from collections.abc import Callable, Mapping

from postward.agent.metrics.reference import reference as metrics
from postward.config.lint.reference import reference as lint
from tools.reference.commands import commands
from tools.reference.runbooks import runbooks
from tools.reference.settings import settings
from tools.reference.symptoms import symptoms

# Page in docs/ → its text.
PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands,
    "lint.md": lint,
    "metrics.md": metrics,
    "runbooks/README.md": runbooks,
    "settings.md": settings,
    "symptoms.md": symptoms,
}

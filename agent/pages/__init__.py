"""HTML pages: one template engine, one style sheet and one set of charts for the status page and the report.

Promise: everything that a template inserts is escaped, unless the product made it as Markup. A page fetches nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from postward.agent.pages import charts

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent


def environment(folder: Path, filters: Mapping[str, Any]) -> "Environment":
    """Return an environment for the templates in `folder`, which may use those of this package."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # loaded for the first page

    made = Environment(
        loader=FileSystemLoader([folder, _FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {
        "style": Markup((_FOLDER / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - a file of ours
        "bar": charts.bar,
        "stacked_bars": charts.stacked_bars,
        "highest": charts.highest,
    }
    made.filters.update({"capital": lambda text: text[:1].upper() + text[1:], **filters})
    return made

"""Sphinx's settings for the site of docs/: `sphinx-build -W -n -c tools/site docs build/site`.

The pages stay plain Markdown, for readers on a host, in a package and on a forge. The navigation is made from the links
of docs/index.md, section by section, and the runbooks' from those of their own list. So a page that the index does not
name is a warning, which ends the build, as does a broken link or anchor. The site fetches nothing from other hosts.
"""

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

_PROJECT = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
_SOURCE = _PROJECT["urls"]["Source"]

project, author = "Postward", _PROJECT["authors"][0]["name"]
version = release = _PROJECT["version"]
copyright = f"2026 {author}"  # noqa: A001 -- Sphinx's name
extensions = ["myst_parser"]
root_doc = "index"
html_theme = "furo"
html_title = f"Postward {release}"
html_theme_options = {"source_repository": _SOURCE, "source_branch": "main", "source_directory": "docs/"}
html_copy_source = html_show_sphinx = False
smartquotes = False  # values and options can be copied as they stand
myst_heading_anchors = 4  # the anchors of a forge, for links such as page.md#heading
suppress_warnings = ["misc.highlighting_failure"]  # some blocks are logs, or languages that Pygments lacks

_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)\.md\)")


def _add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Append the table of contents of a page that lists others: hidden, one part for each of its sections."""
    if page not in {"index", "runbooks/README"}:
        return
    for section in re.split(r"(?m)^## ", source[0])[1:]:
        pages = [link for link in dict.fromkeys(_LINK.findall(section)) if not link.startswith("../")]
        title = section.partition("\n")[0]
        source[0] += "\n".join(("", "```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""))


def _lead_outside(_app: Sphinx, page: str, source: list[str]) -> None:
    """Lead links to files outside docs/ to the project's copy of them."""
    outside = "../" * (page.count("/") + 1)
    source[0] = source[0].replace(f"]({outside}", f"]({_SOURCE}/blob/main/")


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", _add_navigation)
    app.connect("source-read", _lead_outside)

"""The runbooks on the endpoint: /runbooks/NAME, where NAME is an alert, or causes/CAUSE; with or without .md.

Promise: only the pages of the package are served, and none fetches anything. Links that lead outside the folder, to
the documents, go to the project's copy of them.
"""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from postward.agent.pages import environment
from postward.agent.release import DOCUMENTS

if TYPE_CHECKING:
    from jinja2 import Template
    from markdown_it import MarkdownIt

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_LIST: Final = "README"


def runbook_routes() -> list[Route]:
    """Return the routes."""

    async def runbook(request: Request) -> Response:
        """A runbook, as a page: of an alert, or of a cause as causes/CAUSE. Without a name: the list of them."""
        name = request.path_params["name"].removesuffix(".md") or _LIST
        if name not in runbooks():
            return PlainTextResponse("no such runbook; /runbooks/ lists them\n", 404)
        return HTMLResponse(rendered(name), headers={"Content-Security-Policy": _POLICY})

    return [Route("/runbooks/{name:path}", runbook)]


@cache
def runbooks() -> dict[str, str]:
    """Return the pages of the package: name without .md → Markdown."""
    folder = files("postward").joinpath("files/runbooks")
    return _pages(folder, "") | _pages(folder.joinpath("causes"), "causes/")


def _pages(folder: Traversable, prefix: str) -> dict[str, str]:
    return {
        prefix + page.name.removesuffix(".md"): page.read_text(encoding="utf-8")
        for page in folder.iterdir()
        if page.name.endswith(".md")
    }


def rendered(name: str) -> str:
    """Return a page in HTML. HTML in its text is escaped."""
    title, _, text = runbooks()[name].removeprefix("# ").partition("\n")
    outside = "../" * (name.count("/") + 1)
    body = _markdown().render(text.replace(f"]({outside}", f"]({DOCUMENTS}/"))
    back = "../" * name.count("/") + f"{_LIST}.md"
    return _template().render(title=title, body=Markup(body), list=back)  # noqa: S704 - our text, and escaped


@cache
def _template() -> "Template":
    return environment(Path(__file__).parent, {}).get_template("runbook.html.j2")


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # loaded for the first page

    return MarkdownIt("commonmark", {"html": False}).enable("table")

"""Hatchling's hook: the README as an index shows it, with the links and pictures of the checkout as URLs of the project."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# The end of a link or picture in Markdown whose target is a file beside the README.
_RELATIVE = re.compile(r"(!\[[^\]]*)?\]\((?![a-z]+:|#)([^)\s]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Supplies the field `readme`."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README, by the URL of the source in the same metadata."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, metadata["urls"]["Source"]),
        }


def absolute(text: str, source: str) -> str:
    """Return Markdown whose relative links lead to the main branch of a repository, its pictures to their files there."""

    def url(match: re.Match[str]) -> str:
        picture, target = match.groups()
        return f"{picture or ''}]({source}/{'raw' if picture else 'blob'}/main/{target})"

    return _RELATIVE.sub(url, text)

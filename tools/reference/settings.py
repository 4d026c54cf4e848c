"""docs/settings.md: every setting, from the models that read them, as postward.toml(5) has it."""

from collections.abc import Iterator

from postward.agent.commands.manual_settings import explained, tables
from tools.reference.markdown import cell, plain, wrapped

_INTRODUCTION = """\
# Settings

The settings are in `/etc/postward/postward.toml` and in its fragments, `/etc/postward/postward.toml.d/*.toml`, in TOML.
Environment variables override both: `POSTWARD_SECTION__KEY`, and `POSTWARD_RELAY__NAME__KEY` for one relay. Unknown
keys and bad values are refused, all at once, and the former settings stay in force.

`postward check` prints the settings in effect on a host, and `postward check --example` all of them as a file.
`postward.toml(5)` has the text of this page, which `make docs` makes from the models of the settings.
"""


def settings() -> str:
    """Return the page."""
    return _INTRODUCTION + "\n".join(_sections()) + "\n"


def _sections() -> Iterator[str]:
    for title, meaning, fields in tables():
        yield f"\n## `{title}`\n\n{wrapped(meaning)}"
        if fields:
            yield "\n| key | meaning |\n|---|---|"
            for key, field in fields.items():
                yield f"| `{key}` | {cell(plain(' '.join(explained(field))))} |"

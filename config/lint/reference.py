"""docs/lint.md, made from the tables of rules: `python -m postward.config.lint.reference > docs/lint.md`."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from postward.config.lint import HOST_RULES, SETTINGS_RULES, Severity
from postward.config.lint.finding import Rule

_SEVERITIES = {
    Severity.ERROR: "mail does not leave, is lost, or Postfix does not run",
    Severity.WARNING: "mail may leave, but not as meant; or a secret is exposed",
    Severity.NOTE: "worth knowing; `postward check` ends with 0 all the same",
}


def reference() -> str:
    """The reference as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Lint"
    yield ""
    yield "What `postward check` looks for in the settings and on the host, before any mail fails. Made from the tables in"
    yield "`config/lint/` by `make docs`. Each finding names the place and the command or edit that mends it."
    yield ""
    for severity, words in _SEVERITIES.items():
        yield f"- **{severity}**: {words}"
    yield from _table("Settings", SETTINGS_RULES)
    for title, rules in HOST_RULES:
        yield from _table(title, rules)


def _table(title: str, rules: Sequence[Rule[Any]]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield "| finding | severity | why it hurts |"
    yield "|---|---|---|"
    for rule in rules:
        yield f"| `{rule.id}` | {rule.severity} | {rule.why.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    sys.stdout.write(reference())

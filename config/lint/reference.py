"""The text of docs/lint.md, from the tables of rules. `make docs` writes it."""

from collections.abc import Iterator, Sequence
from typing import Any

from postward.config.lint import HOST_RULES, SETTINGS_RULES, Severity
from postward.config.lint.finding import Rule

_SEVERITIES = {
    Severity.ERROR: "mail does not leave, is lost, or Postfix does not run",
    Severity.WARNING: "mail may leave by the wrong way, or a secret is exposed",
    Severity.NOTE: "worth knowing; `postward check` still exits with 0",
}


def reference() -> str:
    """Return the reference as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Lint"
    yield ""
    yield "These are the rules by which `postward check` examines the settings and the host before any mail fails. A finding"
    yield "names the place, the fact, the consequence, and the command or edit that remedies it."
    yield "`make docs` makes this page from the tables in `config/lint/`."
    yield ""
    for severity, meaning in _SEVERITIES.items():
        yield f"- **{severity}**: {meaning}"
    yield from _table("Settings", SETTINGS_RULES)
    for title, rules in HOST_RULES:
        yield from _table(title, rules)


def _table(title: str, rules: Sequence[Rule[Any]]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield "| finding | severity | consequence |"
    yield "|---|---|---|"
    for rule in rules:
        yield f"| `{rule.id}` | {rule.severity} | {rule.why.replace('|', chr(92) + '|')} |"

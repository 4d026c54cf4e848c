"""Settings errors as an admin reads them: `file: key: what is wrong; what would be right`, all at once.

Promise: no value of a secret is ever part of a message. pydantic prints the input by default, so only
`errors(include_input=False)` is read here, and the input is never looked up again.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails


class SettingsError(Exception):
    """Bad settings. `problems` holds one line each, ready to print; exit status 78 (EX_CONFIG of sysexits.h)."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def describe(
    error: ValidationError, source: str, raw: Mapping[str, Any], known: Mapping[str, list[str]]
) -> SettingsError:
    """All problems of a validation as lines.

    Args:
        error: what pydantic found.
        source: the settings file, as the admin named it.
        raw: the settings as read, used only to call a relay by its name.
        known: section name → its keys ("" → the sections), to suggest the key that was meant.
    """
    details = error.errors(include_input=False, include_url=False)
    return SettingsError(
        f"{source}: {_key(detail['loc'], raw)}: {_words(detail, known)}" for detail in details
    )


def _key(loc: tuple[int | str, ...], raw: Mapping[str, Any]) -> str:
    """The key as the admin would look for it: `probe.recipient`, `relay.sendcloud.port`, `relay[2].host`."""
    parts = [str(part) for part in loc]
    if len(loc) > 1 and loc[0] == "relay" and isinstance(loc[1], int):
        name = _relay_name(raw, loc[1])
        parts[:2] = ["relay", name] if name else [f"relay[{loc[1] + 1}]"]
    return ".".join(parts) or "settings"


def _relay_name(raw: Mapping[str, Any], index: int) -> str | None:
    relays = raw.get("relay")
    if not isinstance(relays, list) or index >= len(relays) or not isinstance(relays[index], dict):
        return None
    name = relays[index].get("name")
    return name if isinstance(name, str) and name else None


_WRONG_TABLE = "is not a table; write [{section}] and its keys below"
# pydantic's type of error → what is wrong; what would be right. Own validators say both themselves.
_WORDS = {
    "value_error": "{error}",
    "missing": "is missing; add it (postward check --example shows every setting)",
    "literal_error": "is not one of the values it can have; write {expected}",
    "int_type": "is not a whole number; write it without quotes and fraction",
    "int_parsing": "is not a whole number; write it without quotes and fraction",
    "int_from_float": "is not a whole number; write it without quotes and fraction",
    "bool_type": "is neither true nor false; write true or false without quotes",
    "bool_parsing": "is neither true nor false; write true or false without quotes",
    "string_type": 'is not text; write it in quotes, as in key = "value"',
    "greater_than_equal": "is too small; the least is {ge}",
    "less_than_equal": "is too large; the most is {le}",
    "model_type": _WRONG_TABLE,
    "dict_type": _WRONG_TABLE,
    "list_type": 'is not a list; tables of this kind are written [[{section}]], texts as in ["a", "b"]',
    "too_short": "is empty; add at least one [[{section}]]",
}


def _words(detail: ErrorDetails, known: Mapping[str, list[str]]) -> str:
    if detail["type"] == "extra_forbidden":
        return _unknown(detail["loc"], known)
    words = _WORDS.get(detail["type"])
    return words.format(**detail.get("ctx", {}), section=detail["loc"][0]) if words else detail["msg"]


def _unknown(loc: tuple[int | str, ...], known: Mapping[str, list[str]]) -> str:
    section = str(loc[0]) if len(loc) > 1 else ""
    candidates = known.get(section, [])
    close = difflib.get_close_matches(str(loc[-1]), candidates, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(candidates)}"
    return f"is not a setting; {hint}"

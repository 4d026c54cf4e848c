"""Settings errors as an admin reads them: `file: key: what is wrong; what would be right`, all at once.

Promise: no value of a secret is ever part of a message. pydantic prints the input by default, so only
`errors(include_input=False)` is read here, and the input is never looked up again.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from postward.config.parameters import DERIVED_PARAMETERS

Loc = tuple[int | str, ...]


class SettingsError(Exception):
    """Bad settings. `problems` holds one line each, ready to print; exit status 78 (EX_CONFIG of sysexits.h)."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where settings come from, to call each as the admin would look for it.

    Attributes:
        source: the settings file, as the admin named it.
        relays: what stands under `relay`, used only to call a relay by its name.
        variables: place of a setting → the environment variable that set it.
    """

    source: str
    relays: object = field(repr=False)
    variables: Mapping[Loc, str]

    def line(self, loc: Loc, words: str) -> str:
        """A problem, ready to print."""
        for length in range(len(loc), 0, -1):
            if variable := self.variables.get(loc[:length]):
                return f"environment: {variable}: {words}"
        return f"{self.source}: {self._key(loc)}: {words}"

    def _key(self, loc: Loc) -> str:
        """As in `probe.recipient`, `relay.sendcloud.port`, `relay[2].host`, `relay.sendcloud.senders[1]`."""
        key = ""
        for depth, part in enumerate(part for part in loc if part != "[key]"):
            name = relay_names(self.relays).get(part) if depth == 1 and isinstance(part, int) else part
            if isinstance(part, int) and not isinstance(name, str):
                key += f"[{part + 1}]"
            else:
                key += f".{_toml_key(str(name))}"
        return key.removeprefix(".") or "settings"


def relay_names(relays: object) -> dict[int | str, str]:
    """Position → name, of the relays that have a name fit to be called by, and for themselves."""
    names = [
        relay.get("name") if isinstance(relay, dict) else None
        for relay in (relays if isinstance(relays, list) else [])
    ]
    return {
        position: name
        for position, name in enumerate(names)
        if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,63}", name) and names.count(name) == 1
    }


def _toml_key(part: str) -> str:
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part)


def describe(error: ValidationError, origin: Origin, known: Mapping[str, list[str]]) -> list[str]:
    """All problems of a validation as lines. `known`: section → its keys, to suggest the one that was meant."""
    details = error.errors(include_input=False, include_url=False)
    return [origin.line(detail["loc"], _words(detail, known)) for detail in details]


_NO_NUMBER = "is not a whole number; write it without quotes and fraction"
# pydantic's type of error → what is wrong; what would be right. Own validators say both themselves.
_WORDS = {
    "value_error": "{error}",
    "missing": "is missing; add it (postward check --example shows every setting)",
    "literal_error": "is not one of the values it can have; write {expected}",
    "int_type": _NO_NUMBER,
    "int_parsing_size": _NO_NUMBER,
    "bool_type": "is neither true nor false; write true or false without quotes",
    "string_type": 'is not text; write it in quotes, as in key = "value"',
    "string_unicode": "is not text in UTF-8; write it in UTF-8",
    "greater_than_equal": "is too small; the least is {ge}",
    "less_than_equal": "is too large; the most is {le}",
    "model_type": "is not a table; write {title} and its keys below",
    "dict_type": "is not a table; write {title} and its keys below",
    "list_type": 'is not a list; write it as in ["a", "b"]',
    "too_short": "is empty; add at least one {title}",
}
_SECTION_WORDS = {
    "missing": "is missing; add {title} and its keys (postward check --example shows every setting)",
    "list_type": "is not a list of tables; write {title} and its keys below, once for each",
}


def _words(detail: ErrorDetails, known: Mapping[str, list[str]]) -> str:
    loc, kind = detail["loc"], detail["type"]
    if kind == "extra_forbidden":
        return unknown(loc, known)
    words = (_SECTION_WORDS.get(kind) if len(loc) == 1 else None) or _WORDS.get(kind)
    title = "[[relay]]" if loc[:1] == ("relay",) else f"[{loc[0] if loc else ''}]"
    return words.format(**detail.get("ctx", {}), title=title) if words else detail["msg"]


def unknown(loc: Loc, known: Mapping[str, list[str]]) -> str:
    """What to say of a key that is no setting. Most often it is one of Postfix's, or misspelt."""
    key = str(loc[-1])
    if source := DERIVED_PARAMETERS.get(key):
        return f"is not a setting; Postward derives it from {source}"
    candidates = known.get(str(loc[0]) if len(loc) > 1 else "", [])
    close = difflib.get_close_matches(key, candidates, 1, 0.8) or difflib.get_close_matches(key, candidates)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(candidates)}"
    if re.match(r"(smtpd?|lmtp|tls|virtual|sender|recipient|transport|message|queue)_", key):
        hint = "parameters of main.cf go under [main_cf]"
    return f"is not a setting; {hint}"

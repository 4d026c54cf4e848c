"""Errors of settings as an admin reads them, all at once: `file: key: what is wrong; what is right`.

Promise: no message holds the value of a secret. pydantic prints the input by default, so this module reads only
`errors(include_input=False)` and never looks at the input itself.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from postward.config.parameters import DERIVED_PARAMETERS
from postward.config.toml import toml_key

Loc = tuple[int | str, ...]
Problem = tuple[Loc, str]  # the location of a setting, and its fault


class SettingsError(Exception):
    """Bad settings. `problems` holds printable messages of one line; exit status 78 (EX_CONFIG of sysexits.h)."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of settings, which messages name as the admin knows it.

    Attributes:
        source: the settings file, as the admin named it.
        files: location of a setting → the file that it comes from, if there are several.
        relays: the value of `relay`; only the names of relays are read from it.
        variables: location of a setting → the environment variable that set it; of a relay that variables define → the
            part that they share.
    """

    source: str
    relays: object = field(repr=False)
    variables: Mapping[Loc, str]
    files: Mapping[Loc, str] = field(default_factory=dict)

    def line(self, loc: Loc, message: str) -> str:
        """Return a problem as a printable line."""
        for length in range(len(loc), 0, -1):
            if variable := self.variables.get(loc[:length]):
                keys = (part.upper() for part in loc[length:] if isinstance(part, str) and part != "[key]")
                return f"environment: {'__'.join([variable, *keys])}: {message}"
        locations = (loc[:length] for length in range(len(loc), 0, -1))
        source = next((self.files[place] for place in locations if place in self.files), self.source)
        return f"{source}: {self._key(loc)}: {message}"

    def _key(self, loc: Loc) -> str:
        """As in `probe.recipient`, `relay.sendcloud.port`, `relay[2].host`, `relay.sendcloud.senders[1]`."""
        key = ""
        for depth, part in enumerate(part for part in loc if part != "[key]"):
            name = relay_names(self.relays).get(part) if depth == 1 and isinstance(part, int) else part
            if isinstance(part, int) and not isinstance(name, str):
                key += f"[{part + 1}]"
            else:
                key += f".{toml_key(str(name))}"
        return key.removeprefix(".") or "settings"


def relay_names(relays: object) -> dict[int | str, str]:
    """Return position → name, for the relays whose name is well-formed and unique."""
    names = [
        relay.get("name") if isinstance(relay, dict) else None
        for relay in (relays if isinstance(relays, list) else [])
    ]
    return {
        position: name
        for position, name in enumerate(names)
        if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,63}", name) and names.count(name) == 1
    }


def describe(error: ValidationError, known: Mapping[str, list[str]]) -> list[Problem]:
    """Return all problems of a validation.

    Args:
        error: the result of the validation.
        known: section → its keys, from which messages suggest one for a misspelt key.
    """
    details = error.errors(include_input=False, include_url=False)
    return [(detail["loc"], _message(detail, known)) for detail in details]


_INTEGER = "must be an integer, without quotes or fraction"
# pydantic's type of error → message. Our own validators write theirs themselves.
_MESSAGES = {
    "value_error": "{error}",
    "missing": "is missing; add it (postward check --example shows every setting)",
    "literal_error": "must be {expected}",
    "int_type": _INTEGER,
    "int_parsing_size": _INTEGER,
    "bool_type": "must be true or false, without quotes",
    "string_type": 'must be a string; write it in quotes, as in key = "value"',
    "string_unicode": "must be text in UTF-8",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "model_type": "must be a table; write {title} and its keys below",
    "dict_type": 'must be a table, as in {{"a" = "b"}}',
    "list_type": 'must be a list, as in ["a", "b"]',
    "too_short": "must not be empty; add at least one {title}",
}
_SECTION_MESSAGES = {
    "missing": "is missing; add {title} and its keys (postward check --example shows every setting)",
    "dict_type": "must be a table; write {title} and its keys below",
    "list_type": "must be a list of tables; write {title} and its keys below, once for each",
}


def _message(detail: ErrorDetails, known: Mapping[str, list[str]]) -> str:
    loc, kind = detail["loc"], detail["type"]
    if kind == "extra_forbidden":
        return unknown(loc, known)
    message = (_SECTION_MESSAGES.get(kind) if len(loc) == 1 else None) or _MESSAGES.get(kind)
    title = "[[relay]]" if loc[:1] == ("relay",) else f"[{loc[0] if loc else ''}]"
    if len(loc) > 2 and loc[0] == "relay" and kind == "model_type":
        title = f"[relay.{loc[2]}]"
    if message is None:
        return detail["msg"]
    context = dict(detail.get("ctx", {}))
    if "expected" in context:
        context["expected"] = context["expected"].replace("'", '"')  # TOML is usually written with these
    return message.format(**context, title=title)


def unknown(loc: Loc, known: Mapping[str, list[str]]) -> str:
    """Return the message for a key that is not a setting: usually a parameter of Postfix, or misspelt."""
    key = str(loc[-1])
    if source := DERIVED_PARAMETERS.get(key):
        return f"is not a setting; Postward derives it from {source}"
    candidates = known.get(".".join(str(part) for part in loc[:-1] if isinstance(part, str)), [])
    close = difflib.get_close_matches(key, candidates, 1, 0.8) or difflib.get_close_matches(key, candidates)
    hint = f"did you mean {' or '.join(close)}?" if close else f"must be one of: {', '.join(candidates)}"
    if re.match(r"(smtpd?|lmtp|tls|virtual|sender|recipient|transport|message|queue)_", key):
        hint = "parameters of main.cf go under [main_cf]"
    return f"is not a setting; {hint}"

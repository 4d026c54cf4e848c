"""Overrides from the environment: `POSTWARD_SECTION__KEY`, and `POSTWARD_RELAY__NAME__KEY` for one relay.

Every variable with two underscores is an override and must be a setting. `POSTWARD_CONFIG`, which names the file,
and what others put there (Kubernetes: `POSTWARD_PORT`) have none, and are left alone unless they look like a slip.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from postward.config.errors import Loc
from postward.config.fields import Section

_PREFIX = "POSTWARD_"
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(slots=True)
class Overrides:
    """What the environment changes.

    Attributes:
        values: the sections it touches, as they are with the changes.
        variables: place of a setting → the variable that sets it.
        problems: variables that cannot be taken, one line each.
    """

    values: dict[str, Any] = field(default_factory=dict, repr=False)
    variables: dict[Loc, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def refuse(self, variable: str, words: str) -> None:
        self.problems.append(f"environment: {variable}: {words}")


def models_of(settings: type[BaseSettings]) -> dict[str, type[Section] | None]:
    """Section → its model (a relay's for `relay`); None for a free table."""
    models: dict[str, type[Section] | None] = {}
    for name, info in settings.model_fields.items():
        model = get_args(info.annotation)[0] if get_origin(info.annotation) is list else info.annotation
        models[name] = model if isinstance(model, type) and issubclass(model, Section) else None
    return models


def read_overrides(
    environ: Mapping[str, str], file: Mapping[str, Any], models: Mapping[str, type[Section] | None]
) -> Overrides:
    """The overrides in an environment. Pure.

    Args:
        environ: the environment.
        file: the settings of the file.
        models: as from `models_of`.
    """
    found = Overrides()
    for variable in sorted(environ):
        if not variable.upper().startswith(_PREFIX):
            continue
        section, *rest = variable[len(_PREFIX) :].split("__")
        section = section.lower()
        if not rest:
            _slip(variable, models, found)
        elif section not in models:
            found.refuse(variable, f"is not a setting; the sections are: {', '.join(models).upper()}")
        elif not environ[variable].isascii() and not _is_unicode(environ[variable]):
            found.refuse(variable, "is not text in UTF-8; write it in UTF-8")
        elif section == "relay":
            _override_relay(variable, environ[variable], file, models[section], found)
        else:
            key = "__".join(rest)
            key = key if models[section] is None and not key.isupper() else key.lower()
            table = found.values.get(section, file.get(section, {}))
            if isinstance(table, dict):  # else the file is wrong there, which is told anyway
                found.values[section] = table | {key: _value(environ[variable], models[section], key)}
                found.variables[section, key] = variable
    return found


def _slip(variable: str, models: Mapping[str, type[Section] | None], found: Overrides) -> None:
    """One underscore where two are needed is a slip, if it would be a setting with two."""
    name = variable[len(_PREFIX) :].lower()
    for section, model in models.items():
        key = name.removeprefix(f"{section}_")
        if name == section or (key != name and model is not None and key in model.model_fields):
            right = f"{section}__{key if key != name else 'key'}".replace("relay__", "relay__name__")
            found.refuse(variable, f"is not a setting; write {_PREFIX}{right.upper()}")


def _override_relay(
    variable: str, text: str, file: Mapping[str, Any], model: type[Section] | None, found: Overrides
) -> None:
    name, _, key = variable[len(_PREFIX) :].lower().partition("__")[2].rpartition("__")
    if not name:
        found.refuse(variable, f"is not a setting; write {_PREFIX}RELAY__NAME__{key.upper()}")
        return
    relays = found.values.get("relay", file.get("relay", []))
    if not isinstance(relays, list):
        return  # the file is wrong there, which is told anyway
    names = [_variable_name(relay) for relay in relays]
    if names.count(name) != 1:
        there_are = ", ".join(filter(None, names)).upper() or "none"
        number = "more than one relay" if name in names else "no relay"
        found.refuse(variable, f"there is {number} of this name; there are: {there_are}")
        return
    index = names.index(name)
    patched = relays[index] | {key: _value(text, model, key)}
    found.values["relay"] = [*relays[:index], patched, *relays[index + 1 :]]
    found.variables["relay", index, key] = variable


def _variable_name(relay: object) -> str:
    """A relay's name as a variable can have it."""
    name = relay.get("name") if isinstance(relay, dict) else None
    return name.lower().replace("-", "_") if isinstance(name, str) else ""


def _value(text: str, model: type[Section] | None, key: str) -> object:
    """Text as the kind of value that the setting has; what cannot be that stays text, and is refused as such."""
    info = model.model_fields.get(key) if model else None
    kind = info.annotation if info else str
    if kind is bool:
        return _BOOLEANS.get(text.strip().lower(), text)
    if kind is int:
        digits = text.strip()
        return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else text
    items = text.replace(",", " ").split()
    if get_origin(kind) is list or (list[str] in get_args(kind) and len(items) > 1):  # text, or several
        return items
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Environment(PydanticBaseSettingsSource):
    """The overrides, as a source of pydantic-settings in front of the file."""

    def __init__(self, settings: type[BaseSettings], file: InitSettingsSource) -> None:
        super().__init__(settings)
        self._file = file.init_kwargs

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return read_overrides(os.environ, self._file, models_of(self.settings_cls)).values

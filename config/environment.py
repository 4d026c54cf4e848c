"""Overrides from the environment: `POSTWARD_SECTION__KEY`, and `POSTWARD_RELAY__NAME__KEY` for one relay.

A variable with two consecutive underscores is an override, and must name a setting. Other variables are ignored:
`POSTWARD_CONFIG`, which names the settings file, and those of other programs (Kubernetes: `POSTWARD_PORT`). A variable
that would be an override with two underscores is an error.
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

Models = Mapping[str, type[Section] | None]


@dataclass(slots=True)
class Overrides:
    """The changes that the environment makes.

    Attributes:
        values: the sections that it changes, with its changes.
        variables: location of a setting → the variable that sets it.
        problems: refused variables, one line each.
    """

    values: dict[str, Any] = field(default_factory=dict, repr=False)
    variables: dict[Loc, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def refuse(self, variable: str, message: str) -> None:
        """Add a problem."""
        self.problems.append(f"environment: {variable}: {message}")


def models_of(settings: type[BaseSettings]) -> dict[str, type[Section] | None]:
    """Return section → its model (for `relay`, the model of one relay); None for a free table."""
    models: dict[str, type[Section] | None] = {}
    for name, info in settings.model_fields.items():
        model = get_args(info.annotation)[0] if get_origin(info.annotation) is list else info.annotation
        models[name] = model if isinstance(model, type) and issubclass(model, Section) else None
    return models


def read_overrides(environ: Mapping[str, str], file: Mapping[str, Any], models: Models) -> Overrides:
    """Return the overrides in an environment. Pure.

    Args:
        environ: the environment.
        file: the settings of the file.
        models: as from `models_of`.
    """
    overrides = Overrides()
    for variable in sorted(environ):
        if variable.upper().startswith(_PREFIX):
            _override(variable, environ[variable], file, models, overrides)
    return overrides


def _override(
    variable: str, text: str, file: Mapping[str, Any], models: Models, overrides: Overrides
) -> None:
    section, *rest = variable[len(_PREFIX) :].split("__")
    section = section.lower()
    if not rest:
        _refuse_single_underscore(variable, models, overrides)
    elif section not in models:
        overrides.refuse(variable, f"is not a setting; the sections are: {', '.join(models).upper()}")
    elif not _is_unicode(text):
        overrides.refuse(variable, "must be text in UTF-8")
    elif section == "relay":
        _override_relay(variable, text, file, models[section], overrides)
    else:
        _override_section(variable, text, (section, "__".join(rest)), file, models[section], overrides)


def _override_section(
    variable: str,
    text: str,
    loc: tuple[str, str],
    file: Mapping[str, Any],
    model: type[Section] | None,
    overrides: Overrides,
) -> None:
    section, key = loc
    if model is not None or key.isupper():
        key = key.lower()  # parameters of main.cf can have capital letters
    table = overrides.values.get(section, file.get(section, {}))
    if not isinstance(table, dict):
        return  # validation of the file reports that
    overrides.values[section] = table | {key: _value(text, model, key)}
    overrides.variables[section, key] = variable


def _refuse_single_underscore(variable: str, models: Models, overrides: Overrides) -> None:
    """Refuse a variable that would be a setting with two underscores."""
    name = variable[len(_PREFIX) :].lower()
    for section, model in models.items():
        key = name.removeprefix(f"{section}_")
        if name == section or (key != name and model is not None and key in model.model_fields):
            correct = f"{section}__{key if key != name else 'key'}".replace("relay__", "relay__name__")
            overrides.refuse(variable, f"is not a setting; write {_PREFIX}{correct.upper()}")


def _override_relay(
    variable: str, text: str, file: Mapping[str, Any], model: type[Section] | None, overrides: Overrides
) -> None:
    name, _, key = variable[len(_PREFIX) :].lower().partition("__")[2].rpartition("__")
    if not name:
        overrides.refuse(variable, f"is not a setting; write {_PREFIX}RELAY__NAME__{key.upper()}")
        return
    relays = overrides.values.get("relay", file.get("relay", []))
    if not isinstance(relays, list):
        return  # validation of the file reports that
    names = [_name_in_variable(relay) for relay in relays]
    if names.count(name) != 1:
        listed = ", ".join(filter(None, names)).upper() or "none"
        number = "several relays have" if name in names else "no relay has"
        overrides.refuse(variable, f"{number} this name; the relays are: {listed}")
        return
    index = names.index(name)
    relay = relays[index] | {key: _value(text, model, key)}
    overrides.values["relay"] = [*relays[:index], relay, *relays[index + 1 :]]
    overrides.variables["relay", index, key] = variable


def _name_in_variable(relay: object) -> str:
    """Return a relay's name in the form that a variable can hold, in lower case; "" without a name."""
    name = relay.get("name") if isinstance(relay, dict) else None
    return name.lower().replace("-", "_") if isinstance(name, str) else ""


def _value(text: str, model: type[Section] | None, key: str) -> object:
    """Return text as the setting's type. Unsuitable text is returned unchanged, and validation refuses it."""
    info = model.model_fields.get(key) if model else None
    kind = info.annotation if info else str
    if kind is bool:
        return _BOOLEANS.get(text.strip().lower(), text)
    if kind is int:
        digits = text.strip()
        return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else text
    items = text.replace(",", " ").split()
    # log.source is a string or a list.
    if get_origin(kind) is list or (list[str] in get_args(kind) and len(items) > 1):
        return items
    return text


def _is_unicode(text: str) -> bool:
    """Return False for text with surrogates, which stand for bytes that are not UTF-8 (os.environ)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Environment(PydanticBaseSettingsSource):
    """The overrides as a source of pydantic-settings, with precedence over the file."""

    def __init__(self, settings: type[BaseSettings], file: InitSettingsSource) -> None:
        super().__init__(settings)
        self._file = file.init_kwargs

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return a section with its overrides (required by the base class)."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the sections that the environment changes."""
        return read_overrides(os.environ, self._file, models_of(self.settings_cls)).values

"""Overrides from the environment: `POSTWARD_SECTION__KEY`, `POSTWARD_RELAY__NAME__KEY` for one relay, and
`POSTWARD_RELAY__NAME__OAUTH2__KEY` for its tokens.

If the file has no relay, the variables define the relays, as in a container: those with `senders`, `recipients` or
`fallback` stand behind the others, and each group is in the order of the names.

A variable with two consecutive underscores is an override, and must name a setting. Other variables are ignored:
`POSTWARD_CONFIG`, which names the settings file, and those of other programs (Kubernetes: `POSTWARD_PORT`). A variable
that would be an override with two underscores is an error.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from postward.config.errors import Loc
from postward.config.fields import Section

_PREFIX = "POSTWARD_"
# Keys of relays that do not take all mail.
_NOT_FIRST = frozenset({"senders", "recipients", "fallback"})
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(slots=True)
class Overrides:
    """The changes that the environment makes.

    Attributes:
        file: the settings of the file.
        models: section → its model, as from `models_of`.
        values: the sections that the environment changes, with its changes.
        variables: location of a setting → the variable that sets it.
        problems: refused variables, one line each.
    """

    file: Mapping[str, Any] = field(repr=False)
    models: Mapping[str, type[Section] | None] = field(repr=False)
    values: dict[str, Any] = field(default_factory=dict, repr=False)
    variables: dict[Loc, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def define_relays(self, variables: Iterable[str]) -> None:
        """Define the relays that these variables name, without settings, unless the file has relays."""
        if self.file.get("relay", []) != []:
            return
        keys: dict[str, set[str]] = {}
        for variable in variables:
            section, *rest = variable[len(_PREFIX) :].lower().split("__")
            if section == "relay" and len(rest) > 1:
                name, key, _ = _relay_key(rest)
                if name:
                    keys.setdefault(name, set()).add(key)
        for name in sorted(keys, key=lambda name: (bool(_NOT_FIRST & keys[name]), name)):
            relays = self.values.setdefault("relay", [])
            self.variables["relay", len(relays)] = f"{_PREFIX}RELAY__{name.upper()}"
            relays.append({"name": name})

    def add(self, variable: str, text: str) -> None:
        """Apply or refuse a variable."""
        section, *rest = variable[len(_PREFIX) :].split("__")
        section = section.lower()
        if not rest:
            self._refuse_single_underscore(variable)
        elif section not in self.models:
            self._refuse(variable, f"is not a setting; the sections are: {', '.join(self.models).upper()}")
        elif not _is_unicode(text):
            self._refuse(variable, "must be text in UTF-8")
        elif section == "relay":
            name, key, table = _relay_key([part.lower() for part in rest])
            self._set_in_relay(name, key, variable, text, table)
        else:
            self._set(section, "__".join(rest), variable, text)

    def _set(self, section: str, key: str, variable: str, text: str) -> None:
        model, table = self.models[section], self.values.get(section, self.file.get(section, {}))
        if model is not None or key.isupper():
            key = key.lower()  # parameters of main.cf can have capital letters
        if isinstance(table, dict):  # otherwise validation of the file reports it
            self.values[section] = table | {key: _value(text, model, key)}
            self.variables[section, key] = variable

    def _set_in_relay(self, name: str, key: str, variable: str, text: str, table: str) -> None:
        relays = self.values.get("relay", self.file.get("relay", []))
        names = [_name_in_variable(relay) for relay in relays] if isinstance(relays, list) else None
        if not name:
            self._refuse(variable, f"is not a setting; write {_PREFIX}RELAY__NAME__{key.upper()}")
        elif names is None:
            return  # validation of the file reports it
        elif names.count(name) != 1:
            listed = ", ".join(filter(None, names)).upper() or "none"
            number = "several relays have" if name in names else "no relay has"
            self._refuse(variable, f"{number} this name; the relays are: {listed}")
        else:
            index = names.index(name)
            change = {key: _value(text, None if table else self.models["relay"], key)}
            former = relays[index].get(table, {}) if table else {}
            if isinstance(former, dict):  # otherwise validation of the file reports it
                change = {table: former | change} if table else change
                self.values["relay"] = [*relays[:index], relays[index] | change, *relays[index + 1 :]]
                self.variables[("relay", index, *filter(None, [table]), key)] = variable

    def _refuse(self, variable: str, message: str) -> None:
        self.problems.append(f"environment: {variable}: {message}")

    def _refuse_single_underscore(self, variable: str) -> None:
        """Refuse a variable that would be a setting with two underscores."""
        name = variable[len(_PREFIX) :].lower()
        for section, model in self.models.items():
            key = name.removeprefix(f"{section}_")
            if name == section or (key != name and model is not None and key in model.model_fields):
                correct = f"{section}__{key if key != name else 'key'}".replace("relay__", "relay__name__")
                self._refuse(variable, f"is not a setting; write {_PREFIX}{correct.upper()}")


def models_of(settings: type[BaseSettings]) -> dict[str, type[Section] | None]:
    """Return section → its model (for `relay`, the model of one relay); None for a free table."""
    models: dict[str, type[Section] | None] = {}
    for name, info in settings.model_fields.items():
        model = get_args(info.annotation)[0] if get_origin(info.annotation) is list else info.annotation
        models[name] = model if isinstance(model, type) and issubclass(model, Section) else None
    return models


def read_overrides(
    environ: Mapping[str, str], file: Mapping[str, Any], models: Mapping[str, type[Section] | None]
) -> Overrides:
    """Return the overrides in an environment, for the settings of a file. Pure."""
    overrides = Overrides(file, models)
    own = [name for name in sorted(environ) if name.upper().startswith(_PREFIX)]
    overrides.define_relays(own)
    for variable in own:
        overrides.add(variable, environ[variable])
    return overrides


def _relay_key(parts: Sequence[str]) -> tuple[str, str, str]:
    """Return the name of the relay, the key, and the table that it is in, from the parts of a variable's name."""
    *name, key = parts
    table = name.pop() if len(name) > 1 and name[-1] == "oauth2" else ""
    return "__".join(name), key, table


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

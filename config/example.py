"""The commented example of the settings file, made from the models, so that it cannot fall behind them."""

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from postward.config.fields import Section
from postward.config.relay import Relay
from postward.config.settings import Settings


def example() -> str:
    """A settings file with every setting: the needed ones filled in, the others as comments with their defaults."""
    lines = ["# Settings of Postward. Lines that begin with # show defaults or possibilities."]
    for name, field in Settings.model_fields.items():
        if name == "main_cf":
            lines += ["", *_comment(field.description or ""), "[main_cf]", *_examples(field)]
            continue
        model = Relay if name == "relay" else field.annotation
        assert isinstance(model, type)  # noqa: S101 - every other section is a Section
        assert issubclass(model, Section)  # noqa: S101
        title = "[[relay]]" if name == "relay" else f"[{name}]"
        lines += ["", *_comment((model.__doc__ or "").partition("\n")[0]), title]
        for key, setting in model.model_fields.items():
            lines += [*_comment(setting.description or ""), _setting(name, key, setting)]
    return "\n".join(lines) + "\n"


# What the example shows filled in: enough for a first relay.
_FILLED = {
    "host.myhostname",
    "relay.name",
    "relay.host",
    "relay.tls",
    "relay.username",
    "relay.password_file",
    "probe.recipient",
}
_SHOWN = {"relay.port": 587, "relay.tls": "starttls", "relay.provider": "", "relay.region": ""}


def _setting(section: str, key: str, field: FieldInfo) -> str:
    path = f"{section}.{key}"
    value = _SHOWN.get(path, field.examples[0] if field.examples else field.default)
    if value is PydanticUndefined or value is None:
        value = ""
    return f"{'' if path in _FILLED else '#'}{key} = {_toml(value)}"


def _examples(field: FieldInfo) -> Iterator[str]:
    for values in field.examples or []:
        yield from (f"#{key} = {_toml(value)}" for key, value in values.items())


def _toml(value: Any) -> str:
    """A TOML value: for text, numbers, booleans and lists of these JSON has the same form."""
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, 96)]

"""The commented example of the settings file, made from the models, so that it always matches them."""

import textwrap

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from postward.config.environment import models_of
from postward.config.fields import Section
from postward.config.oauth2 import OAuth2
from postward.config.settings import Settings
from postward.config.toml import assignment

_WIDTH = 96  # columns of a comment

# Settings that are not commented out: enough for a first relay.
_FILLED = {
    "host.myhostname",
    "relay.name",
    "relay.host",
    "relay.tls",
    "relay.username",
    "relay.password_file",
    "probe.recipient",
}
# Values that are shown in the place of the field's own example or default.
_SHOWN = {"relay.port": 587, "relay.tls": "starttls", "relay.provider": "", "relay.region": ""}


def example() -> str:
    """Return a settings file with every setting; those that are not needed are comments with their defaults."""
    lines = ["# Settings of Postward. Lines that begin with # show defaults or possible values."]
    for name, model in models_of(Settings).items():
        field = Settings.model_fields[name]
        title = "[[relay]]" if name == "relay" else f"[{name}]"
        summary = (model.__doc__ or "").partition("\n")[0] if model else field.description or ""
        lines += ["", *_comment(summary), title]
        if model is None:
            lines += [f"#{assignment(key, value)}" for key, value in (field.examples or [{}])[0].items()]
            continue
        for key, setting in model.model_fields.items():
            if key != "oauth2":
                lines += [*_comment(setting.description or ""), _setting(name, key, setting)]
        if name == "relay":
            lines += _subtable("relay.oauth2", OAuth2)
    return "\n".join(lines) + "\n"


def _subtable(name: str, model: type[Section]) -> list[str]:
    """Return a table that no first settings need, as comments."""
    lines = [*_comment((model.__doc__ or "").partition("\n")[0]), f"#[{name}]"]
    for key, setting in model.model_fields.items():
        lines += [*_comment(setting.description or ""), _setting(name, key, setting)]
    return lines


def _setting(section: str, key: str, field: FieldInfo) -> str:
    path = f"{section}.{key}"
    value = _SHOWN.get(path, field.examples[0] if field.examples else field.default)
    if value is PydanticUndefined or value is None:
        value = ""
    return f"{'' if path in _FILLED else '#'}{assignment(key, value)}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False)]

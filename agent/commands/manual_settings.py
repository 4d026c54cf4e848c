"""The manual page postward.toml(5), made from the models of the settings.

Promise: it has each table and key, with the description, the values and the default of the model.
"""

from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from postward.agent.commands.roff import heading, item, roff
from postward.config.environment import models_of
from postward.config.oauth2 import OAuth2
from postward.config.settings import DEFAULT_FILE, Settings
from postward.config.toml import toml_value

_DESCRIPTION = f"""\
{DEFAULT_FILE} holds the settings of Postward, in TOML. The fragments {DEFAULT_FILE}.d/*.toml follow in the order of their
names: tables are merged key by key, and the later file wins. Relays with the same name are one relay.

Environment variables override both: POSTWARD_SECTION__KEY, and POSTWARD_RELAY__NAME__KEY for one relay.

A change comes into force when a file is saved. Unknown keys and bad values are refused, all at once, and the former
settings stay in force. postward check prints the settings in effect.
"""

_END = rf"""
.SH EXAMPLES
A host that sends its mail through a relay:
.PP
.nf
[host]
profile = "send\-only"
myhostname = "mail.example.com"

[[relay]]
name = "sendcloud"
provider = "sendcloud"
username = "API_USER"
password_file = "/etc/postward/passwords/sendcloud"

[probe]
recipient = "probe@example.com"
.fi
.SH FILES
.TP
{roff(str(DEFAULT_FILE))}, {roff(str(DEFAULT_FILE))}.d/*.toml
The settings.
.TP
/etc/postward/passwords/
A file with the password of each relay, readable by root only.
.SH SEE ALSO
postward(1), postward\-agent(8), postconf(5)
"""


def settings_manual(day: str) -> str:
    """Return the manual page, with the day of its version."""
    parts = [
        heading("postward.toml", 5, day, "settings of Postward"),
        f".SH DESCRIPTION\n{roff(_DESCRIPTION)}",
    ]
    for title, meaning, fields in tables():
        level = ".SS" if title == "[relay.oauth2]" else ".SH"
        parts += [f"{level} {roff(title)}", roff(meaning.replace("`", ""))]
        parts += [item(rf"\fB{roff(key)}\fR", " ".join(explained(field))) for key, field in fields.items()]
    return "\n".join(parts) + _END


def tables() -> Iterator[tuple[str, str, Mapping[str, FieldInfo]]]:
    """Yield each table of the settings: its title, its meaning, and its keys; `[main_cf]` has any parameter as key."""
    for name, model in models_of(Settings).items():
        if model is None:
            yield f"[{name}]", Settings.model_fields[name].description or "", {}
            continue
        # relay.oauth2 is a table of its own.
        fields = {key: field for key, field in model.model_fields.items() if key != "oauth2"}
        yield "[[relay]]" if name == "relay" else f"[{name}]", model.__doc__ or "", fields
        if name == "relay":
            yield "[relay.oauth2]", OAuth2.__doc__ or "", OAuth2.model_fields


def explained(field: FieldInfo) -> Iterator[str]:
    """Yield what is known of a setting: description, values, bounds, default, example."""
    yield field.description or ""
    if values := _choices(field.annotation):
        yield f"Values: {', '.join(map(toml_value, values))}."
    if bounds := _bounds(field):
        yield f"{bounds}."
    if field.is_required():
        yield "Required."
    elif field.default not in (PydanticUndefined, None, "", [], {}):
        yield f"Default: {toml_value(field.default)}."
    if field.examples and field.examples[0] and not values:
        yield f"Example: {toml_value(field.examples[0])}."


def _choices(annotation: Any) -> list[str]:
    """Return the values of a type that is a list of them, or of them and None."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return _choices(kinds[0]) if len(kinds) == 1 and len(get_args(annotation)) == 2 else []


def _bounds(field: FieldInfo) -> str:
    texts = []
    for bound in field.metadata:
        match bound:
            case Ge(ge=value):
                texts.append(f"at least {value}")
            case Gt(gt=value):
                texts.append(f"more than {value}")
            case Le(le=value):
                texts.append(f"at most {value}")
            case Lt(lt=value):
                texts.append(f"less than {value}")
    return " and ".join(texts).capitalize()

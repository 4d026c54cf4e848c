"""Write TOML. The standard library only reads it.

Strings, integers, booleans and lists of these have the same form in TOML as in JSON. Tables of strings are written inline.
"""

import json
import re


def toml_value(value: object) -> str:
    """Return a value as TOML. JSON leaves U+007F as it is, and TOML does not allow that."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{toml_key(str(key))} = {toml_value(inner)}" for key, inner in value.items())
        return f"{{{pairs}}}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(key: str) -> str:
    """Return a key as TOML: bare if it can be."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def assignment(key: str, value: object) -> str:
    """Return the line `key = value`."""
    return f"{toml_key(key)} = {toml_value(value)}"

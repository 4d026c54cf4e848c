"""Values of parameters: `$name` expanded, and the value that the admin intended."""

import re
from collections.abc import Mapping


def intended(value: str) -> str:
    """Return a value without an inline comment and without quotes around it."""
    value = re.split(r"(?:^|\s)#", value)[0].strip()
    quoted = re.fullmatch(r"([\"'])(.*)\1", value)
    return quoted[2] if quoted else value


def expand(values: Mapping[str, str]) -> dict[str, str]:
    """Expand `$name` as `postconf -x` does, for a configuration that postconf cannot read. Loops end after eight rounds."""
    expanded = dict(values)
    for name in expanded:
        for _ in range(8):
            text = re.sub(
                r"\$(?:([A-Za-z0-9_]+)|[({]([A-Za-z0-9_]+)[)}])",
                lambda match: values.get(match[1] or match[2], ""),
                expanded[name],
            )
            if text == expanded[name] or len(text) > 20000:
                break
            expanded[name] = text
    return expanded

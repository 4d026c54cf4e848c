"""Values of parameters as the admin intended them."""

import re


def intended(value: str) -> str:
    """Return a value without an inline comment and without quotes around it."""
    value = re.split(r"(?:^|\s)#", value)[0].strip()
    quoted = re.fullmatch(r"([\"'])(.*)\1", value)
    return quoted[2] if quoted else value

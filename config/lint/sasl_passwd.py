"""Classify the mistakes in a line of sasl_passwd, without keeping its password."""

import re
from collections.abc import Iterator

# Mistakes in an entry.
NO_VALUE, NO_COLON, NO_USER, NO_PASSWORD = "no value", "no colon", "no user", "no password"
QUOTED, COMMENT, PLACEHOLDER, EQUALS = "quoted", "comment", "placeholder", "equals"
_NEXT_HOP = re.compile(
    r"(\[[^\s\[\]@=]+\]|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+|localhost)(:([0-9]+|[a-z]*smtp[a-z]*|submissions?|urd))?"
)
_SENDER = re.compile(r"[^\s@:=]*@[A-Za-z0-9.*-]+")
_PLACEHOLDER_TEXT = re.compile(
    r"([x*]{4,}|<.*>|your[-_ ]?.*|(my)?[-_ ]?pass(word|wd)?|api_?key|secret|change[-_]?me|密码|授权码)",
    re.IGNORECASE,
)


def is_key(text: str) -> bool:
    """Return True for a next hop or a sender, which cannot be a password."""
    return bool(_NEXT_HOP.fullmatch(text) or _SENDER.fullmatch(text))


def login_faults(key: str, value: str) -> Iterator[str]:
    """Yield the mistakes in an entry, by its key and its login."""
    if not value:
        yield EQUALS if "=" in key else NO_VALUE
        return
    if re.search(r"\s#(\s|$)", value):
        yield COMMENT
        value = re.split(r"\s#(?:\s|$)", value)[0].rstrip()
    if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
        yield QUOTED
        value = value[1:-1]
    user, colon, password = value.partition(":")
    if len(password) > 1 and password[0] in "\"'" and password[-1] == password[0]:
        yield QUOTED
        password = password[1:-1]
    if value.startswith("="):
        yield EQUALS
    elif not colon:
        yield NO_COLON
    elif not user.strip():
        yield NO_USER
    elif not password:
        yield NO_PASSWORD
    elif _PLACEHOLDER_TEXT.fullmatch(password):
        yield PLACEHOLDER

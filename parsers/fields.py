"""The JSON form of an event: Postfix's own names and values, numbers as numbers, peers split into their parts.

Promises: the keys are the event's fields without a trailing underscore, plus the parts of ``relay``, ``peer``
and ``client``. A field that the line does not have is left out. A numeric field whose value is not a number
stays text. Nothing raises.
"""

import re
from typing import Final

from postward.parsers.events import Event

_INTEGERS: Final = frozenset(
    {
        "conn_use",
        "status",
        "size",
        "nrcpt",
        "uid",
        "number",
        "limit",
        "used",
        "child",
        "signal",
    }
)
_PARTS: Final = frozenset({"relay", "peer", "client"})

# smtp/smtp_session.c: host[address]:port. A host of "[" only would be ambiguous; Postfix never prints one.
_PEER: Final = re.compile(r"([^\[\]]*+)\[([^\]]*+)\](?::([\w-]++))?")


def split_peer(peer: str) -> tuple[str | None, str | None, int | None]:
    """Return host, address and port of ``host[address]:port``; None for each part that is missing or invalid."""
    match = _PEER.fullmatch(peer)
    if match is None:
        return (peer or None, None, None)
    host, addr, port = match.groups()
    number = int(port) if port and port.isascii() and port.isdigit() and len(port) <= 5 else None
    return host or None, addr or None, number


def as_fields(event: Event) -> dict[str, object]:
    """Return the event's fields as they go into JSON."""
    values: dict[str, object] = {}
    for name, value in zip(event._fields, event, strict=True):
        if value is None:
            continue
        key = name.rstrip("_")
        values[key] = _value(key, value)
        if key in _PARTS and "[" in value:
            host, addr, port = split_peer(value)
            parts = {f"{key}_host": host, f"{key}_addr": addr, f"{key}_port": port}
            values.update((part, known) for part, known in parts.items() if known is not None)
    return values


def _value(key: str, text: str) -> object:
    if key in _INTEGERS:
        return _integer(text)
    if key == "delay":
        return _decimal(text)
    if key == "delays":
        return [_decimal(part) for part in text.split("/")]
    return text


def _integer(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else text


def _decimal(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    # JSON has no "nan" and no "inf".
    return number if -1e18 < number < 1e18 else text

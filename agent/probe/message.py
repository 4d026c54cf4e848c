"""Who a probe mail is: its identifier, the Message-ID that carries it, and the seal by which changes show.

An identifier is the time of submission and a random part; with a fleet's key it is signed, so that a sink takes
no stranger's mail for a probe. The seal is one short digest for each part of the mail that should arrive as sent.

Promise: pure apart from `read_key`, total, and no key nor anything it can be guessed from is ever in a mail. What
is not an identifier of this fleet is None.
"""

import hashlib
import hmac
import re
from email.message import Message
from email.utils import parseaddr
from pathlib import Path

PROBE_HEADER = "X-Postward-Probe"
SEAL_HEADER = "X-Postward-Seal"
# What must arrive as it was sent. A relay may add headers, fold lines and re-encode; it must not change these.
SEALED = ("message-id", "from", "to", "subject", "body")

_IDENTIFIER = re.compile(
    r"(?P<time>[0-9a-f]{1,12})\.(?P<random>[0-9a-f]{16})(?:\.(?P<signature>[0-9a-f]{32}))?"
)
_MESSAGE_ID = re.compile(r"<(?P<identifier>[0-9a-f.]{1,80})\.postward-probe@[^\s<>@]{1,255}>")
_SHORTEST_KEY = 16  # bytes


class KeyFileError(Exception):
    """The fleet's key cannot be used; the text says why and what would be right, without the key."""


def read_key(path: Path) -> bytes:
    """The key of a fleet: all of a file's content. Raises KeyFileError."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; it must hold the fleet's key") from None
    if len(key) < _SHORTEST_KEY:
        raise KeyFileError(
            f"{path}: holds fewer than {_SHORTEST_KEY} bytes; make a key with: openssl rand -hex 32"
        )
    return key


def new_identifier(now: float, random: bytes, key: bytes | None) -> str:
    """An identifier; `random` are eight bytes that no one can guess."""
    plain = f"{int(now * 1000):x}.{random.hex()}"
    return f"{plain}.{_digest(key, 'identifier', plain)}" if key else plain


def message_id_of(identifier: str, host: str) -> str:
    """The Message-ID that carries an identifier through Postfix's log."""
    return f"<{identifier}.postward-probe@{host}>"


def is_probe(message_id: str) -> bool:
    """True for the Message-ID of a probe of any host."""
    return _MESSAGE_ID.fullmatch(message_id) is not None


def identifier_in(message_id: str) -> str | None:
    """The identifier that a Message-ID carries."""
    match = _MESSAGE_ID.fullmatch(message_id)
    return match["identifier"] if match else None


def signed_at(identifier: str, key: bytes) -> float | None:
    """When a probe of this fleet was made, in seconds since the epoch; None for anything else."""
    match = _IDENTIFIER.fullmatch(identifier)
    if match is None or match["signature"] is None:
        return None
    plain = f"{match['time']}.{match['random']}"
    if not hmac.compare_digest(match["signature"], _digest(key, "identifier", plain)):
        return None
    return int(match["time"], 16) / 1000


def seal(message: Message, identifier: str, key: bytes) -> str:
    """The seal of a mail, as its header has it."""
    return " ".join(f"{part}={_digest(key, identifier, part, _value(message, part))}" for part in SEALED)


def altered_parts(message: Message, identifier: str, key: bytes) -> tuple[str, ...]:
    """The sealed parts that are not what was sent; ("seal",) if the seal itself is gone."""
    told = dict(part.split("=", 1) for part in str(message.get(SEAL_HEADER, "")).split() if "=" in part)
    if not told:
        return ("seal",)
    return tuple(
        part
        for part in SEALED
        if not hmac.compare_digest(
            told.get(part, "").encode(), _digest(key, identifier, part, _value(message, part)).encode()
        )
    )


def _value(message: Message, part: str) -> str:
    """A part as its digest sees it: folding, the case of addresses and the encoding of the body do not matter."""
    if part == "body":
        payload = message.get_payload(decode=True)
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
        return "\n".join(line.rstrip() for line in text.splitlines()).strip()
    value = " ".join(str(message.get(part, "")).split())
    return parseaddr(value)[1].lower() if part in {"from", "to"} else value


def _digest(key: bytes, *parts: str) -> str:
    return hmac.new(key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:32]

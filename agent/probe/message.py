"""A probe mail: its identifier, the Message-ID that carries it, and the seal that reveals changes.

An identifier is the time of submission and a random part. With a fleet's key it is signed, so that a sink accepts no
other mail as a probe. The seal is one short digest for each part of the mail that must arrive unchanged.

Promise: pure apart from `read_key`; no mail contains the key, nor anything from which it can be guessed. Anything that
is not an identifier of this fleet is None.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a replay without settings does not wait for pydantic
    from postward.agent.probe.route import Route
    from postward.config.settings import Settings

PROBE_HEADER = "X-Postward-Probe"
SEAL_HEADER = "X-Postward-Seal"
# The parts that must arrive unchanged. A relay may add headers, fold lines and re-encode.
SEALED = ("message-id", "from", "to", "subject", "body")

_IDENTIFIER = re.compile(
    r"(?P<time>[0-9a-f]{1,12})\.(?P<random>[0-9a-f]{16})(?:\.(?P<signature>[0-9a-f]{32}))?"
)
_MESSAGE_ID = re.compile(r"<(?P<identifier>[0-9a-f.]{1,80})\.postward-probe@[^\s<>@]{1,255}>")
_MIN_KEY_LENGTH = 16  # bytes


class KeyFileError(Exception):
    """The fleet's key cannot be used; the text says why and what would be right, without the key."""


def read_key(path: Path) -> bytes:
    """Return the key of a fleet: a file's content without surrounding white space. Raises KeyFileError."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; the file must contain the fleet's key") from None
    if len(key) < _MIN_KEY_LENGTH:
        raise KeyFileError(
            f"{path}: has fewer than {_MIN_KEY_LENGTH} bytes; make a key with: openssl rand -hex 32"
        )
    return key


def new_identifier(now: float, random: bytes, key: bytes | None) -> str:
    """Return an identifier.

    Args:
        now: seconds since the epoch.
        random: eight random bytes.
        key: the fleet's key; None: the identifier is not signed.
    """
    plain = f"{int(now * 1000):x}.{random.hex()}"
    return f"{plain}.{_digest(key, 'identifier', plain)}" if key else plain


def message_id_of(identifier: str, host: str) -> str:
    """Return the Message-ID that carries an identifier through Postfix's log."""
    return f"<{identifier}.postward-probe@{host}>"


def is_probe(message_id: str) -> bool:
    """Return True for the Message-ID of a probe of any host."""
    return "postward-probe" in message_id and _MESSAGE_ID.fullmatch(message_id) is not None


def identifier_in(message_id: str) -> str | None:
    """Return the identifier in a Message-ID."""
    match = _MESSAGE_ID.fullmatch(message_id)
    return match["identifier"] if match else None


def signed_at(identifier: str, key: bytes) -> float | None:
    """Return when an identifier of this fleet was made, in seconds since the epoch; None for any other."""
    match = _IDENTIFIER.fullmatch(identifier)
    if match is None or match["signature"] is None:
        return None
    plain = f"{match['time']}.{match['random']}"
    if not hmac.compare_digest(match["signature"], _digest(key, "identifier", plain)):
        return None
    return int(match["time"], 16) / 1000


def signed_identifiers(message: Message, key: bytes) -> Iterator[tuple[str, float]]:
    """Yield the identifiers of this fleet in a mail, each with the time when it was made.

    Two fields have it, and either is enough: a relay may remove the header or rewrite the Message-ID.
    """
    header = str(message.get(PROBE_HEADER, "")).strip()
    for identifier in filter(None, (header, identifier_in(str(message.get("Message-ID", "")).strip()))):
        signed = signed_at(identifier, key)
        if signed is not None:
            yield identifier, signed


def probe_message(settings: "Settings", route: "Route", identifier: str, key: bytes | None) -> EmailMessage:
    """Return a probe mail. Its headers say that it is automatic (RFC 3834), so that no responder answers."""
    message = EmailMessage(policy=SMTP)
    message["From"] = route.sender
    message["To"] = route.recipient
    message["Subject"] = f"Postward probe from {settings.host.myhostname}"
    message["Date"] = formatdate()
    message["Message-ID"] = message_id_of(identifier, settings.host.myhostname)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["User-Agent"] = "Postward"
    message[PROBE_HEADER] = identifier
    message.set_content("This mail shows that mail leaves this host. It can be deleted.\n")
    if key is not None:
        message[SEAL_HEADER] = seal(message, identifier, key)
    return message


def seal(message: Message, identifier: str, key: bytes) -> str:
    """Return the seal of a mail, the value of its header."""
    return " ".join(f"{part}={_part_digest(message, identifier, key, part)}" for part in SEALED)


def altered_parts(message: Message, identifier: str, key: bytes) -> tuple[str, ...]:
    """Return the sealed parts that were changed; ("seal",) if the seal itself is missing."""
    digests = dict(part.split("=", 1) for part in str(message.get(SEAL_HEADER, "")).split() if "=" in part)
    if not digests:
        return ("seal",)
    return tuple(
        part
        for part in SEALED
        if not hmac.compare_digest(
            digests.get(part, "").encode(), _part_digest(message, identifier, key, part).encode()
        )
    )


def _part_digest(message: Message, identifier: str, key: bytes, part: str) -> str:
    return _digest(key, identifier, part, _value(message, part))


def _value(message: Message, part: str) -> str:
    """Return a part without folding, case of addresses, and encoding of the body, which relays may change."""
    if part == "body":
        payload = message.get_payload(decode=True)
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
        return "\n".join(line.rstrip() for line in text.splitlines()).strip()
    value = " ".join(str(message.get(part, "")).split())
    return parseaddr(value)[1].lower() if part in {"from", "to"} else value


def _digest(key: bytes, *parts: str) -> str:
    return hmac.new(key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:32]

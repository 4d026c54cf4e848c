"""What a certificate says of itself, read from its DER form, whether anybody trusts it or not.

The ssl module decodes only what it has verified, and a relay's certificate is of most interest when it is expired. Six
fields are no reason to load a cryptographic library into a small agent (eight megabytes, and one more binary on every
mail host), so that they are read here; nothing is decided from them but what is told.

Promise: pure and bounded; what is not a certificate is a ValueError, whatever its bytes.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

_LARGEST = 1 << 16  # bytes
_MAX_NAMES = 100
# X.520 attributes by the DER of their object identifiers.
_ATTRIBUTES = {
    b"\x55\x04\x03": "CN",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
}
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION, _EXTENSIONS = 0x30, 0x17, 0x18, 0xA0, 0xA3
_OCTETS, _DNS, _ADDRESS, _BMP = 0x04, 0x82, 0x87, 0x1E


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate.

    Attributes:
        subject, issuer: as in "CN=R11, O=Let's Encrypt, C=US".
        names: the host names and addresses it is for.
        not_before, not_after: seconds since the epoch.
        fingerprint: SHA-256 of the certificate.
        key: SHA-256 of its public key, which can outlive it.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    fingerprint: str
    key: str


@dataclass(frozen=True, slots=True)
class _Value:
    tag: int
    content: bytes
    whole: bytes


def parse_certificate(der: bytes) -> Certificate:
    """Read a certificate (RFC 5280). Raises ValueError."""
    if len(der) > _LARGEST:
        raise ValueError("too large for a certificate")
    try:
        parts = list(_values(next(_values(next(_values(der)).content)).content))
        if parts[0].tag == _VERSION:
            del parts[0]
        _serial, _algorithm, issuer, validity, subject, key = parts[:6]
        start, end = (_time(value) for value in _values(validity.content))
        extensions = next((part.content for part in parts[6:] if part.tag == _EXTENSIONS), b"")
        return Certificate(
            _name(subject.content),
            _name(issuer.content),
            tuple(_names(extensions)),
            start,
            end,
            hashlib.sha256(der).hexdigest(),
            hashlib.sha256(key.whole).hexdigest(),
        )
    except (StopIteration, IndexError, RuntimeError) as error:
        raise ValueError("not a certificate") from error


def _values(data: bytes) -> Iterator[_Value]:
    """The values that stand one after the other."""
    position = 0
    while position < len(data):
        start = position
        tag, length, position = data[position], _byte(data, position + 1), position + 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 3:
                raise ValueError("a length of another form than DER's")
            length = int.from_bytes(data[position : position + size])
            position += size
        end = position + length
        if end > len(data):
            raise ValueError("cut off")
        yield _Value(tag, data[position:end], data[start:end])
        position = end


def _byte(data: bytes, position: int) -> int:
    if position >= len(data):
        raise ValueError("cut off")
    return data[position]


def _time(value: _Value) -> float:
    text = value.content.decode("ascii")
    if (
        value.tag == _UTC_TIME
    ):  # two digits of the year: 50 and above are of the last century (RFC 5280, 4.1.2.5.1)
        text = ("19" if text >= "5" else "20") + text
    elif value.tag != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _name(content: bytes) -> str:
    """A distinguished name, the most telling part first."""
    found = []
    for group in _values(content):
        for attribute in _values(group.content):
            kind, value = list(_values(attribute.content))[:2]
            if kind.content in _ATTRIBUTES:
                found.append(f"{_ATTRIBUTES[kind.content]}={_text(value)}")
    return ", ".join(reversed(found[:20]))


def _text(value: _Value) -> str:
    text = value.content.decode("utf-16-be" if value.tag == _BMP else "utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text[:200])


def _names(extensions: bytes) -> Iterator[str]:
    for extension in _values(next(_values(extensions)).content) if extensions else ():
        parts = list(_values(extension.content))
        if parts[0].content == _ALTERNATIVE_NAMES and parts[-1].tag == _OCTETS:
            for name in list(_values(next(_values(parts[-1].content)).content))[:_MAX_NAMES]:
                if name.tag == _DNS:
                    yield _text(name)
                elif name.tag == _ADDRESS and len(name.content) in {4, 16}:
                    yield str(ip_address(name.content))

"""Six fields of an X.509 certificate, read from its DER form (RFC 5280) without verification.

The ssl module decodes only certificates that it has verified, and an expired one is of most interest. A cryptographic
library would add eight megabytes and one more binary to every mail host. The fields are only displayed and compared.

Promise: pure and bounded; bytes that are not a certificate raise ValueError.
"""

import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from postward.parsers.scrub import printable

_MAX_SIZE = 1 << 16  # bytes
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
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def der_of(pem: str) -> bytes:
    """Return the first certificate of a PEM file, in DER. Raises ValueError without one."""
    begin, end = pem.find(_BEGIN), pem.find(_END)
    return ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_END)])


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate.

    Attributes:
        subject, issuer: as in "CN=R11, O=Let's Encrypt, C=US".
        names: its host names and addresses.
        not_after: seconds since the epoch.
        fingerprint: SHA-256 of the certificate.
        key: SHA-256 of its public key; a renewed certificate can keep it.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
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
    if len(der) > _MAX_SIZE:
        raise ValueError("too large for a certificate")
    try:
        parts = list(_values(next(_values(next(_values(der)).content)).content))
        if parts[0].tag == _VERSION:
            del parts[0]
        _serial, _algorithm, issuer, validity, subject, key = parts[:6]
        _start, end = _values(validity.content)
        extensions = next((part.content for part in parts[6:] if part.tag == _EXTENSIONS), b"")
        return Certificate(
            _name(subject.content),
            _name(issuer.content),
            tuple(_names(extensions)),
            _time(end),
            hashlib.sha256(der).hexdigest(),
            hashlib.sha256(key.whole).hexdigest(),
        )
    except (StopIteration, IndexError, RuntimeError) as error:
        raise ValueError("not a certificate") from error


def _values(data: bytes) -> Iterator[_Value]:
    """Yield the values of a sequence."""
    position = 0
    while position < len(data):
        start = position
        tag, length, position = data[position], _byte(data, position + 1), position + 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 3:
                raise ValueError("not a DER length")
            length = int.from_bytes(data[position : position + size])
            position += size
        end = position + length
        if end > len(data):
            raise ValueError("truncated")
        yield _Value(tag, data[position:end], data[start:end])
        position = end


def _byte(data: bytes, position: int) -> int:
    if position >= len(data):
        raise ValueError("truncated")
    return data[position]


def _time(value: _Value) -> float:
    text = value.content.decode("ascii")
    if value.tag == _UTC_TIME:  # a year of two digits: 50 and above are 19xx (RFC 5280, 4.1.2.5.1)
        text = ("19" if text >= "5" else "20") + text
    elif value.tag != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _name(content: bytes) -> str:
    """Return a distinguished name, the most specific part first."""
    parts = []
    for group in _values(content):
        for attribute in _values(group.content):
            kind, value = list(_values(attribute.content))[:2]
            if kind.content in _ATTRIBUTES:
                parts.append(f"{_ATTRIBUTES[kind.content]}={_text(value)}")
    return ", ".join(reversed(parts[:20]))


def _text(value: _Value) -> str:
    text = value.content.decode("utf-16-be" if value.tag == _BMP else "utf-8", "replace")
    return printable(text[:200])


def _names(extensions: bytes) -> Iterator[str]:
    for extension in _values(next(_values(extensions)).content) if extensions else ():
        parts = list(_values(extension.content))
        if parts[0].content == _ALTERNATIVE_NAMES and parts[-1].tag == _OCTETS:
            for name in list(_values(next(_values(parts[-1].content)).content))[:_MAX_NAMES]:
                if name.tag == _DNS:
                    yield _text(name)
                elif name.tag == _ADDRESS and len(name.content) in {4, 16}:
                    yield str(ip_address(name.content))

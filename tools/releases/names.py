"""A name server on loopback with a literal zone, so that no lookup of a scene leaves the machine."""

import socket
import struct
import threading
from types import TracebackType
from typing import Self

ADDRESS = "127.9.9.53"  # port 53 of 127.0.0.1 may be in use

_A, _PTR, _MX, _TXT = 1, 12, 15, 16
_SERVFAIL, _NXDOMAIN = 2, 3
_TYPES = {"A": _A, "PTR": _PTR, "MX": _MX, "TXT": _TXT}

# A name without an entry does not exist; the lookup of one with SERVFAIL fails.
ZONE: dict[str, dict[str, list[str]]] = {
    "relay.example.test": {"A": ["127.0.0.1"]},
    "relay2.example.test": {"A": ["127.0.0.2", "127.0.0.1"]},
    "host.example.test": {"A": ["127.0.0.1"]},
    "client.example.test": {"A": ["127.0.0.1"]},
    "dest.test": {"A": ["127.0.0.1"], "MX": ["10 relay.example.test"]},
    "two.test": {"MX": ["10 relay2.example.test", "20 relay.example.test"]},
    "loop.test": {"MX": ["10 host.example.test"]},
    "nullmx.test": {"MX": ["0 ."]},
    "badmx.test": {"MX": ["10 nowhere.example.test"]},
    "nodata.test": {"TXT": ["nothing here"]},
    "txt.test": {"TXT": ["v=spf1 -all"]},
    "tryagain.test": {"SERVFAIL": []},
    "1.0.0.127.in-addr.arpa": {"PTR": ["client.example.test"]},
    "2.0.0.127.in-addr.arpa": {"PTR": ["mismatch.example.test"]},
    "mismatch.example.test": {"A": ["192.0.2.1"]},
    "3.0.0.127.in-addr.arpa": {"PTR": ["nowhere.example.test"]},
    "4.0.0.127.bl.example.test": {"A": ["127.0.0.2"], "TXT": ["listed for a test"]},
}


def _labels(name: str) -> bytes:
    parts = [part.encode() for part in name.rstrip(".").split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _data(kind: str, value: str) -> bytes:
    if kind == "A":
        return socket.inet_aton(value)
    if kind == "MX":
        preference, _, host = value.partition(" ")
        return struct.pack(">H", int(preference)) + _labels(host)
    if kind == "TXT":
        return bytes([len(value)]) + value.encode()
    return _labels(value)


def answer(query: bytes) -> bytes:
    """Return the reply to one query."""
    end, parts = 12, []
    while query[end]:
        parts.append(query[end + 1 : end + 1 + query[end]].decode("latin-1").lower())
        end += query[end] + 1
    asked = query[12 : end + 5]
    (kind,) = struct.unpack(">H", query[end + 1 : end + 3])
    entry = ZONE.get(".".join(parts))
    code = _NXDOMAIN if entry is None else _SERVFAIL if "SERVFAIL" in entry else 0
    records = [
        b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
        for name, values in (entry or {}).items()
        if _TYPES.get(name) == kind
        for data in (_data(name, value) for value in values)
    ]
    head = query[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(records), 0, 0)
    return head + asked + b"".join(records)


class NameServer:
    """Answer queries over UDP during the with block."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Two concurrent runs serve the same zone.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((ADDRESS, 53))
        self._socket.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="name server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                query, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self._socket.sendto(answer(query), client)

"""Entries of the systemd journal with fields of their own, so that they can be searched for: `journalctl POSTWARD_INCIDENT=opened`.

The journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram an entry. How it fails: what the journal
does not take goes to standard error, as everything else does.
"""

import logging
import socket
from collections.abc import Mapping
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")


def datagram(fields: Mapping[str, str]) -> bytes:
    """An entry. A value with a line end is preceded by its length."""
    out = bytearray()
    for name, value in fields.items():
        data = value.encode("utf-8", "replace")
        if b"\n" in data:
            out += name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
        else:
            out += name.encode() + b"=" + data + b"\n"
    return bytes(out)


class JournalFields(logging.Handler):
    """Sends what has fields (`extra={"fields": …}`) to the journal, and everything else to another handler.

    Args:
        plain: the other handler.
        levels: level → the journal's priority.
        path: the journal's socket.
    """

    def __init__(self, plain: logging.Handler, levels: Mapping[int, int], path: Path = SOCKET) -> None:
        super().__init__()
        self._plain = plain
        self._levels = levels
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Take an entry."""
        fields: Mapping[str, str] | None = getattr(record, "fields", None)
        if fields is None or not self._sent(record, fields):
            self._plain.handle(record)

    def _sent(self, record: logging.LogRecord, fields: Mapping[str, str]) -> bool:
        head = {
            "MESSAGE": record.getMessage(),
            "PRIORITY": str(self._levels.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": "postward",
        }
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
                journal.settimeout(0.1)
                journal.sendto(datagram({**head, **fields}), str(self._path))
        except OSError:
            return False
        return True

"""Journal files, written by systemd-journal-remote."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.require import required

_WRITER = "/usr/lib/systemd/systemd-journal-remote"
_BEGIN = 1_796_000_000  # seconds since 1970


def require_journal() -> None:
    """Skip the test, or fail it in CI, if journals cannot be written or read here."""
    required("journalctl", "systemd")
    required(_WRITER, "systemd-journal-remote")


def append_entries(file: Path, entries: Iterable[Mapping[str, str | bytes]]) -> None:
    """Append entries, each a map from field to value, to a journal file. Without entries, make an empty journal."""
    text = b"".join(b"".join(_field(*field) for field in entry.items()) + b"\n" for entry in entries)
    subprocess.run([_WRITER, f"--output={file}", "-"], input=text, check=True, capture_output=True)


def mail_entry(second: int, message: str | bytes, *, boot: int = 1, **fields: str) -> dict[str, str | bytes]:
    """Return an entry of the mail facility; the fields given replace its own.

    Args:
        second: the time, in seconds since the first entry of a journal.
        message: the text after the tag; bytes need not be UTF-8.
        boot: number of the boot, at least 1.
        fields: further fields.
    """
    return {
        "__REALTIME_TIMESTAMP": str((_BEGIN + second) * 1_000_000),
        "__MONOTONIC_TIMESTAMP": str((second + 1) * 1_000_000),
        "_BOOT_ID": f"{boot:032x}",
        "_HOSTNAME": "mail",
        "SYSLOG_FACILITY": "2",
        "SYSLOG_IDENTIFIER": "postfix/qmgr",
        "SYSLOG_PID": "7",
        "MESSAGE": message,
        **fields,
    }


def _field(name: str, value: str | bytes) -> bytes:
    """Return a field in the journal's export format (systemd's JOURNAL_EXPORT_FORMATS)."""
    if isinstance(value, str):
        return f"{name}={value}\n".encode()
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"

"""What the systemd journal holds of mail, from its first entry on, for commands that look back.

Entries are handed out as journalctl prints them, one JSON object a line, which `parsers` reads like any other line. Those of the
mail facility are taken, as `journal.py` does for the agent.

How it fails: `JournalError`, with what is wrong and what would be right; the lines before have been handed out by then.
"""

import subprocess
from collections.abc import Iterator
from datetime import datetime

BLOCK = 1 << 20  # bytes
# Not --quiet: that the journal may not be read is said, and is no status.
_COMMAND = ("journalctl", "--output=json", "--all", "--no-pager")
_MAIL = "SYSLOG_FACILITY=2"
_NOT_ALLOWED = "not seeing messages from other users"


class JournalError(Exception):
    """The journal cannot be read."""


def read_journal(since: datetime | None = None) -> Iterator[bytes]:
    """Its entries of mail, in pieces of any length; those written before `since` are left out.

    Raises:
        JournalError: journalctl is missing, fails, or may not read it.
    """
    command = [*_COMMAND, *([f"--since=@{since.timestamp():.0f}"] if since else []), _MAIL]
    try:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise JournalError(f"journalctl cannot be run ({error.strerror}); name log files instead") from error
    with running:
        assert running.stdout is not None  # noqa: S101 - asked for above
        assert running.stderr is not None  # noqa: S101
        try:
            while piece := running.stdout.read(BLOCK):
                yield piece
            words = running.stderr.read(2000).decode("utf-8", "replace").strip()
            status = running.wait()
        finally:
            running.kill()
    if status:
        raise JournalError(f"journalctl ended with status {status}: {words}")
    if _NOT_ALLOWED in words:
        raise JournalError(
            "this user sees a part of it alone; call this with sudo, or as a member of the group systemd-journal"
        )

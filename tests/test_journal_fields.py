"""Entries of the journal with fields: a real datagram."""

import logging
import socket
from pathlib import Path

from postward.agent.systemd import JournalFields, datagram


def test_journal_entries_have_fields(tmp_path: Path) -> None:
    """The native protocol; a value with line ends is preceded by its length."""
    path = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        handler = JournalFields(logging.NullHandler(), {logging.ERROR: 3}, path)
        record = logging.LogRecord("x", logging.ERROR, "", 0, "incident %s", ("opened",), None)
        record.fields = {"POSTWARD_INCIDENT": "opened"}
        handler.emit(record)
        entry = journal.recv(4096)

    assert (
        entry
        == b"MESSAGE=incident opened\nPRIORITY=3\nSYSLOG_IDENTIFIER=postward\nPOSTWARD_INCIDENT=opened\n"
    )
    assert datagram({"A": "x\ny"}) == b"A\n\x03\0\0\0\0\0\0\0x\ny\n"


def test_entries_go_to_the_other_handler_without_a_journal(tmp_path: Path) -> None:
    """If the socket is missing, the handler of the rest of the log takes them."""
    emitted: list[logging.LogRecord] = []

    class Plain(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            emitted.append(record)

    record = logging.LogRecord("x", logging.ERROR, "", 0, "text", (), None)
    record.fields = {"POSTWARD_INCIDENT": "opened"}
    JournalFields(Plain(), {}, tmp_path / "none").emit(record)

    assert emitted == [record]

"""Postfix's processes among those of everybody."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent.postfix import process as postfix_process

_PAGE = b"0 " * 16  # the fields of stat between the parent and the start


def process(folder: Path, number: int, name: bytes, parent: int = 1) -> Path:
    """A process as proc(5) shows it."""
    entry = folder / str(number)
    entry.mkdir()
    (entry / "comm").write_bytes(name + b"\n")
    (entry / "cmdline").write_bytes(b"/usr/lib/postfix/sbin/" + name + b"\0-w\0")
    (entry / "stat").write_bytes(b"%d (%s) S %d %s100 0" % (number, name, parent, _PAGE + b"0 "))
    (entry / "cwd").symlink_to("/var/spool/postfix")
    return entry


def test_a_process_whose_name_is_no_text_is_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's program may be called anything, also half a letter of UTF-8."""
    entries = [
        process(tmp_path, 10, b"\xc3"),
        process(tmp_path, 11, b"m) S 12 \xc3"),
        process(tmp_path, 12, b"master"),
        process(tmp_path, 13, b"qmgr", parent=12),
    ]

    def processes() -> Iterator[Path]:
        yield from entries

    monkeypatch.setattr(postfix_process, "_processes", processes)

    assert postfix_process.is_master_running("/var/spool/postfix")
    assert postfix_process.queue_manager_start("/var/spool/postfix") is not None
    assert not postfix_process.is_master_running("/var/spool/other")

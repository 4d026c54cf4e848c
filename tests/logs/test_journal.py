"""The journal as a source: the real journalctl, on a file of a test."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postward.agent.logs.journal import JournalSource
from postward.parsers import parse
from tests.support.journal import append_entries, mail_entry, require_journal
from tests.support.require import required
from tests.support.waiting import wait_for

# Notes each call, then becomes the real one; while the file `stderr` exists it fails with this message instead.
_JOURNALCTL = """#!/bin/sh
folder=$(dirname "$0")
printf '%s\\037' $$ "$@" >>"$folder/calls"
echo >>"$folder/calls"
if [ -e "$folder/stderr" ]; then cat "$folder/stderr" >&2; exit 1; fi
exec {journalctl} "$@"
"""
_SUPPRESSED = "a596d6fe7bfa4994828e72309e95d61e"
_OTHER: Any = {"SYSLOG_FACILITY": "3"}


class Journal:
    """A journal file, and the sources that read it.

    Attributes:
        now: the clock of the sources, in seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "system.journal"
        self.now = 0.0
        self._second = 0
        self._sources: list[JournalSource] = []
        append_entries(self.file, [])
        program = folder / "journalctl"
        program.write_text(_JOURNALCTL.format(journalctl=required("journalctl", "systemd")))
        program.chmod(0o755)

    def write(self, *messages: str | bytes, boot: int = 1, **fields: str) -> None:
        """Append an entry for each message, a second apart."""
        entries = []
        for message in messages:
            self._second += 1
            entries.append(mail_entry(self._second, message, boot=boot, **fields))
        append_entries(self.file, entries)

    def open(self, position: str | None = None) -> JournalSource:
        """Return a new source, which `close` closes."""
        source = JournalSource(position, lambda: self.now, lambda: [self.file])
        self._sources.append(source)
        return source

    def follow(self, position: str | None = None) -> JournalSource:
        """Return a new source after it has read what exists."""
        source = self.open(position)
        wait_for(lambda: source.read() == b"" and not source.behind, what="the end of the journal")
        return source

    def close(self) -> None:
        """Close all sources."""
        for source in self._sources:
            source.close()

    def calls(self) -> list[list[str]]:
        """Return the process ID and arguments of each call of journalctl."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [line.split("\037")[:-1] for line in lines]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    require_journal()
    journal = Journal(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    yield journal
    journal.close()


def read(source: JournalSource, count: int) -> list[Any]:
    """Wait for so many entries. Return their messages."""
    messages: list[Any] = []

    def enough() -> bool:
        messages.extend(json.loads(line)["MESSAGE"] for line in source.read().splitlines())
        return len(messages) >= count

    wait_for(enough, what=f"{count} entries; there are {messages}; {source.problem}")
    return messages


def test_entries_before_the_first_start_are_skipped(journal: Journal) -> None:
    """Reading begins after the newest entry of any facility."""
    journal.write("old")
    journal.write("other", **_OTHER)
    source = journal.follow()

    journal.write("new")

    assert read(source, 1) == ["new"]


def test_an_empty_journal_is_read_from_its_first_entry(journal: Journal) -> None:
    """Later entries are read, also by a source that is opened after them at the empty position."""
    source = journal.follow()
    assert source.position == ""

    journal.write("1")

    assert read(source, 1) == ["1"]
    assert read(journal.open(""), 1) == ["1"]


def test_after_a_restart_reading_goes_on_at_the_cursor(journal: Journal) -> None:
    """Entries written while the source was closed are returned, and it is behind until then."""
    source = journal.follow()
    journal.write("1")
    read(source, 1)
    source.close()
    journal.write("2")
    journal.write("other facility", **_OTHER)
    journal.write("3")
    source = journal.open(source.position)
    source.read()
    assert source.behind

    assert read(source, 2) == ["2", "3"]

    wait_for(lambda: source.read() == b"" and not source.behind, what="the end of the journal")


def test_a_cursor_of_another_facility_hides_no_entry(journal: Journal) -> None:
    """The position of a source that has read nothing is the newest entry, which is seldom one of mail."""
    journal.write("other", **_OTHER)
    source = journal.follow()
    source.close()
    journal.write("1", "2")

    assert read(journal.open(source.position), 2) == ["1", "2"]


def test_a_cursor_that_a_vacuum_removed_hides_no_entry(journal: Journal) -> None:
    """Reading goes on at the first entry that is left."""
    journal.write("1")
    source = journal.open("")
    read(source, 1)
    source.close()
    journal.file.unlink()
    journal.write("2", "3")

    assert read(journal.open(source.position), 2) == ["2", "3"]


@pytest.mark.parametrize(
    "messages", [[], ["2", "3"]], ids=["nothing since the boot", "entries since the boot"]
)
def test_a_boot_hides_no_entry(journal: Journal, messages: list[str]) -> None:
    """The end of the boot before is read, and the first entry of the new boot."""
    source = journal.follow()
    journal.write("1")
    read(source, 1)
    source.close()
    journal.write("shutdown", "shutdown")
    journal.write(*messages, boot=2)
    source = journal.open(source.position)
    expected = ["shutdown", "shutdown", *messages]
    assert read(source, len(expected)) == expected

    wait_for(lambda: source.read() == b"" and not source.behind, what="the end of the journal")
    journal.write("last", boot=2)

    assert read(source, 1) == ["last"]


def test_a_boot_of_another_host_while_its_journal_is_followed(journal: Journal) -> None:
    """The entries of its new boot are read as they come."""
    source = journal.follow()
    journal.write("1")
    read(source, 1)

    journal.write("2", "3", boot=2)
    journal.write("4", boot=3)

    assert read(source, 3) == ["2", "3", "4"]


def test_a_journalctl_that_ends_is_started_again(journal: Journal) -> None:
    """It starts after a pause, at the cursor, so no entry is missed or read twice."""
    source = journal.follow()
    journal.write("1")
    read(source, 1)
    os.kill(int(journal.calls()[-1][0]), signal.SIGTERM)
    wait_for(lambda: (source.read(), source.problem)[1], what="the end")
    assert source.problem == "journalctl: ended with status -15"
    journal.write("2")
    starts = len(journal.calls())
    assert source.read() == b""
    assert len(journal.calls()) == starts

    journal.now += 1.5

    assert read(source, 1) == ["2"]
    assert source.problem is None
    assert source.losses == 0


def test_a_missing_journalctl(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem names the remedy, and the source is not behind after 10 seconds."""
    monkeypatch.setenv("PATH", str(journal.folder / "nowhere"))
    source = journal.open("s=1")
    assert source.read() == b""
    assert source.problem == "journalctl: is not installed; name a log file in log.source"
    assert source.behind
    journal.now += 11
    assert not source.behind


def test_an_error_of_journalctl_is_shown_verbatim(journal: Journal) -> None:
    """The pauses between two starts grow to at most a minute."""
    (journal.folder / "stderr").write_text("No journal files were opened due to insufficient permissions.\n")
    source = journal.open()
    assert source.read() == b""
    assert source.problem == (
        "journalctl: ended with status 1: No journal files were opened due to insufficient permissions."
    )
    assert source.position is None
    for _ in range(600):
        journal.now += 1
        source.read()
    assert 10 < len(journal.calls()) < 20


def test_a_cursor_of_another_journal(journal: Journal) -> None:
    """It counts as one loss, and reading goes on at the end of the journal."""
    source = journal.open("s=nonsense")
    wait_for(lambda: (source.read(), source.problem)[1], what="the refusal")
    assert source.problem == "journalctl: ended with status 1: Failed to seek to cursor: Invalid argument"
    assert source.losses == 1
    journal.write("before the restart")
    journal.now += 2
    wait_for(lambda: source.read() == b"" and not source.behind, what="the end of the journal")

    journal.write("new")

    assert read(source, 1) == ["new"]


def test_suppressed_lines_are_losses(journal: Journal) -> None:
    """Journald's message about Postfix counts as losses and is not returned; messages about other services do not count."""
    source = journal.follow()
    of_journald: Any = {**_OTHER, "SYSLOG_IDENTIFIER": "systemd-journald", "MESSAGE_ID": _SUPPRESSED}
    journal.write("1")
    journal.write("Suppressed 123 messages from postfix@-.service", **of_journald)
    journal.write("Suppressed 7 messages from cron.service", **of_journald)
    journal.write("2")

    assert read(source, 2) == ["1", "2"]
    assert source.losses == 123


def test_entries_are_lines_that_the_parsers_know(journal: Journal) -> None:
    """The parser reads entries, also messages that are not UTF-8, which journalctl prints as numbers."""
    source = journal.follow()
    text = "0123456789: removed"
    journal.write(text)
    journal.write(b"connect from \xff", SYSLOG_IDENTIFIER="postfix/smtpd")
    lines: list[str] = []

    def both() -> bool:
        lines.extend(source.read().decode().splitlines())
        return len(lines) == 2

    wait_for(both, what="two entries")
    (first, event), (second, _) = (parse(line) for line in lines)
    assert first is not None
    assert (first.daemon, first.text) == ("qmgr", text)
    assert event is not None
    assert second is not None
    assert second.daemon == "smtpd"


def test_a_long_message_is_whole(journal: Journal) -> None:
    """Without --all, journalctl prints null for a field of more than 4 kB."""
    source = journal.follow()
    journal.write("x" * 5000)

    assert read(source, 1) == ["x" * 5000]


def test_closing_ends_the_child(journal: Journal) -> None:
    """No process is left."""
    source = journal.follow()
    child = Path(f"/proc/{wait_for(lambda: journal.calls()[2:], what='the follower')[0][0]}")
    assert child.exists()
    source.close()
    assert not child.exists()
    assert source.unread() == 0

"""The journal as a source, with a fake journalctl that replays a recording."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postward.agent.logs.journal import JournalSource
from postward.parsers import parse
from tests.support.waiting import wait_for

# Replays the recording by the options that the source uses. With --lines it ends, otherwise it follows.
_JOURNALCTL = f"""#!{sys.executable}
import json, os, pathlib, sys, time
folder = pathlib.Path(__file__).parent
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if (folder / "stderr").exists():
    sys.stderr.write((folder / "stderr").read_text())
    sys.exit(1)

options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
matches = [word for word in sys.argv[1:] if "=" in word and not word.startswith("--")]
shown = 0

def entries():
    lines = (folder / "recording").read_text().splitlines()
    if "after-cursor" in options:
        cursors = [json.loads(line)["__CURSOR"] for line in lines]

        lines = lines[cursors.index(options["after-cursor"]) + 1 :]

    return [
        line for line in lines
        if not matches or any(json.loads(line).get(m.partition("=")[0]) == m.partition("=")[2] for m in matches)
    ]
if "lines" in options:
    print("\\n".join(entries()[-int(options["lines"]):]))
    sys.exit(0)
(folder / "pid").write_text(str(os.getpid()))
while not (folder / "end").exists():
    found = entries()
    for line in found[shown:]:
        print(line, flush=True)
    shown = len(found)
    time.sleep(0.01)
(folder / "end").unlink()
"""
_SUPPRESSED = "a596d6fe7bfa4994828e72309e95d61e"


class Journal:
    """The recording that the fake journalctl replays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.now = 0.0
        (folder / "recording").touch()
        program = folder / "journalctl"
        program.write_text(_JOURNALCTL)
        program.chmod(0o755)

    def write(self, message: object, **fields: str) -> None:
        """Append an entry of the mail facility."""
        self.count += 1
        entry = {
            "__CURSOR": f"s=ab;i={self.count:x};b=cd;m={self.count:x};t={self.count + 1000:x};x=ef",
            "__REALTIME_TIMESTAMP": str(1717236000000000 + self.count),
            "SYSLOG_FACILITY": "2",
            "SYSLOG_IDENTIFIER": "postfix/smtp",
            "SYSLOG_PID": "77",
            "_HOSTNAME": "mail",
            "MESSAGE": message,
            **fields,
        }
        with (self.folder / "recording").open("a") as file:
            file.write(json.dumps({name: value for name, value in entry.items() if value}) + "\n")

    def calls(self) -> list[list[str]]:
        """Return the arguments of each call of journalctl."""
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Journal(tmp_path)


@pytest.fixture
def sources(journal: Journal) -> Iterator[list[JournalSource]]:
    sources: list[JournalSource] = []
    yield sources
    for source in sources:
        source.close()


def opened(journal: Journal, sources: list[JournalSource], position: str | None = None) -> JournalSource:
    """Open a source, which the fixture closes."""
    sources.append(JournalSource(position, clock=lambda: journal.now))
    return sources[-1]


def read(source: JournalSource, count: int) -> list[Any]:
    """Wait for so many entries. Return their messages."""
    messages: list[Any] = []

    def enough() -> bool:
        messages.extend(json.loads(line)["MESSAGE"] for line in source.read().splitlines())
        return len(messages) >= count

    wait_for(enough, what=f"{count} entries; there are {messages}; {source.problem}")
    return messages


def test_entries_before_the_first_start_are_skipped(journal: Journal, sources: list[JournalSource]) -> None:
    """Reading begins after the newest entry of any facility."""
    journal.write("old")
    journal.write("other", SYSLOG_FACILITY="3")
    source = opened(journal, sources)
    source.read()
    assert not source.behind
    journal.write("new")
    assert read(source, 1) == ["new"]


def test_an_empty_journal_is_read_from_its_first_entry(
    journal: Journal, sources: list[JournalSource]
) -> None:
    """Later entries are read, also by a source that is opened after them at the empty position."""
    source = opened(journal, sources)
    source.read()
    assert source.position == ""
    journal.write("1")
    assert read(source, 1) == ["1"]
    assert read(opened(journal, sources, ""), 1) == ["1"]


def test_after_a_restart_reading_goes_on_at_the_cursor(
    journal: Journal, sources: list[JournalSource]
) -> None:
    """Entries written while the source was closed are returned, and it is behind until then."""
    source = opened(journal, sources)
    source.read()
    journal.write("1")
    read(source, 1)
    source.close()
    journal.write("2")
    journal.write("other facility", SYSLOG_FACILITY="3")
    journal.write("3")
    source = opened(journal, sources, source.position)
    source.read()
    messages = [] if source.behind else ["caught up too early"]
    assert messages + read(source, 2) == ["2", "3"]
    assert not source.behind


def test_a_journalctl_that_ends_is_started_again(journal: Journal, sources: list[JournalSource]) -> None:
    """It starts after a pause, at the cursor, so no entry is missed or read twice."""
    source = opened(journal, sources)
    source.read()
    journal.write("1")
    read(source, 1)
    (journal.folder / "end").touch()
    wait_for(lambda: (source.read(), source.problem)[1], what="the end")
    assert source.problem == "journalctl: ended with status 0"
    journal.write("2")
    starts = len(journal.calls())
    assert source.read() == b""
    assert len(journal.calls()) == starts
    journal.now += 1.5
    assert read(source, 1) == ["2"]
    assert source.problem is None
    assert source.losses == 0


def test_a_missing_journalctl(
    journal: Journal, sources: list[JournalSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem names the remedy, and the source is not behind after 10 seconds."""
    monkeypatch.setenv("PATH", str(journal.folder / "nowhere"))
    source = opened(journal, sources, "s=1")
    assert source.read() == b""
    assert source.problem == "journalctl: is not installed; name a log file in log.source"
    assert source.behind
    journal.now += 11
    assert not source.behind


def test_an_error_of_journalctl_is_shown_verbatim(journal: Journal, sources: list[JournalSource]) -> None:
    """The pauses between two starts grow to at most a minute."""
    (journal.folder / "stderr").write_text("No journal files were opened due to insufficient permissions.\n")
    source = opened(journal, sources)
    assert source.read() == b""
    assert source.problem == (
        "journalctl: ended with status 1: No journal files were opened due to insufficient permissions."
    )
    assert source.position is None
    for _ in range(600):
        journal.now += 1
        source.read()
    assert 10 < len(journal.calls()) < 20


def test_a_cursor_of_another_journal(journal: Journal, sources: list[JournalSource]) -> None:
    """It counts as one loss, and reading goes on at the end of the journal."""
    (journal.folder / "stderr").write_text("Failed to seek to cursor: Invalid argument\n")
    source = opened(journal, sources, "s=nonsense")
    source.read()
    assert source.losses == 1
    (journal.folder / "stderr").unlink()
    journal.write("before the restart")
    journal.now += 2
    source.read()
    journal.write("new")
    assert read(source, 1) == ["new"]


def test_suppressed_lines_are_losses(journal: Journal, sources: list[JournalSource]) -> None:
    """Journald's message about Postfix counts as losses and is not returned; messages about other services do not count."""
    source = opened(journal, sources)
    source.read()
    of_journald = {"SYSLOG_FACILITY": "3", "SYSLOG_IDENTIFIER": "systemd-journald", "MESSAGE_ID": _SUPPRESSED}
    journal.write("1")
    journal.write("Suppressed 123 messages from postfix@-.service", **of_journald)
    journal.write("Suppressed 7 messages from cron.service", **of_journald)
    journal.write("2")
    assert read(source, 2) == ["1", "2"]
    assert source.losses == 123


def test_entries_are_lines_that_the_parsers_know(journal: Journal, sources: list[JournalSource]) -> None:
    """The parser reads entries, also messages that are not UTF-8, which journalctl prints as numbers."""
    source = opened(journal, sources)
    source.read()
    text = "0123456789: removed"
    journal.write(text, SYSLOG_IDENTIFIER="postfix/qmgr")
    journal.write(list(b"connect from \xff"), SYSLOG_IDENTIFIER="postfix/smtpd")
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


def test_how_journalctl_is_called(journal: Journal, sources: list[JournalSource]) -> None:
    """It selects by facility and not by unit, prints whole fields, and begins after the cursor."""
    journal.write("old")
    source = opened(journal, sources)
    source.read()
    wait_for(lambda: len(journal.calls()) == 3, what="the follower")
    follow = journal.calls()[-1]
    assert {"--output=json", "--all", "--follow", "--no-tail", f"--after-cursor={source.position}"} <= set(
        follow
    )
    assert follow[-3:] == ["SYSLOG_FACILITY=2", "+", f"MESSAGE_ID={_SUPPRESSED}"]


def test_closing_ends_the_child(journal: Journal, sources: list[JournalSource]) -> None:
    """No process is left."""
    source = opened(journal, sources)
    source.read()
    pid = wait_for(
        lambda: (journal.folder / "pid").exists() and (journal.folder / "pid").read_text(), what="the child"
    )
    assert Path(f"/proc/{pid}").exists()
    source.close()
    assert not Path(f"/proc/{pid}").exists()
    assert source.unread() == 0

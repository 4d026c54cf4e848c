"""The journals of other hosts, in files that systemd-journal-remote writes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from postward.agent.logs.archive import LogFileError, blocks
from postward.agent.logs.journal_directory import MAX_JOURNALS, JournalDirectory, journals_in
from postward.parsers import parse_record
from tests.support.journal import append_entries, mail_entry, require_journal
from tests.support.waiting import wait_for


class Remote:
    """A directory that systemd-journal-remote writes to, and a source that reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.source = self.open()

    def open(self, position: dict[str, str | None] | None = None) -> JournalDirectory:
        """Open the source again."""
        self.source = JournalDirectory(self.folder, position, lambda: self.now)
        return self.source

    def write(self, host: str, *seconds: int) -> None:
        """Add an entry of a host for each time, in seconds since the host's first one."""
        append_entries(
            self.folder / f"remote-{host}.journal",
            [
                mail_entry(
                    at, f"3C0{at}: removed", boot=int(host[-1]), _HOSTNAME=host, SYSLOG_FACILITY=facility
                )
                for at in seconds
                for facility in ("2", "10")  # only mail is read
            ],
        )

    def read(self, count: int) -> list[tuple[str, int]]:
        """Wait for so many entries. Return the host and time of each, by host."""
        found: list[tuple[str, int]] = []

        def enough() -> bool:
            self.now += 1.0
            for line in self.source.read().decode().splitlines():
                record = parse_record(line)
                assert record is not None
                match = re.fullmatch(r"3C0(\d+): removed", record.text)
                assert match, line
                found.append((record.host, int(match[1])))
            return len(found) >= count

        wait_for(enough, 30, f"{count} entries; there are {found}; {self.source.problem}")
        return sorted(found)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    require_journal()
    remote = Remote(tmp_path)
    yield remote
    remote.source.close()


def test_late_entries_are_read(remote: Remote) -> None:
    """A host that was cut off sends entries older than the newest ones of others. Hosts can appear at any time."""
    remote.write("web1", 0, 100)
    assert remote.source.read() == b"", "the entries before the first start are skipped"
    remote.write("web1", 900)
    remote.write("web2", 50, 150)
    assert remote.read(3) == [("web1", 900), ("web2", 50), ("web2", 150)]

    remote.write("web2", 400)

    assert remote.read(1) == [("web2", 400)]
    assert not remote.source.behind
    assert (remote.source.losses, remote.source.problem) == (0, None)


def test_rotation_and_restart_lose_nothing(remote: Remote) -> None:
    """A journal is renamed when it is rotated, and goes on in a new file, also while no source reads it."""
    remote.write("web1", 0)
    assert remote.source.read() == b""
    remote.write("web1", 10)
    assert remote.read(1) == [("web1", 10)]
    (remote.folder / "remote-web1.journal").rename(remote.folder / "remote-web1@0a-1.journal")
    remote.write("web1", 20, 30)
    assert remote.read(2) == [("web1", 20), ("web1", 30)]

    remote.source.close()
    remote.write("web1", 40)
    (remote.folder / "remote-web1.journal").rename(remote.folder / "remote-web1@0a-4.journal")
    remote.write("web1", 50)
    remote.write("web2", 5)
    remote.open(remote.source.position)

    assert remote.read(3) == [("web1", 40), ("web1", 50), ("web2", 5)]


def test_one_journal_is_started_at_a_time(remote: Remote) -> None:
    """The agent does other work between two starts, and goes on at once."""
    for number in (1, 2, 3):
        remote.write(f"web{number}", 0)
    started = []
    for _ in range(4):
        assert remote.source.read() == b""
        started.append(remote.source.skipping)

    assert started == [True, True, True, False]


def test_a_missing_directory_is_a_problem_until_it_is_there(remote: Remote) -> None:
    remote.folder = remote.folder / "later"
    source = remote.open()
    assert source.read() == b""
    assert source.problem == f"{remote.folder}: No such file or directory"

    remote.folder.mkdir()
    remote.write("web1", 0)

    assert remote.read(1) == [("web1", 0)]
    assert source.problem is None


def test_too_many_journals_are_reported(tmp_path: Path) -> None:
    """Each costs a process. The names alone count here: nothing is started before it is read."""
    for number in range(MAX_JOURNALS + 2):
        (tmp_path / f"remote-h{number}.journal").touch()
        (tmp_path / f"remote-h{number}@0a-1.journal~").touch()
    assert len(journals_in(tmp_path)) == MAX_JOURNALS + 2
    assert {len(files) for files in journals_in(tmp_path).values()} == {2}
    source = JournalDirectory(tmp_path, clock=lambda: 0.0)

    assert source.behind
    assert source.problem == f"{tmp_path}: 2 journals are not read, more than {MAX_JOURNALS}"


def test_commands_read_the_directory(remote: Remote) -> None:
    """`report`, `why` and `replay` take journal:DIRECTORY."""
    remote.write("web1", 0, 100)
    remote.write("web2", 50)

    data = b"".join(blocks(Path(f"journal:{remote.folder}"))).decode()

    records = [parse_record(line) for line in data.splitlines()]
    assert [(record.host, record.text) for record in records if record] == [
        ("web1", "3C00: removed"),
        ("web2", "3C050: removed"),
        ("web1", "3C0100: removed"),
    ]
    with pytest.raises(LogFileError, match=r"the journal in /nonexistent: journalctl ended with status 1: "):
        list(blocks(Path("journal:/nonexistent")))

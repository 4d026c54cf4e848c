"""The choice of the log, several sources, standard input, and the metrics of losses and faults."""

import os
import socket
import time
from pathlib import Path

import pytest

from postward.agent.logs.discover import NoLogError, find_log, open_sources
from postward.agent.logs.reader import LogReader
from postward.agent.logs.stdin import StandardInput
from postward.agent.metrics.tally import Tally
from postward.agent.postfix.commands import Postfix
from tests.support.require import required
from tests.support.syslog import Rsyslog
from tests.support.waiting import wait_for


class _Postfix(Postfix):
    """A Postfix whose maillog_file is its configuration folder, or empty for the folder "."."""

    def expanded(self, name: str) -> str:
        """Return maillog_file."""
        assert name == "maillog_file"
        return str(self.config_directory) if str(self.config_directory) != "." else ""


def test_several_files_each_from_its_position(tmp_path: Path) -> None:
    """All files are read, and after a restart only their new lines."""
    files = [str(tmp_path / name) for name in ("a.log", "b.log")]
    fed: list[bytes] = []
    reader = LogReader(open_sources(files, {}), fed.append, Tally())
    assert not reader.read_slice()
    for file in files:
        Path(file).write_text(f"one of {file}\n")
    while reader.read_slice():
        pass
    assert sorted(b"".join(fed).decode().splitlines()) == [f"one of {file}" for file in files]
    positions = reader.positions()
    reader.close()
    for file in files:
        with Path(file).open("a") as log:
            log.write("two\n")
    fed.clear()
    reader = LogReader(open_sources(files, positions), fed.append, Tally())
    assert reader.behind
    while reader.read_slice():
        pass
    assert b"".join(fed) == b"two\ntwo\n"
    assert not reader.behind
    reader.close()


def test_standard_input(tmp_path: Path) -> None:
    """Whole lines are returned as they come. The end is a problem and returns the incomplete last line."""
    reading, writing = os.pipe()
    source = StandardInput(reading)
    os.write(writing, b"one\ntw")
    assert source.read() == b"one\n"
    os.write(writing, b"o\nthree")
    assert source.unread() == 7
    assert source.read() == b"two\n"
    assert source.problem is None
    os.close(writing)
    assert source.read() == b"three\n"
    assert source.problem == "standard input has ended: its writer is gone"
    os.close(reading)


def test_losses_and_faults_are_counted(tmp_path: Path) -> None:
    """An unreadable log counts as an error; a truncation and rsyslog's message about dropped lines count as losses."""
    log, tally = tmp_path / "mail.log", Tally()
    saves: list[None] = []
    reader = LogReader(open_sources([str(log)], {}), lambda _: None, tally, lambda: saves.append(None))
    reader.read_slice()
    assert reader.gauges()["postward_log_readable"] == {(): 0.0}
    assert tally.counters["postward_log_read_errors_total"] == {(): 1}
    assert len(saves) == 1
    dropped = (
        "Nov 24 06:12:00 mx1 rsyslogd: imjournal: 50 messages lost due to rate-limiting (20000 allowed)\n"
    )
    log.write_text(dropped + "x" * 100 + "\n")
    while reader.read_slice():
        pass
    assert reader.gauges()["postward_log_readable"] == {(): 1.0}
    assert tally.counters["postward_log_losses_total"] == {(): 50}
    os.truncate(log, 90)
    while reader.read_slice():
        pass
    assert tally.counters["postward_log_losses_total"] == {(): 51}
    reader.close()


def test_lines_that_rsyslog_drops_are_losses(tmp_path: Path) -> None:
    """With a real rsyslog and a rate limit, lines read plus lines lost are exactly the lines sent."""
    required("rsyslogd", "rsyslog")
    log, tally, read, sent, sent_at = tmp_path / "mail.log", Tally(), 0, 0, 0.0
    rsyslog = Rsyslog(tmp_path, log, tmp_path / "log")

    def feed(lines: bytes) -> None:
        nonlocal read
        read += lines.count(b"postfix/smtp[77]")

    reader = LogReader(open_sources([str(log)], {}), feed, tally)
    reader.read_slice()
    with rsyslog.running(burst=100), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.connect(str(rsyslog.socket))

        def send(count: int) -> None:
            nonlocal sent, sent_at
            for _ in range(count):
                syslog.send(b"<22>postfix/smtp[77]: one of many")
            sent, sent_at = sent + count, time.monotonic()

        def all_accounted() -> bool:
            while reader.read_slice():
                pass
            if read + tally.counters["postward_log_losses_total"][()] == sent:
                return True
            if time.monotonic() - sent_at > 1.5:
                send(1)  # with the first line after the limit, rsyslog logs how many it dropped
            return False

        send(1000)
        wait_for(all_accounted, 20, "all lines to be read or reported as dropped")
    assert tally.counters["postward_log_losses_total"][()] > 500
    reader.close()


def test_an_incomplete_line_is_not_a_backlog(tmp_path: Path) -> None:
    """The backlog ends with the last whole line. A full disk can leave an incomplete line for long."""
    log = tmp_path / "mail.log"
    now = 0.0
    reader = LogReader(open_sources([str(log)], {}), lambda _: None, Tally(), clock=lambda: now)
    assert not reader.read_slice()
    log.write_text("one\ntw")
    now = 10.0
    assert reader.read_slice()
    assert reader.has_backlog
    assert not reader.read_slice()
    assert not reader.has_backlog
    assert reader.unread() == 2
    reader.close()


@pytest.mark.parametrize(
    ("age", "in_journal", "wanted"),
    [(0, None, "file"), (10, 1.0, "file"), (86400, 0.0, "journal"), (86400, None, "file")],
)
def test_auto_chooses_the_log_that_is_written_to(
    tmp_path: Path, age: float, in_journal: float | None, wanted: str
) -> None:
    """A mail.log left by an upgrade is not chosen; a log that was renamed by rotation is."""
    now = 1_700_000_000.0
    rotated = tmp_path / "mail.log.1"
    rotated.touch()
    os.utime(rotated, (now - age, now - age))
    newest = None if in_journal is None else now - in_journal
    names, why = find_log("auto", _Postfix(Path()), [tmp_path / "mail.log"], lambda: newest, tmp_path)
    assert names == [str(tmp_path / "mail.log") if wanted == "file" else "journal"]
    assert ("is not written any more" in why) == (wanted == "journal")


def test_auto_reads_maillog_file_or_names_the_remedy(tmp_path: Path) -> None:
    """maillog_file comes first. Standard output and a missing log are errors with a remedy."""
    assert find_log("auto", _Postfix(Path("/my.log"))) == (["/my.log"], "maillog_file of Postfix")
    with pytest.raises(NoLogError, match=r'pipe it into this command and set log\.source to "-"'):
        find_log("auto", _Postfix(Path("/dev/stdout")))
    with pytest.raises(NoLogError, match="install rsyslog, or set maillog_file"):
        find_log("auto", _Postfix(Path()), [tmp_path / "mail.log"], journal_socket=tmp_path / "none")

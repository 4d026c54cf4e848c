"""Which log is read, several at once, standard input, and what the reader tells of losses and faults."""

import os
import socket
import time
from pathlib import Path

import pytest

from postward.agent.logs import discover
from postward.agent.logs.discover import NoLogError, find_log, open_sources
from postward.agent.logs.reader import LogReader
from postward.agent.logs.stdin import StandardInput
from postward.agent.metrics.tally import Tally
from postward.agent.postfix.commands import Postfix
from tests.support.require import required
from tests.support.syslog import Rsyslog
from tests.support.waiting import wait_for


class _Postfix(Postfix):
    """One whose maillog_file is known."""

    def expanded(self, name: str) -> str:
        """What the folder is called."""
        assert name == "maillog_file"
        return str(self.config_directory) if str(self.config_directory) != "." else ""


def test_several_files_each_from_its_position(tmp_path: Path) -> None:
    """Lines of all are handed out, and after a restart only those that came since."""
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
    """Whole lines as they come; the end is told, and hands out what came of a last line."""
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
    assert source.problem == "standard input has ended: nobody writes the log any more"
    assert source.descriptors() == ()
    os.close(reading)


def test_losses_and_faults_are_counted(tmp_path: Path) -> None:
    """A log that cannot be read, its return, a truncation, and rsyslog's word on lines that it dropped."""
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


def test_what_rsyslog_drops_is_a_loss(tmp_path: Path) -> None:
    """A real rsyslog under its rate limit: lines read and lines lost are the lines sent, exactly."""
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

        def all_told() -> bool:
            while reader.read_slice():
                pass
            if read + tally.counters["postward_log_losses_total"][()] == sent:
                return True
            if time.monotonic() - sent_at > 1.5:
                send(1)  # with the first line that it takes again, rsyslog tells how many it did not take
            return False

        send(1000)
        wait_for(all_told, 20, "all lines to be read, or told to be lost")
    assert tally.counters["postward_log_losses_total"][()] > 500
    reader.close()


def test_a_backlog_ends_where_no_whole_line_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one as long as a look found more. The beginning of a line, on a full disk for one, is none."""
    log = tmp_path / "mail.log"
    now = 0.0
    monkeypatch.setattr("postward.agent.logs.reader.time.monotonic", lambda: now)
    reader = LogReader(open_sources([str(log)], {}), lambda _: None, Tally())
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
def test_auto_takes_what_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, in_journal: float | None, wanted: str
) -> None:
    """A mail.log left behind by an upgrade is not the log; one that rotation took the name of is."""
    now = 1_700_000_000.0
    rotated = tmp_path / "mail.log.1"
    rotated.touch()
    os.utime(rotated, (now - age, now - age))
    monkeypatch.setattr(discover, "_JOURNALD", tmp_path)
    newest = None if in_journal is None else now - in_journal
    names, why = find_log("auto", _Postfix(Path()), [tmp_path / "mail.log"], lambda: newest)
    assert names == [str(tmp_path / "mail.log") if wanted == "file" else "journal"]
    assert ("is not written any more" in why) == (wanted == "journal")


def test_auto_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postfix's own file first; its standard output and nothing at all are told."""
    assert find_log("auto", _Postfix(Path("/my.log"))) == (["/my.log"], "maillog_file of Postfix")
    with pytest.raises(NoLogError, match='pipe it into this command and write "-"'):
        find_log("auto", _Postfix(Path("/dev/stdout")))
    monkeypatch.setattr(discover, "_JOURNALD", tmp_path / "none")
    with pytest.raises(NoLogError, match="install rsyslog, or set maillog_file"):
        find_log("auto", _Postfix(Path()), [tmp_path / "mail.log"])

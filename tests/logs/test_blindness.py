"""Each fault of logging is shown by its metric, and the agent recovers without a restart.

No line that still exists is lost or counted twice. With a real Postfix, rsyslog and file systems.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.mail import TIMEOUT, Mail
from tests.support.mounts import fill, full, own_devices, private_mounts, read_only, small_disk
from tests.support.postfix import PostfixInstance
from tests.support.product import AgentProcess, write_reading_settings
from tests.support.require import require_postfix, required
from tests.support.syslog import Rsyslog
from tests.support.waiting import wait_for

_INTERVAL = 3  # seconds between test lines
_FOREIGN = "%timegenerated:::date-unixtimestamp%|%hostname%|%programname%|%msg%"
_SENT = (
    "2024-06-01T10:00:00.000000+00:00 mail postfix/smtp[77]: {0:010X}: to=<u{0}@example.org>, relay=none, "
    "delay=0.5, delays=0.1/0.1/0.1/0.2, dsn=2.0.0, status=sent (250 2.0.0 Ok)\n"
)
# File modes then apply to root too, as they do to the agent's user on a host.
_WITHOUT_ROOT_ACCESS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@pytest.fixture(autouse=True)
def _required() -> None:
    require_postfix(sasl=False)


@pytest.fixture
def behind_rsyslog(tmp_path: Path) -> Iterator[tuple[Mail, Rsyslog]]:
    """Postfix logs to syslog, rsyslog writes the file, and the agent reads the file."""
    required("rsyslogd", "rsyslog")
    tmp_path.chmod(0o755)
    log = tmp_path / "syslog.log"
    with private_mounts():
        own_devices(tmp_path / "dev")
        rsyslog = Rsyslog(tmp_path, log, Path("/dev/log"))
        mail = Mail(tmp_path, log, syslog=True, test_interval=_INTERVAL)
        with rsyslog.running(), mail.postfix, mail.agent:
            yield mail, rsyslog


def test_logging_that_stops_or_changes_its_format(behind_rsyslog: tuple[Mail, Rsyslog]) -> None:
    """Only the test line shows that a readable log gets no new lines, or lines of an unknown format."""
    mail, rsyslog = behind_rsyslog
    mail.await_value(1, "postward_log_test_line_success", timeout=60)
    mail.send()
    mail.await_all()
    rsyslog.stop()
    mail.await_value(0, "postward_log_test_line_success")
    assert mail.agent.value("postward_log_readable") == 1
    assert mail.agent.value("postward_log_test_lines_total", result="lost") > 0
    rsyslog.start(_FOREIGN)
    foreign = mail.agent.value("postward_log_lines_total", outcome="foreign")
    mail.postfix.inject(f"u{number}@example.org" for number in range(20))
    wait_for(
        lambda: mail.agent.value("postward_log_lines_total", outcome="foreign") >= foreign + 20,
        what="foreign lines",
    )
    assert mail.agent.value("postward_log_test_line_success") == 0
    mail.await_all()  # the earlier messages; none of the last 20 are counted
    rsyslog.stop()
    rsyslog.start()
    mail.await_value(1, "postward_log_test_line_success")
    mail.send()
    mail.await_all()
    assert (
        "the test line did not arrive: Postfix logs to another place, or its lines are lost"
        in mail.agent.output()
    )


def test_foreign_lines_in_the_log(tmp_path: Path) -> None:
    """Lines of other programs and garbage count as foreign, and messages are still counted exactly."""
    foreign = [
        b"2024-06-01T10:00:00.000000+00:00 mail CRON[78]: (root) CMD (true)\n",
        b"Jun  1 10:00:00 mail dovecot: imap-login: Login: user=<postfix/smtp[77]:>\n",
        b"\xff\xfe\x80 \x1b[31m\r\n",
        b"\0\0\0\0 a hole\n",
        b"\n",
        b'{"message": "status=sent"}\n',
        b"x" * 300_000 + b"\n",
    ]
    unknown = b"2024-06-01T10:00:00.000000+00:00 mail postfix/smtp[77]: a message of no release\n"
    mail = Mail(tmp_path)
    with mail.postfix, mail.agent:
        for _ in range(5):
            mail.send()
            for line in [*foreign, unknown]:
                with mail.log.open("ab", buffering=0) as log:
                    log.write(line)
        mail.await_all()
        mail.await_value(5 * len(foreign), "postward_log_lines_total", outcome="foreign")
        mail.await_value(5, "postward_log_lines_total", outcome="unrecognised")
        mail.send()
        mail.await_all()
        assert mail.agent.value("postward_log_losses_total") == 0
        assert mail.agent.value("postward_log_lines_total", outcome="foreign") == 5 * len(foreign)


def test_a_log_that_may_not_be_read(tmp_path: Path) -> None:
    """A log that is unreadable after a rotation or from the start is reported, and no line is lost."""
    mail = Mail(tmp_path)
    mail.agent.launcher = _WITHOUT_ROOT_ACCESS

    def hide() -> None:
        mail.log.rename(mail.log.with_name(f"{mail.log.name}.1"))
        mail.log.touch(mode=0)
        mail.send()  # into the renamed file
        mail.postfix.reload()

    def remedy() -> None:
        mail.log.chmod(0o640)
        mail.await_value(1, "postward_log_readable")
        mail.await_all()

    with mail.postfix, mail.agent:
        mail.send()
        mail.await_all()
        hide()
        mail.send()
        mail.await_value(0, "postward_log_readable")
        assert mail.agent.value("postward_log_read_errors_total") > 0
        remedy()
        mail.agent.stop(signal.SIGKILL)
        mail.log.chmod(0)
        mail.send()
        mail.agent.start()
        mail.await_value(0, "postward_log_readable")
        mail.send()
        remedy()
        assert mail.agent.value("postward_log_losses_total") == 0
    output = mail.agent.output()
    assert output.count(f"{mail.log}: Permission denied") == 2
    assert output.count(f"{mail.log} can be read again") == 2


@pytest.mark.parametrize(
    ("fault", "problem"), [(full, "No space left on device"), (read_only, "Read-only file system")]
)
def test_a_state_that_cannot_be_written(
    fault: Callable[[Path], AbstractContextManager[None]], problem: str, tmp_path: Path
) -> None:
    """Counting goes on without a checkpoint, also after a kill. Once it can be written, the checkpoint is."""
    mail = Mail(tmp_path)
    state = tmp_path / "state"
    with private_mounts():
        small_disk(state, "256k")
        with mail.postfix, mail.agent:
            with fault(state):
                mail.send()
                mail.await_all()
                mail.grows("postward_checkpoint_errors_total")
                mail.agent.stop(signal.SIGKILL)
                mail.send()
                mail.agent.start()
                mail.await_all()
                mail.grows("postward_checkpoint_errors_total")
            wait_for(lambda: mail.agent.output().endswith("can be written again\n"), 15, "a checkpoint")
            mail.agent.stop(signal.SIGKILL)
            mail.send()
            mail.agent.start()
            mail.await_all()
            assert mail.agent.value("postward_log_losses_total") == 0
    assert f"{problem}; after a crash, counting would resume at the last checkpoint" in mail.agent.output()


def test_a_full_disk_under_the_log(tmp_path: Path) -> None:
    """Lines of Postfix are lost; only the test line and the free space show it, and both recover."""
    log = tmp_path / "log" / "mail.log"
    mail = Mail(tmp_path, log, test_interval=_INTERVAL)
    with private_mounts():
        small_disk(log.parent, "256k")
        with mail.postfix, mail.agent:
            mail.await_value(1, "postward_log_test_line_success", timeout=60)
            filler = fill(log.parent)
            mail.send()  # into the free part of the log's last block; the last line is cut off
            mail.await_value(0, "postward_log_test_line_success")
            assert mail.agent.value("postward_log_disk_free_bytes") == 0
            assert mail.agent.value("postward_log_unread_bytes") > 0
            filler.unlink()
            mail.postfix.reload()  # postlogd does not retry a file after a failed write
            mail.await_value(1, "postward_log_test_line_success")
            assert mail.agent.value("postward_log_disk_free_bytes") > 0
            counted = mail.agent.value("postfix_deliveries_total", status="sent")
            assert counted < mail.sent
            mail.sent = int(counted)
            mail.send()
            mail.await_all()
            assert mail.agent.value("postward_log_readable") == 1


def test_standard_input_that_ends(tmp_path: Path) -> None:
    """Lines from a pipe are counted as they come. The end of input is reported, and the counts stay."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    agent = AgentProcess(write_reading_settings(tmp_path, PostfixInstance(tmp_path), source="-"))
    agent.launcher = ("/bin/sh", "-c", f'exec "$@" <{fifo}', "sh")
    agent.launch()

    def counts(sent: int) -> bool:
        return agent.value("postfix_deliveries_total", status="sent") == sent

    try:
        with fifo.open("wb", buffering=0) as pipe:  # waits until the agent has opened it
            wait_for(agent.is_ready, 30, "the agent to be ready")
            for number in range(50):
                pipe.write(_SENT.format(number).encode())
            wait_for(lambda: counts(50), TIMEOUT, "the lines so far")
            pipe.write(_SENT.format(50).encode().rstrip())
        wait_for(lambda: counts(51), TIMEOUT, "the incomplete last line")
        assert agent.value("postward_log_readable") == 0
    finally:
        agent.stop()
    assert "standard input has ended: its writer is gone" in agent.output()

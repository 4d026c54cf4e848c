"""The journal as the only log of a host: every line is counted once, across restarts of agent and journald.

A minimal Debian has no other mail log. The agent runs on this machine and calls the journalctl of the host.
"""

import json
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.postfix import PostfixInstance
from tests.support.product import AgentProcess, run_postward, write_reading_settings
from tests.support.waiting import wait_for
from tools.hosts.host import Host

_SENT = "{0:010X}: to=<u{0}@example.org>, relay=127.0.0.1[127.0.0.1]:9, delay=0.5, delays=0.1/0.1/0.1/0.2, dsn=2.0.0, status=sent (250 Ok)"
_ROUNDS = 8


class Mail:
    """A host that logs to its journal, and an agent that reads the journal.

    Attributes:
        sent: deliveries written to the journal.
        foreign: lines of other programs written to the journal.
        steps: the steps so far, for the message of a failure.
    """

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self._journalctl = folder / "bin" / "journalctl"
        self._journalctl.parent.mkdir()
        self._call_the_hosts_journalctl()
        self.sent = 0
        self.foreign = 0
        self.steps: list[str] = []
        settings = write_reading_settings(folder, PostfixInstance(folder), source="journal")
        self.agent = AgentProcess(settings)
        self.agent.ready_timeout = 60.0

    def reboot(self) -> None:
        """Boot the host again."""
        self.host.reboot()
        self.host.shell("systemctl stop postfix")
        self._call_the_hosts_journalctl()

    def _call_the_hosts_journalctl(self) -> None:
        self._journalctl.write_text(
            f'#!/bin/sh\nexec nsenter --target {self.host.leader} --all -- journalctl "$@"\n'
        )
        self._journalctl.chmod(0o755)

    def write(self, count: int) -> None:
        """Write deliveries, and one line of another program."""
        lines = "".join(_SENT.format(self.sent + number) + "\n" for number in range(1, count + 1))
        self.host.run("logger", "-p", "mail.info", "-t", "postfix/smtp", input=lines)
        self.host.run("logger", "-p", "mail.info", "-t", "cron", "not a line of Postfix")
        self.sent += count
        self.foreign += 1

    def counted(self) -> tuple[float, float]:
        """Return the counts of deliveries and of foreign lines in the agent's metrics."""
        return (
            self.agent.value("postfix_deliveries_total", status="sent"),
            self.agent.value("postward_log_lines_total", outcome="foreign"),
        )

    def await_all(self) -> None:
        """Wait until the counts equal those of the lines written. A line that is counted twice fails this, too."""
        try:
            wait_for(lambda: self.counted() == (self.sent, self.foreign), 30)
        except AssertionError:
            held = self.host.shell(
                "journalctl -q SYSLOG_FACILITY=2 -o cat | grep -c status=sent", status=None
            )
            raise AssertionError(
                f"written {self.sent} and {self.foreign}, counted {self.counted()}, held by the journal {held}\n"
                f"steps: {' '.join(self.steps)}\noutput of the agent: {self.agent.output()[-1000:]}"
            ) from None


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with Host(request.param) as host:
        host.shell(
            "systemctl stop postfix; mkdir -p /etc/systemd/journald.conf.d /var/log/journal; "
            "printf '[Journal]\\nRateLimitBurst=0\\n' > /etc/systemd/journald.conf.d/test.conf; "
            "systemctl restart systemd-journald; journalctl --flush"
        )
        yield host


@pytest.fixture
def mail(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mail]:
    tmp_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    mail = Mail(host, tmp_path)
    yield mail
    if mail.agent.is_running:
        mail.agent.stop()


def test_every_line_of_the_journal_is_counted_once(mail: Mail) -> None:
    """The agent is stopped and killed, the journal rotated and vacuumed, journald restarted, in random order.

    Lines are also written while no agent runs.
    """
    choose = random.Random(7)  # noqa: S311 - the seed makes a run repeatable
    journal = ["journalctl", "--quiet"]

    def end(number: signal.Signals) -> None:
        if mail.agent.is_running:
            mail.agent.stop(number)

    def start() -> None:
        if not mail.agent.is_running:
            mail.agent.start()

    def vacuum() -> None:
        start()
        mail.await_all()
        end(signal.SIGTERM)  # a vacuum would delete lines that are not counted and saved yet
        mail.host.run(*journal, "--rotate", "--vacuum-files=1")

    steps: dict[str, Callable[[], object]] = {
        "write": lambda: mail.write(choose.randint(1, 300)),
        "write on": lambda: mail.write(choose.randint(1, 300)),
        "rotate": lambda: mail.host.run(*journal, "--rotate"),
        "vacuum": vacuum,
        "restart journald": lambda: mail.host.run("systemctl", "restart", "systemd-journald"),
        "start": start,
        "stop": lambda: end(signal.SIGTERM),
        "kill": lambda: end(signal.SIGKILL),
        "kill again": lambda: end(signal.SIGKILL),
    }
    start()
    for _ in range(_ROUNDS):
        for step in choose.choices(list(steps), k=choose.randint(2, 6)):
            mail.steps.append(step)
            steps[step]()
        start()
        mail.await_all()
    assert mail.agent.value("postward_log_losses_total") == 0
    print(f"\n{_ROUNDS} rounds: {mail.sent + mail.foreign} lines in the journal, each counted once")  # noqa: T201


def test_a_mail_is_traced_in_the_journal(mail: Mail) -> None:
    """`postward trace` finds mail of the past in the journal."""
    mail.write(3)
    done = run_postward("trace", "u2@example.org", "journal", "--json")
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]

    assert (row["event"], row["queue_id"]) == ("Delivery", "0000000002")


def test_a_reboot_hides_no_line(mail: Mail) -> None:
    """Lines of the end of a boot, after the agent, and of the start of the next one, before the agent, are counted."""
    mail.agent.start()
    mail.write(5)
    mail.await_all()
    mail.agent.stop()
    mail.write(7)
    mail.reboot()
    mail.write(3)

    mail.agent.start()

    mail.await_all()
    mail.write(2)
    mail.await_all()
    assert mail.agent.value("postward_log_losses_total") == 0


def test_lines_that_journald_suppresses_are_counted_as_lost(mail: Mail) -> None:
    """Lines that the rate limit suppresses are losses: lines counted and lines lost add up to the lines written."""
    mail.host.shell(
        "printf '[Journal]\\nRateLimitIntervalSec=2s\\nRateLimitBurst=100\\n' > /etc/systemd/journald.conf.d/test.conf; "
        "systemctl restart systemd-journald"
    )
    mail.agent.start()
    # journald's message about suppressed lines names the unit. The unit needs a name like Postfix's.
    flood = "for n in $(seq 3000); do echo line $n; done | logger -p mail.info -t postfix/smtp"
    mail.host.run("systemd-run", "--quiet", "--wait", "--unit=postfix-test", "sh", "-c", flood)

    def loss_is_counted() -> bool:
        # journald reports suppressed lines together with the unit's next line.
        more = ("logger", "-p", "mail.info", "-t", "postfix/smtp", "more")
        mail.host.run("systemd-run", "--quiet", "--wait", "--unit=postfix-test", *more)
        return mail.agent.value("postward_log_losses_total") > 0

    wait_for(loss_is_counted, 60, "the loss to be counted")
    lines = mail.agent.value("postward_log_lines_total")
    lost = mail.agent.value("postward_log_losses_total")
    assert lines < 3000
    assert lines + lost >= 3000

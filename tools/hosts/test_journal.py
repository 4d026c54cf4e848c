"""The journal as the only log, on a real host: every line is counted once, whatever becomes of agent, journald and journal.

Debian 13 has no mail log. The agent runs here and calls the journalctl of the host, which reads the host's journal.
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
    """A host that logs to its journal, and an agent that reads it."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.sent = 0
        self.foreign = 0
        self.steps: list[str] = []
        settings = write_reading_settings(folder, PostfixInstance(folder), source="journal")
        self.agent = AgentProcess(settings)
        self.agent.ready_timeout = 60.0

    def write(self, count: int) -> None:
        """Deliveries, and a line of another program."""
        lines = "".join(_SENT.format(self.sent + number) + "\n" for number in range(1, count + 1))
        self.host.run("logger", "-p", "mail.info", "-t", "postfix/smtp", input=lines)
        self.host.run("logger", "-p", "mail.info", "-t", "cron", "not Postfix's")
        self.sent += count
        self.foreign += 1

    def counted(self) -> tuple[float, float]:
        """What the agent shows."""
        return (
            self.agent.value("postfix_deliveries_total", status="sent"),
            self.agent.value("postward_log_lines_total", outcome="foreign"),
        )

    def await_all(self) -> None:
        """Until all that was written is counted; more would never be equal."""
        try:
            wait_for(lambda: self.counted() == (self.sent, self.foreign), 30)
        except AssertionError:
            held = self.host.shell(
                "journalctl -q SYSLOG_FACILITY=2 -o cat | grep -c status=sent", status=None
            )
            raise AssertionError(
                f"written {self.sent} and {self.foreign}, counted {self.counted()}, held by the journal {held}\n"
                f"steps: {' '.join(self.steps)}\nthe agent said: {self.agent.output()[-1000:]}"
            ) from None


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host("trixie") as host:
        host.shell(
            "systemctl stop postfix; mkdir -p /etc/systemd/journald.conf.d /var/log/journal; "
            "printf '[Journal]\\nRateLimitBurst=0\\n' > /etc/systemd/journald.conf.d/test.conf; "
            "systemctl restart systemd-journald; journalctl --flush"
        )
        yield host


@pytest.fixture
def mail(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mail]:
    tmp_path.chmod(0o755)
    programs = tmp_path / "bin"
    programs.mkdir()
    journalctl = programs / "journalctl"
    journalctl.write_text(f'#!/bin/sh\nexec nsenter --target {host.leader} --all -- journalctl "$@"\n')
    journalctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    mail = Mail(host, tmp_path)
    yield mail
    if mail.agent.is_running:
        mail.agent.stop()


def test_every_line_of_the_journal_is_counted_once(mail: Mail) -> None:
    """Stops, kills, rotation, vacuum and restarts of journald in any order; lines also while nobody reads."""
    choose = random.Random(7)  # noqa: S311 - what is random here is to be repeated
    assert mail.host.shell("ls /var/log/mail.log /var/log/maillog", status=None) == ""
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
        end(signal.SIGTERM)  # what nobody has read, counted and saved would be lost to everybody
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
    print(f"\n{_ROUNDS} rounds: {mail.sent + mail.foreign} lines of the journal, each counted once")  # noqa: T201


def test_a_mail_is_traced_in_the_journal(mail: Mail) -> None:
    """Commands that look back find what has no file."""
    mail.write(3)
    done = run_postward("trace", "u2@example.org", "journal", "--json")
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]

    assert (row["event"], row["queue_id"]) == ("Delivery", "0000000002")


def test_lines_that_journald_suppressed_are_losses(mail: Mail) -> None:
    """What a rate limit keeps out is counted as lost: lines counted and lines lost are the lines written."""
    mail.host.shell(
        "printf '[Journal]\\nRateLimitIntervalSec=2s\\nRateLimitBurst=100\\n' > /etc/systemd/journald.conf.d/test.conf; "
        "systemctl restart systemd-journald"
    )
    mail.agent.start()
    # A unit named after postfix: journald's word on what it suppressed names the unit.
    flood = "for n in $(seq 3000); do echo line $n; done | logger -p mail.info -t postfix/smtp"
    mail.host.run("systemd-run", "--quiet", "--wait", "--unit=postfix-test", "sh", "-c", flood)

    def told() -> bool:
        mail.host.run("systemd-run", "--quiet", "--wait", "--unit=postfix-test", "logger", "-p", "mail.info", "-t",
                      "postfix/smtp", "more")  # fmt: skip
        return mail.agent.value("postward_log_losses_total") > 0

    wait_for(told, 60, "the loss to be counted")
    lines = mail.agent.value("postward_log_lines_total")
    lost = mail.agent.value("postward_log_losses_total")
    assert lines < 3000
    assert lines + lost >= 3000

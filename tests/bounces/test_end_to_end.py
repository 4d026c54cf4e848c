"""Mail that comes back: the agent, Postfix, a relay, a Postfix behind it that bounces, and the Dovecot with the mailbox."""

import json
import os
import pwd
import signal
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postward.agent.probe.message import is_probe
from tests.parsers.test_dsn import CORPUS, NAMES, NOTIFICATIONS, mail
from tests.support import PostfixInstance, Relay, wait_for
from tests.support.dovecot import Dovecot
from tests.support.mailbox import PASSWORD, account, mailbox_bed
from tests.support.product import AgentProcess, write_settings

METRIC = "postward_dsn_recipients_total"


@contextmanager
def bed(
    folder: Path, *, local: bool = False
) -> Iterator[tuple[AgentProcess, Relay, PostfixInstance, Dovecot]]:
    """An agent that reads a mailbox of bounces, by IMAP or as a Maildir, with Postfix and its relay."""
    with mailbox_bed(folder) as (relay, postfix, dovecot):
        path = write_settings(folder, relay, postfix, password=PASSWORD)
        table = f"[bounces]\ninterval_seconds = 10\n{account(dovecot, folder, local=local)}"
        path.write_text(f"{path.read_text()}\n{table}")
        with AgentProcess(path, "--enforce") as agent:
            wait_for(lambda: relay.messages, timeout=30, what="the first probe")
            yield agent, relay, postfix, dovecot


def counted(agent: AgentProcess) -> dict[str, float]:
    """Return how many recipients were counted, by relay and action."""
    actions = ("failed", "delayed", "relayed")
    return {
        f"{relay} {action}": number
        for relay in ("demo", "other")
        for action in actions
        if (number := agent.value(METRIC, relay=relay, action=action))
    }


@pytest.mark.parametrize("local", [False, True], ids=["imap", "maildir"])
def test_each_format_is_joined_to_its_mail_and_counted_once(tmp_path: Path, local: bool) -> None:
    """Across a restart and a kill, and if a mail is copied to another folder. The mailbox stays as it is."""
    with bed(tmp_path, local=local) as (agent, _, postfix, dovecot):
        for name in NOTIFICATIONS:
            postfix.sendmail(
                "nobody@example.net", "shop@example.test", message_id=f"<{name}@mail.example.com>"
            )
        wait_for(
            lambda: (
                agent.value("postfix_deliveries_total", relay="demo", status="sent") == len(NOTIFICATIONS)
            ),
            timeout=60,
            what="all mails to be sent",
        )
        for name in NAMES:
            dovecot.deliver(mail(name))
        stranger = mail("postfix").replace(b"<postfix@mail", b"<unknown@mail").replace(b"cc9999", b"cc0000")
        dovecot.deliver(stranger, "Junk")
        files = dovecot.files()
        rows = [line.split("\t") for line in (CORPUS / "expected.tsv").read_text().splitlines()]
        expected = {
            f"demo {action}": float(sum(row[2] == action for row in rows))
            for action in ("failed", "delayed", "relayed")
        } | {"other failed": 1.0}
        wait_for(lambda: counted(agent) == expected, timeout=60, what=f"{expected}, not {counted(agent)}")
        causes = {row[4] for row in rows if row[2] == "failed"}
        for cause in causes:
            number = sum(row[4] == cause and row[2] == "failed" for row in rows)
            assert agent.value(METRIC, relay="demo", action="failed", cause=cause) == number, cause
        assert dovecot.files() == files, "no mail is deleted, moved or flagged"
        dovecot.deliver(mail("sendmail"), "Junk")
        for number in (signal.SIGTERM, signal.SIGKILL):
            wait_for(lambda: _is_saved(tmp_path, len(rows) + 1), 30, "the counts to be saved")
            agent.stop(number)
            agent.start()
            wait_for(lambda: agent.value("postward_bounces_readable") == 1, what="a look")
        dovecot.deliver(mail("postfix").replace(b"cc9999", b"cc1111"))
        expected["demo failed"] += 1
        wait_for(lambda: counted(agent) == expected, timeout=60, what="one more, and none twice")


def _is_saved(folder: Path, recipients: int) -> bool:
    saved = json.loads((folder / "state" / "checkpoint.json").read_text())
    return bool(sum(number for _, number in saved["tally"]["counters"][METRIC]) == recipients)


@contextmanager
def provider(folder: Path) -> Iterator[tuple[PostfixInstance, Path]]:
    """A Postfix that returns mail to unknown users of provider.test to senders of example.test, in a folder."""
    owner = pwd.getpwnam("nobody")
    postfix = PostfixInstance(
        folder / "provider",
        {
            "mydestination": "provider.test",
            "local_recipient_maps": "",
            "virtual_mailbox_domains": "example.test",
            "virtual_mailbox_maps": "static:Maildir/",
            "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}",
        },
    )
    bounced = postfix.folder / "bounced"
    bounced.mkdir()
    os.chown(bounced, owner.pw_uid, owner.pw_gid)
    with (postfix.config_directory / "main.cf").open("a") as file:
        file.write(f"virtual_mailbox_base = {bounced}\n")
    postfix.settle()
    with postfix:
        yield postfix, bounced / "Maildir" / "new"


def test_a_mail_and_a_probe_that_a_real_postfix_returns(tmp_path: Path) -> None:
    """The relay hands them on to a server that does not know the recipient: both are returned, with cause and reply."""
    with bed(tmp_path) as (agent, relay, postfix, dovecot), provider(tmp_path) as (behind, bounced):
        postfix.sendmail("no-such-user@provider.test", "shop@example.test")
        wait_for(lambda: len(relay.messages) == 2, timeout=30, what="a probe and a mail")
        with smtplib.SMTP("127.0.0.1", behind.smtpd_port, timeout=30) as client:
            for message in relay.messages:
                client.sendmail("shop@example.test", ["no-such-user@provider.test"], message.data)
        wait_for(
            lambda: bounced.is_dir() and len(list(bounced.iterdir())) == 2, timeout=30, what="two bounces"
        )
        for path in bounced.iterdir():
            dovecot.deliver(path.read_bytes())
        wait_for(
            lambda: agent.value(METRIC, relay="demo", action="failed", cause="recipient_rejected") == 1,
            timeout=60,
            what="the mail",
        )
        wait_for(lambda: agent.value("postward_probe_returned", relay="demo") == 1, what="the probe")
        assert any(is_probe(message.message_id or "") for message in relay.messages)
        assert agent.value(METRIC) == 1, "probes are counted apart"
        assert "probe returned" in agent.output()
        wait_for(
            lambda: agent.value("postward_incident_open", symptom="probe-returned", effect="lost") == 1,
            timeout=60,
            what="an incident",
        )
        assert "came back (recipient_rejected)" in agent.output()

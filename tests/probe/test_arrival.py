"""From the submission to the mailbox: the agent, Postfix, a relay, and the Dovecot that has the mailbox."""

import json
import signal
from pathlib import Path

import pytest

from tests.support import PostfixInstance, Relay, wait_for
from tests.support.dovecot import Dovecot
from tests.support.mailbox import PASSWORD, account, mailbox_bed
from tests.support.product import AgentProcess, run_postward, write_settings

SENDERS = ("spam", "late", "lost", "twice", "changed")
_FORGED = b"Authentication-Results: mx.receiver.test; spf=pass; dkim=pass; dmarc=pass\r\n"


def received(data: bytes, *results: str) -> bytes:
    """Return a mail as the receiving server stores it, with its verdicts."""
    verdicts = "".join(f"; {result}" for result in results)
    stamp = f"Authentication-Results: mx.receiver.test{verdicts}\r\n" if results else ""
    stamp += "Received: from relay.example.test by mx.receiver.test with ESMTPS;\r\n Mon, 30 Nov 2026 01:00:00 +0000\r\n"
    return stamp.encode() + data


def settings_file(
    folder: Path,
    relay: Relay,
    postfix: PostfixInstance,
    dovecot: Dovecot,
    *,
    local: bool = False,
    lost_after: int = 20,
) -> Path:
    """Write settings whose probes go to the mailbox."""
    path = write_settings(folder, relay, postfix, password=PASSWORD)
    (folder / "probe.key").write_text("0123456789abcdef0123456789abcdef")
    senders = [f"{name}@example.test" for name in SENDERS]
    probe = (
        f'timeout_seconds = 4\nlost_after_seconds = {lost_after}\nkey_file = "{folder / "probe.key"}"\n'
        f"senders = {json.dumps(senders)}\n"
    )
    text = path.read_text().replace("timeout_seconds = 10", probe)
    path.write_text(
        f'{text}\n[mailbox]\nauthserv_id = "mx.receiver.test"\n{account(dovecot, folder, local=local)}'
    )
    return path


def mails_of(relay: Relay) -> dict[str, bytes]:
    """Return the local part of each sender → the mail that the relay has accepted."""
    return {mail.mail_from.partition("@")[0]: mail.data for mail in relay.messages}


def restart(agent: AgentProcess, dovecot: Dovecot) -> None:
    """End both without notice, and start them again."""
    dovecot.stop()
    agent.stop(signal.SIGKILL)
    dovecot.start()
    agent.start()


@pytest.mark.parametrize(
    ("local", "restarts"),
    [(False, False), (True, False), (False, True)],
    ids=["imap", "maildir", "restarts"],
)
def test_each_outcome_is_counted_once(tmp_path: Path, local: bool, restarts: bool) -> None:
    """Mail arrives, goes to spam, is late, lost, doubled and changed behind the relay; strangers' mails stay.

    With restarts, agent and Dovecot end and start again between the arrivals.
    """
    with mailbox_bed(tmp_path) as (relay, postfix, dovecot):
        lost_after = 60 if restarts else 20  # a start takes seconds
        path = settings_file(tmp_path, relay, postfix, dovecot, local=local, lost_after=lost_after)
        strangers = {dovecot.deliver(b"Subject: postward-probe\r\n\r\nhello"), dovecot.deliver(b"", "Junk")}
        with AgentProcess(path, "--enforce") as agent:
            wait_for(lambda: len(relay.messages) == 6, timeout=30, what="the probes of all senders")
            mails = mails_of(relay)
            at = min(
                mail.at for mail in relay.messages
            )  # the mailbox dates them, however long this test takes
            passed = ("spf=pass", "dkim=pass header.d=example.test", "dmarc=pass")
            dovecot.deliver(received(mails["postward"], *passed), at=at)
            dovecot.deliver(
                received(_FORGED + mails["spam"], "spf=pass", "dkim=fail (bad signature)"), "Junk", at=at
            )
            dovecot.deliver(received(mails["twice"]), at=at)
            if restarts:
                restart(agent, dovecot)
            dovecot.deliver(received(mails["twice"]), at=at)
            dovecot.deliver(received(mails["changed"].replace(b"Subject: ", b"Subject: [SPAM] ")), at=at)
            wait_for(lambda: "probe late" in agent.output(), what="a late verdict", timeout=30)
            if restarts:
                restart(agent, dovecot)
            dovecot.deliver(received(mails["late"]), at=at + 10)
            expected = {"arrived": 2, "late": 1, "lost": 1, "duplicate": 1, "altered": 1}

            def counted() -> dict[str, float]:
                return {
                    outcome: agent.value("postward_probes_total", outcome=outcome, relay="demo")
                    for outcome in expected
                }

            wait_for(lambda: counted() == expected, timeout=90, what="each outcome, once")
            agent.stop()
            agent.start()
            assert counted() == expected
            value = agent.value
            assert value("postward_probes_total", outcome="lost", step="arrival") == 1
            assert value("postward_probe_arrivals_total", folder="spam") == 1
            assert value("postward_probe_arrivals_total", folder="inbox") == 4
            verdicts = [
                value("postward_probe_verdicts_total", method=method, verdict=verdict)
                for method, verdict in (
                    ("spf", "pass"),
                    ("dkim", "pass"),
                    ("dkim", "fail"),
                    ("dmarc", "pass"),
                )
            ]
            assert verdicts == [2, 1, 1, 1], "the forged verdicts of DMARC do not count"
            if restarts:  # a crash before a deletion leaves a probe for five days
                assert dovecot.files().keys() >= strangers
            else:
                wait_for(
                    lambda: dovecot.files().keys() == strangers,
                    20,
                    "all probes to be deleted, and no other mail",
                )
            assert set(dovecot.files().values()) == {""}, "no flags"


def test_an_unreadable_mailbox_blames_no_relay_and_disturbs_nothing(tmp_path: Path) -> None:
    """A wrong password is an incident; probes are accepted, their arrival is unknown, and mail is counted on."""
    with mailbox_bed(tmp_path) as (relay, postfix, dovecot):
        path = settings_file(tmp_path, relay, postfix, dovecot)
        (tmp_path / "mailbox").write_text("wr0ng-M0ss")
        with AgentProcess(path, "--enforce") as agent:
            wait_for(lambda: len(relay.messages) == 6, timeout=30, what="the probes of all senders")
            wait_for(
                lambda: agent.value("postward_probes_total", outcome="accepted") == 6,
                timeout=30,
                what="all probes to count as accepted",
            )
            assert agent.value("postward_probes_total") == 6
            assert agent.value("postward_mailbox_readable") == 0
            assert agent.value("postward_probe_success") == 1
            assert agent.value("postward_part_failures_total") == 0
            postfix.sendmail("other@relay.test")
            wait_for(
                lambda: agent.value("postfix_deliveries_total", status="sent") == 1, what="the user's mail"
            )
            status = json.loads(agent.get("/api/status")[1])
            (incident,) = [row for row in status["incidents"] if row["closed"] is None]
            assert incident["symptom"] == "mailbox-unreadable"
            assert [cause["id"] for cause in incident["causes"]] == ["mailbox-login"]
            assert "wr0ng" not in agent.output() + json.dumps(status)
        assert dovecot.log.count("Password mismatch") == 1, "a wrong password is tried once a minute at most"


def test_a_command_shows_folder_and_verdicts(tmp_path: Path) -> None:
    """`postward probe` waits for the mail, shows where it is, and deletes it."""
    with mailbox_bed(tmp_path) as (relay, postfix, dovecot):
        path = settings_file(tmp_path, relay, postfix, dovecot)
        relay.on_message = lambda data: dovecot.deliver(received(data, "dkim=pass", "spf=softfail"), "Junk")
        assert run_postward("apply", "--config", str(path)).returncode == 0
        done = run_postward("probe", "--json", "--config", str(path))
        result = json.loads(done.stdout)
        assert (result["outcome"], result["folder"]) == ("arrived", "spam")
        assert result["verdicts"] == {"spf": "softfail", "dkim": "pass"}
        assert result["timeline"][-1]["step"] == "arrived"
        assert done.returncode == 0
        check = run_postward("probe", "--format", "check", "--config", str(path))
        assert check.stdout.startswith("PROBE WARNING - demo arrived in a folder for spam | ")
        text = run_postward("probe", "--config", str(path))
        assert "probe arrived through relay demo, in a folder for spam" in text.stdout
        assert "spam; spf=softfail dkim=pass" in text.stdout
        assert dovecot.files() == {}

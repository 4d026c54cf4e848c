"""The test bed: a private Postfix sends through the relay, and each fault of the relay appears in Postfix's log."""

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import (
    CA,
    Fault,
    PostfixError,
    PostfixInstance,
    Relay,
    require_postfix,
    wait_for,
)

pytestmark = pytest.mark.usefixtures("_postfix_present")


@pytest.fixture(scope="module")
def _postfix_present() -> None:
    require_postfix()


class Bed(NamedTuple):
    """A client and its relay."""

    postfix: PostfixInstance
    relay: Relay
    ca: CA


def use_relay(postfix: PostfixInstance, relay: Relay, ca: CA) -> None:
    """Configure the relay by hand."""
    passwords = postfix.config_directory / "sasl_passwd"
    passwords.write_text("".join(f"[localhost]:{relay.port} {u}:{p}\n" for u, p in relay.users.items()))
    passwords.chmod(0o600)
    postfix.build_table(passwords)
    postfix.set(
        relayhost=f"[localhost]:{relay.port}",
        smtp_sasl_auth_enable="yes",
        smtp_sasl_password_maps=f"hash:{passwords}",
        smtp_sasl_security_options="noanonymous",
        smtp_tls_security_level="secure",
        smtp_tls_wrappermode="yes" if relay.tls == "implicit" else "no",
        smtp_tls_CAfile=str(ca.write(postfix.config_directory)),
        smtp_tls_loglevel="1",
        # A fault ends within a second.
        **{
            f"smtp_{step}_timeout": "1s" for step in ("helo", "starttls", "mail", "rcpt", "data_init", "quit")
        },
        smtp_connect_timeout="1s",
        smtp_data_done_timeout="1s",
    )


@pytest.fixture(scope="module")
def module_bed(_postfix_present: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """One Postfix and one relay for the module."""
    ca = CA()
    folder = tmp_path_factory.mktemp("bed")
    with Relay(ca) as relay, PostfixInstance(folder, {"smtp_connection_cache_on_demand": "no"}) as postfix:
        use_relay(postfix, relay, ca)
        postfix.reload()
        yield Bed(postfix, relay, ca)


@pytest.fixture
def bed(module_bed: Bed) -> Iterator[Bed]:
    """The module's Postfix and relay, without faults and mail at the start of each test."""
    certificate = module_bed.relay.certificate
    yield module_bed
    module_bed.relay.certificate = certificate
    module_bed.relay.no_starttls = False
    empty(module_bed)


def empty(bed: Bed) -> None:
    """Delete all mail and switch faults off. The relay refuses meanwhile, so that no delivery under way succeeds."""
    bed.relay.refuse = True
    bed.relay.faults = []
    bed.postfix.delete_all()
    bed.relay.forget()
    bed.relay.refuse = False


def outcome(postfix: PostfixInstance, recipient: str) -> str:
    """Wait for the delivery's line in the log. Return it."""
    return wait_for(
        lambda: next(iter(postfix.log_lines(f"to=<{recipient}>, relay=")), ""),
        what=f"a status for {recipient}",
    )


def test_a_mail_passes_with_starttls_and_auth(bed: Bed) -> None:
    """The relay records the mail, its sender, its login and TLS."""
    message_id = bed.postfix.sendmail("someone@example.org", body="Grüße\n")
    assert "status=sent (250 2.0.0 Ok: queued as " in outcome(bed.postfix, "someone@example.org")
    [message] = bed.relay.messages_to("someone@example.org")
    assert message.message_id == message_id
    assert (message.username, message.tls) == ("user", True)
    assert message.mail_from == "sender@client.example.test"
    assert message.rcpt_tos == ["someone@example.org"]
    assert bed.relay.auth_attempts == [("PLAIN", "user", True)]
    assert "Verified TLS connection established to localhost" in bed.postfix.log()
    assert bed.postfix.log_lines("from=<sender@client.example.test>, size=")


def test_the_relay_shows_no_secret(bed: Bed) -> None:
    """The password is neither in the transcript nor in a repr."""
    bed.postfix.sendmail("secretive@example.org")
    outcome(bed.postfix, "secretive@example.org")
    shown = repr((bed.relay, bed.relay.messages, bed.relay.auth_attempts, list(bed.relay.transcript)))
    assert "AUTH PLAIN ****" in shown
    assert "secret@" not in shown.replace("secretive@", "")
    assert "AHVzZXIAc2VjcmV0" not in shown  # NUL user NUL secret, in base64


FAULTS = [
    (
        Fault(step="greeting", reply="421 4.7.0 Too many connections"),
        "refused to talk to me: 421 4.7.0 Too many",
    ),
    (Fault(step="greeting", reply="554 5.7.1 Blocked"), "refused to talk to me: 554 5.7.1 Blocked"),
    (
        Fault(step="greeting", action="cut"),
        "lost connection with localhost[127.0.0.1] while receiving the initial",
    ),
    (Fault(step="greeting", action="hang"), "timed out while receiving the initial server greeting"),
    (Fault(step="ehlo", reply="450 4.7.1 Not yet"), "refused to talk to me: 450 4.7.1 Not yet"),
    (Fault(step="ehlo", action="cut"), "while performing the EHLO handshake"),
    (
        Fault(step="starttls", reply="454 4.7.0 TLS not available"),
        "host localhost[127.0.0.1] refused to start TLS",
    ),
    (Fault(step="starttls", action="cut"), "while receiving the STARTTLS response"),
    (Fault(step="handshake", action="cut"), "Cannot start TLS: handshake failure"),
    (Fault(step="handshake", action="hang"), "Cannot start TLS: handshake failure"),
    (
        Fault(step="auth", reply="535 5.7.8 Wrong"),
        "SASL authentication failed; server localhost[127.0.0.1] said: 535",
    ),
    (
        Fault(step="auth", reply="454 4.7.0 Later"),
        "SASL authentication failed; server localhost[127.0.0.1] said: 454",
    ),
    (Fault(step="auth", action="cut"), "lost connection with localhost[127.0.0.1] while"),
    (
        Fault(step="mail", reply="550 5.7.1 Sender"),
        "status=bounced (host localhost[127.0.0.1] said: 550 5.7.1 Sender",
    ),
    (
        Fault(step="mail", reply="451 4.3.0 Soon"),
        "status=deferred (host localhost[127.0.0.1] said: 451 4.3.0 Soon",
    ),
    (Fault(step="mail", reply="421 4.7.0 Enough"), "said: 421 4.7.0 Enough (in reply to MAIL FROM command)"),
    (Fault(step="mail", action="cut"), "while sending MAIL FROM"),
    (Fault(step="mail", action="hang"), "timed out while sending MAIL FROM"),
    (
        Fault(step="rcpt", reply="550-5.1.1 No\n550 5.1.1 such"),
        "said: 550-5.1.1 No 550 5.1.1 such (in reply to RCPT",
    ),
    (
        Fault(step="rcpt", reply="452 4.2.2 Full"),
        "status=deferred (host localhost[127.0.0.1] said: 452 4.2.2 Full",
    ),
    (Fault(step="rcpt", action="cut"), "while sending RCPT TO"),
    (Fault(step="data", reply="451 4.7.1 Limit"), "said: 451 4.7.1 Limit (in reply to DATA command)"),
    (Fault(step="data", action="cut"), "while sending DATA command"),
    (Fault(step="body", action="cut"), "lost connection with localhost[127.0.0.1] while sending"),
    (
        Fault(step="end_of_data", reply="554 5.6.0 Spam"),
        "said: 554 5.6.0 Spam (in reply to end of DATA command)",
    ),
    (
        Fault(step="end_of_data", reply="421 4.3.2 Down"),
        "said: 421 4.3.2 Down (in reply to end of DATA command)",
    ),
    (
        Fault(step="end_of_data", action="cut"),
        "while sending end of data -- message may be sent more than once",
    ),
    (Fault(step="end_of_data", action="hang"), "timed out while sending end of data"),
    (Fault(step="rcpt", action="delay", seconds=0.3), "status=sent"),
]


@pytest.mark.parametrize(
    ("fault", "text"), FAULTS, ids=[f"{n}-{f.step}-{f.action}" for n, (f, _) in enumerate(FAULTS)]
)
def test_a_fault_appears_in_the_log(bed: Bed, fault: Fault, text: str) -> None:
    """Each step and action has its message in Postfix's log."""
    recipient = f"fault{FAULTS.index((fault, text))}@example.org"
    bed.relay.fault = fault
    bed.postfix.sendmail(recipient)
    assert text in outcome(bed.postfix, recipient)
    assert len(bed.relay.messages_to(recipient)) == (fault.action == "delay")


def test_a_delivery_under_way_does_not_arrive_in_the_next_test(bed: Bed) -> None:
    """The relay holds a mail when the bed is emptied: that delivery fails, and no retry follows."""
    bed.relay.fault = Fault(step="end_of_data", action="delay", seconds=0.5)
    bed.postfix.sendmail("under-way@example.org")
    wait_for(
        lambda: any("fault: delay" in line for line in bed.relay.transcript), what="the mail at the relay"
    )
    empty(bed)
    assert "status=deferred" in outcome(bed.postfix, "under-way@example.org")
    assert bed.postfix.queue() == []
    assert bed.relay.messages == []


def test_mail_of_an_earlier_test_is_not_counted(bed: Bed) -> None:
    """Mail to another recipient arrives while a test's own mail fails."""
    bed.relay.fault = Fault(step="rcpt", only="late@example.org", reply="550 5.1.1 unknown")
    bed.postfix.sendmail("earlier@example.org")
    bed.postfix.sendmail("late@example.org")
    assert "status=bounced" in outcome(bed.postfix, "late@example.org")
    wait_for(lambda: bed.relay.messages_to("earlier@example.org"), what="the earlier mail")
    assert bed.relay.messages_to("late@example.org") == []


def test_a_fault_ends_after_its_number_of_times(bed: Bed) -> None:
    """The first delivery attempt is deferred, and the second one succeeds."""
    bed.relay.fault = Fault(step="rcpt", times=1, only="once@example.org")
    bed.postfix.sendmail("once@example.org")
    assert "status=deferred" in outcome(bed.postfix, "once@example.org")
    assert bed.relay.fault is None
    bed.postfix.flush()
    wait_for(lambda: bed.relay.messages_to("once@example.org"), what="the second attempt")


def test_a_relay_refuses_connections_and_accepts_them_again(bed: Bed) -> None:
    """Mail waits in the queue meanwhile."""
    bed.relay.refuse = True
    bed.postfix.sendmail("refused@example.org")
    assert f"[127.0.0.1]:{bed.relay.port}: Connection refused" in outcome(bed.postfix, "refused@example.org")
    [waiting] = bed.postfix.queue()
    assert waiting["queue_name"] in ("deferred", "active")
    bed.relay.refuse = False
    bed.postfix.flush()
    wait_for(lambda: bed.relay.messages_to("refused@example.org"), what="the mail after the relay came back")


def test_no_starttls_is_refused_by_the_client(bed: Bed) -> None:
    """No password is sent without TLS."""
    bed.relay.no_starttls = True
    bed.postfix.sendmail("plain@example.org")
    assert "TLS is required, but was not offered by host" in outcome(bed.postfix, "plain@example.org")
    assert not bed.relay.auth_attempts


@pytest.mark.parametrize("flaw", ["expired", "not_yet_valid", "wrong_name", "self_signed"])
def test_a_bad_certificate_is_not_verified(bed: Bed, flaw: str) -> None:
    """No password is sent to a relay with a bad certificate."""
    bed.relay.certificate = bed.ca.server_context("localhost", **{flaw: True})
    bed.postfix.sendmail(f"{flaw}@example.org")
    assert "(Server certificate not " in outcome(bed.postfix, f"{flaw}@example.org")
    assert not bed.relay.auth_attempts


def test_a_password_change_at_the_relay_takes_effect_at_once(bed: Bed) -> None:
    """The next login with the old password is refused."""
    bed.relay.users["user"] = "rotated"
    try:
        bed.postfix.sendmail("rotated@example.org")
        assert "535 5.7.8 Authentication credentials invalid" in outcome(bed.postfix, "rotated@example.org")
    finally:
        bed.relay.users["user"] = "secret"
    assert ("PLAIN", "user", False) in bed.relay.auth_attempts


def test_an_empty_sender_is_recorded(bed: Bed) -> None:
    """A bounce has the sender ""."""
    bed.postfix.sendmail("bounced@example.org", sender="<>")
    assert "status=sent" in outcome(bed.postfix, "bounced@example.org")
    assert bed.relay.messages_to("bounced@example.org")[0].mail_from == ""


def test_two_hundred_mails_arrive_once_each(bed: Bed) -> None:
    """Mails to twenty domains, submitted in one session."""
    recipients = [f"r{number}@d{number % 20}.example.org" for number in range(200)]
    sent = set(bed.postfix.inject(recipients))

    def received() -> list[str | None]:
        return [message.message_id for to in recipients for message in bed.relay.messages_to(to)]

    wait_for(lambda: len(received()) >= 200, timeout=30, what="two hundred mails")
    assert set(received()) == sent
    assert len(received()) == 200


@pytest.mark.parametrize("mechanism", ["LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_other_mechanisms_and_implicit_tls(bed: Bed, mechanism: str, tls: str) -> None:
    """A second relay replaces the first for one mail."""
    recipient = f"{mechanism}.{tls}@example.org"
    with Relay(bed.ca, tls=tls, mechanisms=(mechanism,)) as other:
        use_relay(bed.postfix, other, bed.ca)
        bed.postfix.reload()
        try:
            bed.postfix.sendmail(recipient)
            assert "status=sent" in outcome(bed.postfix, recipient)
        finally:
            use_relay(bed.postfix, bed.relay, bed.ca)
            bed.postfix.reload()
    assert other.auth_attempts == [(mechanism, "user", True)]
    assert other.messages[0].tls


@pytest.mark.parametrize("action", ["cut", "hang"])
def test_implicit_tls_can_fail(bed: Bed, action: str) -> None:
    """The handshake fails, or the certificate has expired."""
    with Relay(bed.ca, tls="implicit") as other:
        other.fault = Fault(step="handshake", action=action)
        use_relay(bed.postfix, other, bed.ca)
        bed.postfix.reload()
        try:
            bed.postfix.sendmail(f"implicit-{action}@example.org")
            assert "Cannot start TLS: handshake failure" in outcome(
                bed.postfix, f"implicit-{action}@example.org"
            )
            other.fault = None
            other.certificate = bed.ca.server_context("localhost", expired=True)
            bed.postfix.sendmail(f"expired-{action}@example.org")
            assert "Server certificate not verified" in outcome(bed.postfix, f"expired-{action}@example.org")
        finally:
            use_relay(bed.postfix, bed.relay, bed.ca)
            bed.postfix.reload()


def test_a_relay_restarts_on_its_port() -> None:
    """Postfix needs no other settings."""
    with Relay(CA()) as relay:
        port = relay.port
        relay.restart()
        assert relay.port == port
        with socket.create_connection((relay.host, port), timeout=5) as client:
            assert client.recv(100) == b"220 localhost ESMTP\r\n"


def test_a_failed_start_shows_the_log_and_leaves_no_process(tmp_path: Path) -> None:
    """The port of smtpd(8) is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        postfix = PostfixInstance(tmp_path, smtpd_port=taken.getsockname()[1])
        with pytest.raises(PostfixError, match="Address already in use"), postfix:
            pass
    assert not postfix.pids()


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_killed_test_run_leaves_no_postfix(tmp_path: Path, number: str) -> None:
    """The guardian stops it, whatever the signal."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.killed", str(tmp_path), number],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode != 0
    folder = run.stdout.strip()
    assert folder
    wait_for(lambda: not mentions(folder), what=f"the end of all processes in {folder}")
    assert folder == str(tmp_path) or not Path(folder).exists()


def test_stop_leaves_no_process(tmp_path: Path) -> None:
    """The port is free again, too."""
    postfix = PostfixInstance(tmp_path)
    with postfix:
        assert postfix.is_running()
        assert len(postfix.pids()) >= 2
        postfix.sendmail("nobody@invalid.test")
        with socket.create_connection(("127.0.0.1", postfix.smtpd_port), timeout=5) as client:
            assert re.match(rb"220 client\.example\.test ESMTP", client.recv(200))
    assert not postfix.pids()
    assert not mentions(str(postfix.folder))
    with socket.socket() as port:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind(("127.0.0.1", postfix.smtpd_port))


def mentions(folder: str) -> list[str]:
    """Return the processes with this directory among their arguments or as their working directory."""
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = str((process / "cwd").readlink())
            if folder in where or folder.encode() in (process / "cmdline").read_bytes():
                processes.append(f"{process.name} in {where}")
    return processes

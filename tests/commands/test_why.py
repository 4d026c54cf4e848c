"""`postward why` over logs of any host, also compressed or through a pipe."""

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from tests.support.product import POSTWARD, run_postward

TRAPS = Path(__file__).parents[1] / "corpus" / "traps"


def test_log_is_explained(tmp_path: Path) -> None:
    """Effect, cause with its certainty, setting, remedy and evidence; exit status 3, because mail waits."""
    done = run_postward("why", str(TRAPS / "cred-missing-db.log"))

    assert done.returncode == 3
    assert done.stdout.startswith("MAIL WAITS    the index of the password table does not exist\n")
    assert "cause:   the index was never built, or main.cf names another file (certain)" in done.stdout
    assert (
        "setting: relay.password_file   Postfix: the password table (smtp_sasl_password_maps)" in done.stdout
    )
    assert "remedy:  postmap hash:/etc/postfix/sasl_passwd" in done.stdout
    assert "/etc/postfix/sasl_passwd.db: No such file or directory" in done.stdout
    assert done.stderr.splitlines()[-1] == "1 incident"
    assert done.stderr.splitlines()[0].endswith(" lines are Postfix's")


def test_addresses_are_masked_by_default() -> None:
    """The domain stays; `--addresses` shows the rest."""
    log = str(TRAPS / "sender-553-notowned.log")

    assert "<…@client.test>" in run_postward("why", log).stdout
    assert "app@" not in run_postward("why", log).stdout
    assert "<app@client.test>" in run_postward("why", log, "--addresses").stdout


def test_compressed_and_piped_logs_are_read_in_order(tmp_path: Path) -> None:
    """A success in a later log closes the incident of an earlier one."""
    packed = tmp_path / "mail.log.1.gz"
    packed.write_bytes(gzip.compress((TRAPS / "cred-wrong-password.log").read_bytes()))
    after = (
        (TRAPS / "tls-wrapper587-fixed.log")
        .read_bytes()
        .replace(b"smtp587.sendcloud.net", b"smtp.relay.test")
    )
    done = subprocess.run(
        [POSTWARD, "why", str(packed), "-", "--json"],
        input=after,
        capture_output=True,
        check=False,
        timeout=60,
    )
    (row,) = json.loads(done.stdout)["incidents"]

    assert done.returncode == 0
    assert row["symptom"] == "login-refused"
    assert row["closed"] >= row["first"]
    assert "was sent by smtp.relay.test:20587" in row["closed_by"]


def test_since_leaves_old_lines_out() -> None:
    """The stamps of the lines decide."""
    log = str(TRAPS / "cred-wrong-password.log")

    assert "login" in run_postward("why", log, "--since", "2000-01-01").stdout
    done = run_postward("why", log, "--since", "2999-01-01")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.endswith("lines are Postfix's, none in the time asked for\n")


def test_bad_arguments_are_errors() -> None:
    """A missing file; an invalid time."""
    missing = run_postward("why", "/nowhere/mail.log")
    assert (missing.returncode, missing.stderr) == (
        1,
        "postward: /nowhere/mail.log: No such file or directory\n",
    )
    odd = run_postward("why", str(TRAPS / "net-refused.log"), "--since", "yesterday")
    assert odd.returncode == 2
    assert 'yesterday is not a time; write 30m, 2h, 3d, or "2026-11-24 09:00"' in odd.stderr


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"", "0 of 0 lines read: the log is empty"),
        (b"\x7fELF\x02\x01\0\0\n", "0 of 1 lines read: these are binary data, not a log"),
        (b"Nov  4 06:05:01 mx1 sshd[7]: x\n", "0 of 1 lines read: these are lines of other programs: sshd"),
        (b"hello\n", '0 of 1 lines read: these are not lines of syslog: "hello"'),
    ],
)
def test_a_log_that_is_not_postfixs_is_not_all_well(tmp_path: Path, content: bytes, looks: str) -> None:
    """Exit status 4, and what the log looks like, for each command that looks back."""
    log = tmp_path / "log"
    log.write_bytes(content)
    done = run_postward("why", str(log), "--json")
    assert (done.returncode, done.stderr) == (4, f"{looks}\n")
    assert json.loads(done.stdout)["lines"]["summary"] == looks
    for command in (("report", str(log)), ("trace", "4C0FFEE001", str(log))):
        done = run_postward(*command)
        assert done.returncode == 4
        assert looks.partition(": ")[2] in done.stderr


def test_a_posted_configuration_names_the_cause(tmp_path: Path) -> None:
    """The log alone leaves several causes; main.cf of that host leaves one."""
    log, main_cf = tmp_path / "mail.log", tmp_path / "posted.cf"
    log.write_text(
        "Jun 13 10:54:52 dell postfix/smtp[1]: Host offered STARTTLS: [smtp.example.net]\n"
        "Jun 13 10:54:57 dell postfix/smtp[1]: 5E00C2080BB3: to=<v@example.com>, relay=smtp.example.net[192.0.2.210]:587, "
        "delay=5.1, delays=0.02/0.01/0.07/5, dsn=5.7.57, status=bounced (host smtp.example.net[192.0.2.210] said: "
        "530 5.7.57 Client was not authenticated (in reply to MAIL FROM command))\n"
    )
    main_cf.write_text(
        "relayhost = [smtp.example.net]:587\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = hash:/etc/postfix/p\n"
    )
    arguments = ("why", str(log), "--json", "--main-cf", str(main_cf))
    (row,) = json.loads(run_postward(*arguments).stdout)["incidents"]
    assert row["certainty"] == "certain"
    assert row["causes"][0]["where"].startswith("/etc/postfix/main.cf: smtp_tls_security_level (not set)")
    main_cf.write_text(f"{main_cf.read_text()}smtp_tls_security_level = encrypt\n")
    (row,) = json.loads(run_postward(*arguments).stdout)["incidents"]
    assert "smtp_tls_security_level (not set)" not in json.dumps(row)


@pytest.mark.parametrize(
    ("text", "symptom", "certainty"),
    [
        (
            "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
            "login-basic-retired",
            "likely",
        ),
        ("554 5.7.1 <x@example.com>: Relay access denied", "relay-denied", "ambiguous"),
        (
            "(host r[192.0.2.1] said: 452 4.2.2 Mailbox full (in reply to RCPT TO command))",
            "recipient-unknown",
            "likely",
        ),
        ((TRAPS / "net-refused.log").read_text().splitlines()[6], "connection-refused", "ambiguous"),
    ],
)
def test_one_pasted_error_is_explained(text: str, symptom: str, certainty: str) -> None:
    """A reply, a bounce's text, or a line; the text is the evidence."""
    done = run_postward("why", "--json", "--text", text)
    (row,) = json.loads(done.stdout)["incidents"]
    assert done.returncode == 0
    assert (row["symptom"], row["certainty"]) == (symptom, certainty)


def test_a_reply_that_depends_on_the_command_is_ambiguous() -> None:
    """The number and class of a reply mean different things for the sender and for the recipient."""
    rows = json.loads(run_postward("why", "--json", "--text", "550 5.1.1 no").stdout)["incidents"]
    assert len(rows) > 1
    assert {row["certainty"] for row in rows} == {"ambiguous"}


def test_an_unknown_text_is_not_explained() -> None:
    """Exit status 4."""
    done = run_postward("why", "--text", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (4, "", "Postward does not know this error\n")


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """With what would be right."""
    main_cf = tmp_path / "main.cf"
    main_cf.touch()
    alone = run_postward("why", "--main-cf", str(main_cf))
    assert alone.returncode == 2
    assert "--main-cf and --master-cf belong to a FILE" in alone.stderr
    both = run_postward("why", str(main_cf), "--text", "550 no")
    assert both.returncode == 2
    assert "leave out FILE" in both.stderr


def test_the_hosts_of_a_log_are_kept_apart(tmp_path: Path) -> None:
    """Mail that one host sends proves nothing about another, whose mail goes through the same relay."""
    relay = "smtp.relay.test[192.0.2.9]:587"
    failed = (
        f"2026-11-24T06:00:0{{}}+00:00 web1 postfix/smtp[1]: 3C{{}}: to=<a@b>, relay={relay}, delay=2, delays=0/0/1/1, "
        "dsn=4.7.8, status=deferred (SASL authentication failed; server smtp.relay.test[192.0.2.9] said: 535 5.7.8 Error)\n"
    )
    sent = (
        f"2026-11-24T06:00:09+00:00 web2 postfix/smtp[1]: 3C9: to=<a@b>, relay={relay}, delay=2, delays=0/0/1/1, "
        "dsn=2.0.0, status=sent (250 2.0.0 Ok)\n"
    )
    log, main_cf = tmp_path / "log", tmp_path / "main.cf"
    log.write_text(failed.format(1, 1) + failed.format(2, 2) + sent)
    main_cf.write_text("relayhost = [smtp.relay.test]:587\n")

    told = run_postward("why", str(log), "--main-cf", str(main_cf))
    rows = json.loads(run_postward("why", str(log), "--json").stdout)["incidents"]

    assert [(row["host"], row["cause"], row["closed"]) for row in rows] == [("web1", "auth_rejected", None)]
    assert f"relay {relay.partition('[')[0]}:587 on web1; " in told.stdout
    assert f"{main_cf} is not used: FILE has lines of several hosts: web1, web2\n" in told.stderr
    log.write_text(failed.format(1, 1) + sent.replace("web2", "web1"))
    (row,) = json.loads(run_postward("why", str(log), "--json").stdout)["incidents"]
    assert row["host"] == ""
    assert row["closed"] is not None

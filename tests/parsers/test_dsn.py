"""Delivery status notifications: a mail of each format, mails that are none, and hostile ones."""

from pathlib import Path

import pytest

from postward.parsers import cause_of_diagnostic
from postward.parsers.dsn import MAX_DSN, may_be_dsn, read_dsn

CORPUS = Path(__file__).parents[1] / "corpus" / "dsn"
NAMES = sorted(path.stem for path in CORPUS.glob("*.eml"))
NOTIFICATIONS = [name for name in NAMES if not name.startswith("not-")]


def rows(name: str) -> list[str]:
    """Return the rows that a mail should have."""
    lines = (CORPUS / "expected.tsv").read_text().splitlines()
    return [line for line in lines if line.split("\t")[0] == name]


def mail(name: str) -> bytes:
    """Return a mail of the corpus."""
    return (CORPUS / f"{name}.eml").read_bytes()


def head(data: bytes) -> bytes:
    """Return the header of a mail."""
    return data.replace(b"\r\n", b"\n").partition(b"\n\n")[0]


@pytest.mark.parametrize("name", NOTIFICATIONS)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_formats(name: str, line_end: bytes) -> None:
    """The Message-ID of the original, and of each recipient action, status, cause and server."""
    data = mail(name).replace(b"\n", line_end)
    assert may_be_dsn(head(data))
    dsn = read_dsn(data)
    assert dsn is not None
    assert dsn.message_ids[0] == f"<{name}@mail.example.com>"
    found = []
    for one in dsn.recipients:
        is_failure = one.action in {"failed", "delayed"}
        cause = cause_of_diagnostic(one.diagnostic, one.status).value if is_failure else "-"
        found.append("\t".join((name, one.address, one.action, one.status, cause, one.remote)))
    assert found == rows(name)


def test_there_are_ten_formats() -> None:
    """Each with a row."""
    assert len({name.partition("-")[0] for name in NOTIFICATIONS}) >= 10
    assert all(rows(name) for name in NOTIFICATIONS)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(NOTIFICATIONS)))
def test_other_mail_is_left_out(name: str) -> None:
    """Vacation notices, receipts, complaints, and a person who quotes a notification."""
    assert read_dsn(mail(name)) is None


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_a_mail_that_is_cut_never_raises(name: str) -> None:
    """At any byte, and what is found is bounded."""
    data = mail(name)
    for end in range(0, len(data), 7):
        dsn = read_dsn(data[:end])
        assert dsn is None or all(len(one.diagnostic) <= 500 for one in dsn.recipients)


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Type: multipart/report; boundary=a\n\n"
        + b"--a\nContent-Type: multipart/mixed; boundary=a\n\n" * 2000,
        b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (number, number)
            for number in range(1000)
        ),
        b"Content-Type: message/rfc822\n\n" * 2000,
        b"From: mailer-daemon@x\nSubject: failure notice\n\n" + b"<" * 60000,
        b"From: mailer-daemon@x\nSubject: failure notice\n\n" + b"a@" * 30000,
        b"From: mailer-daemon@x\nSubject: failure notice\n\n" + b"a@b.c:\n" * 9000,
        b"From: " + b"mail " * 12000 + b"\nSubject: =?x?q?" + b"=?" * 1000,
        b"From: mailer-daemon@x\nContent-Type: text/html\n\n" + b"<style>" * 9000,
        b"From: mailer-daemon@x\nContent-Type: text/plain; charset=no-such\n\n\xff\xfe550 5.1.1 <a@b.example>",
        mail("postfix").replace(b"Remote-MTA: dns;", b"Remote-MTA: dns;" + b"\xff" * 50000),
        b"",
        b"\0" * 70000,
    ],
)
def test_hostile_mail(data: bytes) -> None:
    """Nothing raises, and what is found is bounded. The fuzzer watches the time (`tools.hostile`)."""
    may_be_dsn(data)
    dsn = read_dsn(data)
    assert dsn is None or len(dsn.recipients) <= 100


def test_only_the_beginning_is_read() -> None:
    """A notification with a large mail in it."""
    data = mail("sendmail") + b"x" * 4 * MAX_DSN
    assert read_dsn(data) is not None
    assert read_dsn(b"x" * MAX_DSN + mail("sendmail")) is None

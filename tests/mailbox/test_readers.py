"""Reading a mailbox: by IMAP from a real Dovecot, and in its Maildir. Nothing is touched but what is to be deleted."""

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from imapclient import IMAPClient

from postward.agent.mailbox.access import MAX_HEADS, MAX_MAIL, MailboxError, Reader, kind_of
from postward.agent.mailbox.imap import ImapReader
from postward.agent.mailbox.maildir import MaildirReader
from postward.config.mailbox import Mailbox
from postward.config.settings import Settings, parse_settings
from tests.support import CA
from tests.support.dovecot import Dovecot

DAY = 86400.0


class Box(NamedTuple):
    """A mailbox and its server."""

    dovecot: Dovecot
    folder: Path
    kind: str

    def settings(self, **mailbox: object) -> Settings:
        """Return settings that read the mailbox, with these changes."""
        login: dict[str, object] = {"maildir": str(self.dovecot.maildir)}
        if self.kind != "maildir":
            login = {
                "host": self.dovecot.host,
                "port": self.dovecot.port,
                "ca_file": str(self.folder / "ca.pem"),
                "username": self.dovecot.username,
                "password_file": str(self.folder / "password"),
            }
        return settings_of(self.folder, login | mailbox)

    def reader(self, **mailbox: object) -> Reader:
        """Return a reader of the mailbox."""
        settings = self.settings(**mailbox)
        account = settings.mailbox
        return MaildirReader(account) if self.kind == "maildir" else ImapReader(account, settings)


def settings_of(folder: Path, mailbox: dict[str, object]) -> Settings:
    """Return settings with this mailbox."""
    oauth2 = {
        "grant": "client_credentials",
        "client_id": "x",
        "client_secret_file": "/x",
        "token_endpoint": "https://x/token",
        "directory": str(folder),
    }
    return parse_settings(
        {
            "host": {"myhostname": "mail.example.test"},
            "relay": [{"name": "demo", "host": "r.test", "username": "u", "oauth2": oauth2}],
            "probe": {"recipient": "probe@receiver.test", "key_file": str(folder / "probe.key")},
            "mailbox": mailbox,
        },
        "postward.toml",
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Box]:
    """An empty mailbox, read by IMAP."""
    ca = CA()
    ca.write(tmp_path)
    (tmp_path / "password").write_text(Dovecot.password)
    with Dovecot(ca) as dovecot:
        yield Box(dovecot, tmp_path, "imap")


@pytest.fixture(params=["imap", "maildir"])
def box(request: pytest.FixtureRequest, server: Box) -> Box:
    """An empty mailbox, read in one of the ways."""
    return server._replace(kind=request.param)


def mail(subject: str = "hello") -> bytes:
    """Return a stranger's mail."""
    return (
        f"From: a@b.test\r\nMessage-ID: <{subject}@b.test>\r\nSubject: {subject}\r\n\r\nHello.\r\n".encode()
    )


def test_each_mail_is_returned_once_and_nothing_changes(box: Box) -> None:
    """New mails of inbox and junk, with their times; no flag is set, and no mail is moved."""
    now = float(int(time.time()))  # INTERNALDATE has no fractions
    box.dovecot.deliver(mail("old"), at=now - 9 * DAY)
    box.dovecot.deliver(mail("first"), at=now - 100)
    box.dovecot.deliver(mail("junk"), "Junk", at=now - 50)
    box.dovecot.deliver(mail("elsewhere"), "Sent")
    files = box.dovecot.files()
    with closing(box.reader()) as reader:
        look = reader.look(now - DAY)
        found = {(found.kind, round(now - found.at)) for found in look.mails}
        assert found == {("inbox", 100), ("spam", 50)}
        assert reader.look(now - DAY).mails == []
        box.dovecot.deliver(mail("next"))
        (following,) = reader.look(now - DAY).mails
        assert b"<next@b.test>" in following.head
        assert b"Subject: next" in reader.read(following.key)
        assert reader.present([following.key]) == {following.key}
    assert files.items() <= box.dovecot.files().items()
    assert set(box.dovecot.files().values()) == {""}, "no flags"


def test_only_what_is_named_is_deleted(box: Box) -> None:
    """Also if another client has marked a mail as deleted: it stays, and so do flags."""
    names = [box.dovecot.deliver(mail(f"number{number}")) for number in range(3)]
    context = ssl.create_default_context(cafile=str(box.folder / "ca.pem"))
    with IMAPClient(box.dovecot.host, box.dovecot.port, ssl_context=context) as other:
        other.plain_login(box.dovecot.username, box.dovecot.password)
        other.select_folder("INBOX")
        other.set_flags(other.search("SUBJECT number0"), [b"\\Deleted"])
        other.set_flags(other.search("SUBJECT number1"), [b"\\Flagged"])
        with closing(box.reader()) as reader:
            mails = {mail.head.split(b"<")[1].split(b"@")[0]: mail.key for mail in reader.look(0.0).mails}
            assert len(mails) == 3
            reader.delete([mails[b"number2"]])
            assert reader.present(mails.values()) == {mails[b"number0"], mails[b"number1"]}
            assert reader.read(mails[b"number2"]) == b""
    assert box.dovecot.files() == {names[0]: "T", names[1]: "F"}


def test_a_full_folder_of_strangers_is_read_in_several_looks(box: Box) -> None:
    """The newest mails come first; the rest is not forgotten; large mails are cut."""
    now = float(int(time.time()))  # INTERNALDATE has no fractions
    for number in range(MAX_HEADS + 3):
        box.dovecot.deliver(mail(str(number)), at=now - DAY / 2 - 1000 + number / 10)
    box.dovecot.deliver(mail("large") + b"x" * 3 * MAX_MAIL)
    with closing(box.reader()) as reader:
        first = reader.look(now - DAY)
        assert (len(first.mails), first.left) == (MAX_HEADS, 4)
        large = next(mail for mail in first.mails if b"<large@" in mail.head)
        assert len(reader.read(large.key)) == MAX_MAIL
        second = reader.look(now - DAY)
        assert (len(second.mails), second.left) == (4, 0)
        assert not {mail.key for mail in first.mails} & {mail.key for mail in second.mails}


def test_a_mailbox_without_the_folder_is_an_error(box: Box) -> None:
    """The message names the setting."""
    with closing(box.reader(inbox_folders=["Probes*"])) as reader:
        with pytest.raises(MailboxError, match=r"^\(folder\) .*matches mailbox.inbox_folders \(Probes\*\)"):
            reader.look(0.0)
        box.dovecot.deliver(mail(), "Probes-2026")
        assert [mail.kind for mail in reader.look(0.0).mails] == ["inbox"]


def imap_error(box: Box, **mailbox: object) -> str:
    """Return why the mailbox cannot be read with these settings."""
    with closing(box.reader(**mailbox)) as reader, pytest.raises(MailboxError) as refusal:
        reader.look(0.0)
    return str(refusal.value)


def test_the_login(server: Box) -> None:
    """By password under both kinds of TLS, and by a relay's token; a wrong one is named, without the password."""
    server.dovecot.deliver(mail())
    (server.folder / "demo.token").write_text(server.dovecot.token)
    starttls = {"tls": "starttls", "port": server.dovecot.starttls_port}
    token = {"token_of": "demo", "password_file": ""}
    for way in ({}, starttls, token):
        with closing(server.reader(**way)) as reader:
            assert len(reader.look(0.0).mails) == 1, way
    (server.folder / "password").write_text("wr0ng-M0ss")
    refused = imap_error(server)
    assert refused.startswith(
        "(login) the server refuses the login probe@receiver.test: [AUTHENTICATIONFAILED]"
    )
    assert "wr0ng" not in refused
    (server.folder / "demo.token").write_text("n0-token")
    assert "(login)" in imap_error(server, **token)


def test_a_certificate_that_is_not_valid(server: Box) -> None:
    """For another name, or of an unknown authority: no password is sent."""
    assert imap_error(server, host="127.0.0.1").startswith(
        "(tls) the certificate is not valid: IP address mismatch"
    )
    assert imap_error(server, ca_file="").startswith("(tls) the certificate is not valid: ")
    assert imap_error(server, ca_file="/no/ca").startswith("(host) mailbox.ca_file: /no/ca: No such file")
    assert "Login" not in server.dovecot.log


def test_a_dead_server(server: Box) -> None:
    """A connection that is refused or cut is an error, and the next look works again, without repeating mails."""
    server.dovecot.deliver(mail("first"))
    with closing(server.reader()) as reader:
        assert len(reader.look(0.0).mails) == 1
        server.dovecot.stop()
        for _ in range(2):
            with pytest.raises(MailboxError, match=r"^\(server\) "):
                reader.look(0.0)
        server.dovecot.start()
        server.dovecot.deliver(mail("second"))
        assert [b"<second@" in mail.head for mail in reader.look(0.0).mails] == [True]


def test_a_missing_password_file(server: Box) -> None:
    """The error names file and setting."""
    assert "(host) /no/file: mailbox.password_file: No such file" in imap_error(
        server, password_file="/no/file"
    )


@pytest.mark.parametrize(
    "answers",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"* OK hello\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" + b"* \xff garbage (((\r\n" * 50,
        b"* OK hello\r\n" + b"x" * 3_000_000,
        b"* BYE go away\r\n",
    ],
)
def test_a_server_that_is_none(tmp_path: Path, answers: bytes) -> None:
    """The error is one of the mailbox, not of its parser."""
    (tmp_path / "password").write_text("x")
    ca = CA()
    ca.write(tmp_path)
    with answering(ca, answers) as port:
        login = {"username": "x", "password_file": str(tmp_path / "password"), "ca_file": str(ca.path)}
        settings = settings_of(tmp_path, {"host": "localhost", "port": port, **login})
        reader = ImapReader(settings.mailbox, settings)
        with closing(reader), pytest.raises(MailboxError, match=r"^\((server|login)\) \S"):
            reader.look(0.0)


@contextmanager
def answering(ca: CA, answers: bytes) -> Iterator[int]:
    """A server that sends these bytes under TLS and ends; its port."""
    context = ca.server_context("localhost")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                with context.wrap_socket(client, server_side=True) as encrypted:
                    encrypted.sendall(answers)
                    encrypted.settimeout(1)
                    encrypted.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def test_no_link_of_a_maildir_is_followed(server: Box, tmp_path: Path) -> None:
    """Its owner cannot make root read or delete files elsewhere: mails, parts and folders that are links."""
    maildir, secret = server.dovecot.maildir, tmp_path / "secret"
    secret.write_bytes(mail("secret"))
    other = tmp_path / "other"
    for part in ("new", "cur"):
        (other / part).mkdir(parents=True)
    (other / "new" / "1.x.y").write_bytes(mail("other"))
    (maildir / "new" / "2.x.y").symlink_to(secret)
    (maildir / ".Junk2").symlink_to(other)
    os.mkfifo(maildir / "new" / "3.x.y")
    with closing(server._replace(kind="maildir").reader()) as reader:
        assert reader.look(0.0).mails == []
        (maildir / "new").rename(maildir / "former")
        (maildir / "new").symlink_to(other / "new")
        with pytest.raises(MailboxError, match=r"^\(folder\)"):
            reader.look(0.0)
        with pytest.raises(MailboxError):
            reader.delete([("INBOX", 0, "1.x.y")])
    assert (other / "new" / "1.x.y").exists()
    assert secret.exists()


def test_a_maildir_that_is_missing(tmp_path: Path) -> None:
    """The error names it."""
    reader = MaildirReader(settings_of(tmp_path, {"maildir": str(tmp_path / "none")}).mailbox)
    with pytest.raises(MailboxError, match=r"^\(host\) .*/none: No such file or directory"):
        reader.look(0.0)


@pytest.mark.parametrize(
    ("name", "is_junk", "kind"),
    [
        ("INBOX", False, "inbox"),
        ("inbox", False, "inbox"),
        ("INBOX.Spam", False, "spam"),
        ("[Gmail]/Spam", False, "spam"),
        ("Junk Email", False, "spam"),
        ("Unerwünscht", True, "spam"),
        ("Archive", False, None),
    ],
)
def test_kinds_of_folders(name: str, is_junk: bool, kind: str | None) -> None:
    """By the default patterns and the server's marks."""
    assert kind_of(name, Mailbox(), is_junk=is_junk) == kind

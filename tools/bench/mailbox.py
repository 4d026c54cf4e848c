"""Measure a look into a mailbox of 50,000 mails, and check that none of them was touched.

A real Dovecot has the mailbox. Printed are the seconds and the CPU time of this process for the first looks, for looks
that find nothing new, and for one that finds a probe. Run `python -m tools.bench.mailbox [mails]` as root in the
repository's root.
"""

import sys
import tempfile
import time
from pathlib import Path

from postward.agent.mailbox.access import Look, Reader
from postward.agent.mailbox.imap import ImapReader
from postward.agent.mailbox.maildir import MaildirReader
from postward.config.settings import parse_settings
from tests.support import CA
from tests.support.dovecot import Dovecot

_DAY = 86400.0


def _mail(number: int) -> bytes:
    return f"From: a@b.test\r\nMessage-ID: <{number}@b.test>\r\nSubject: {number}\r\n\r\n{'Hello. ' * 200}\r\n".encode()


def _reader(dovecot: Dovecot, folder: Path, kind: str) -> Reader:
    server = {
        "host": dovecot.host,
        "port": dovecot.port,
        "ca_file": str(folder / "ca.pem"),
        "username": dovecot.username,
        "password_file": str(folder / "password"),
    }
    settings = parse_settings(
        {
            "host": {"myhostname": "mail.example.test"},
            "relay": [{"name": "demo", "host": "r.test", "tls": "starttls"}],
            "probe": {"recipient": "probe@receiver.test", "key_file": str(folder / "probe.key")},
            "mailbox": {"maildir": str(dovecot.maildir)} if kind == "maildir" else server,
        },
        "postward.toml",
    )
    account = settings.mailbox
    return MaildirReader(account) if kind == "maildir" else ImapReader(account, settings)


def _timed(what: str, reader: Reader, since: float) -> Look:
    wall, cpu = time.perf_counter(), time.process_time()
    look = reader.look(since)
    print(  # noqa: T201 - figures are for the terminal
        f"  {what:24} {time.perf_counter() - wall:8.3f} s   CPU {time.process_time() - cpu:7.3f} s   "
        f"{len(look.mails):6} mails, {look.left:6} left"
    )
    return look


def main() -> None:
    """Fill the mailbox, and look."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    ca = CA()
    with tempfile.TemporaryDirectory() as name, Dovecot(ca) as dovecot:
        folder = Path(name)
        ca.write(folder)
        (folder / "password").write_text(dovecot.password)
        now = time.time()
        for count in range(number):  # a year, and the last five days among them
            dovecot.deliver(_mail(count), at=now - 365 * _DAY * (1 - count / number))
        before = dovecot.files()
        for kind in ("maildir", "imap", "imap"):
            print(f"{kind}, {number:,} mails")  # noqa: T201
            reader = _reader(dovecot, folder, kind)
            look = _timed("first look", reader, now - 5 * _DAY)
            while look.left:
                look = _timed("goes on", reader, now - 5 * _DAY)
            _timed("nothing new", reader, now - 5 * _DAY)
            probe = dovecot.deliver(_mail(-1))
            look = _timed("one new mail", reader, now - 5 * _DAY)
            reader.delete([mail.key for mail in look.mails])
            reader.close()
            left = dovecot.files()
            assert probe not in left
            assert left.keys() == before.keys()
            assert set(left.values()) == {""}
        print("no mail was touched")  # noqa: T201


if __name__ == "__main__":
    main()

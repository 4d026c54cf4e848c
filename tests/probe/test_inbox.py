"""Probes in a mailbox: what arrives is recognised, reported and deleted, and all other mail is left alone."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from postward.agent.mailbox.access import Key, Look, MailboxError
from postward.agent.probe.inbox import MailboxClient
from postward.agent.probe.message import message_id_of, new_identifier, probe_message
from postward.agent.probe.result import Arrival, ProbeResult
from postward.agent.probe.route import Route
from postward.agent.probe.tracker import Limits, ProbeTracker
from postward.config.settings import Settings, parse_settings
from postward.parsers.dsn import Recipient
from tests.parsers.test_dsn import mail

KEY = b"0123456789abcdef0123456789abcdef"
ROUTE = Route("demo", "postward@example.test", recipient="probe@receiver.test")
STAMPS = (
    b"Authentication-Results: mx.receiver.test; spf=pass; dkim=fail\r\n"
    b"Received: from relay by mx.receiver.test; Mon, 30 Nov 2026 01:00:00 +0000\r\n"
    b"Received: by mail.example.test (Postfix); Mon, 30 Nov 2026 00:59:58 +0000\r\n"
)


class Inbox:
    """A Maildir, its client, and a tracker that records its arrivals."""

    def __init__(self, folder: Path) -> None:
        self.maildir = folder / "Maildir"
        for name in (".", ".Junk"):
            for part in ("new", "cur", "tmp"):
                (self.maildir / name / part).mkdir(parents=True)
        (folder / "probe.key").write_bytes(KEY)
        self.settings: Settings = parse_settings(
            {
                "host": {"myhostname": "mail.example.test"},
                "relay": [{"name": "demo", "host": "r.test", "tls": "starttls"}],
                "probe": {"recipient": "probe@receiver.test", "key_file": str(folder / "probe.key")},
                "mailbox": {"maildir": str(self.maildir), "authserv_id": "mx.receiver.test"},
            },
            "postward.toml",
        )
        self.client = MailboxClient(self.settings)
        self.tracker = ProbeTracker(limits=Limits(60, 3600))
        self.arrivals: dict[str, Arrival] = {}
        self.tracker.arrived = self.arrivals.__setitem__  # type: ignore[assignment, method-assign]
        self.waiting: list[str] = []
        self.tracker.awaiting_arrival = lambda: self.waiting  # type: ignore[method-assign]
        self.number = 0

    def probe(self, *, made: float | None = None, follow: bool = True, key: bytes = KEY) -> bytes:
        """Return a new probe, which is followed."""
        self.number += 1
        made = time.time() if made is None else made
        identifier = new_identifier(made, self.number.to_bytes(8), key)
        if follow:
            self.waiting.append(message_id_of(identifier, "mail.example.test"))
        return probe_message(self.settings, ROUTE, identifier, key).as_bytes(policy=SMTP)

    def put(self, data: bytes, folder: str = ".") -> Path:
        """Deliver a mail."""
        self.number += 1
        path = self.maildir / folder / "new" / f"{int(time.time())}.{self.number}.x"
        path.write_bytes(data)
        return path

    async def look(self) -> str | None:
        """Look now, whatever the pause."""
        self.client._looked_at = float("-inf")
        return await self.client.update(self.tracker)

    def left(self) -> set[str]:
        """Return the names of all mails."""
        return {path.name for path in self.maildir.glob("**/new/*")}


def in_loop(test: Callable[[Inbox], Any]) -> Callable[[Path], None]:
    """Run a test with an inbox in an event loop."""

    def run(tmp_path: Path) -> None:
        inbox = Inbox(tmp_path)
        with closing(inbox.client):
            asyncio.run(test(inbox))

    run.__doc__ = test.__doc__
    return run


@in_loop
async def test_arrivals(inbox: Inbox) -> None:
    """Folder, verdicts and changed parts; a second copy; a rewritten Message-ID; a time."""
    plain, spam, changed, twice, renamed = (STAMPS + inbox.probe() for _ in range(5))
    ids = list(inbox.waiting)
    inbox.put(plain)
    inbox.put(spam, ".Junk")
    inbox.put(changed.replace(b"Subject: ", b"Subject: [EXTERNAL] "))
    inbox.put(twice)
    inbox.put(twice)
    inbox.put(renamed.replace(b"Message-ID: <", b"Message-ID: <0100.other"))
    assert await inbox.look() is None
    found = [inbox.arrivals[message_id] for message_id in ids]
    assert [arrival.folder for arrival in found] == ["inbox", "spam", "inbox", "inbox", "inbox"]
    assert {arrival.verdicts for arrival in found} == {(("spf", "pass"), ("dkim", "fail"))}
    assert [arrival.altered for arrival in found] == [(), (), ("subject",), (), ("message-id",)]
    assert [len(arrival.at) for arrival in found] == [1, 1, 1, 2, 1]
    assert abs(found[0].at[0] - time.time()) < 60


@in_loop
async def test_only_finished_probes_are_deleted(inbox: Inbox) -> None:
    """Strangers' mails, probes of other keys and other hosts stay; own ones go when their probe has ended."""
    stranger = inbox.put(b"Subject: postward-probe\r\nX-Postward-Probe: 1.2.3\r\n\r\nhello")
    forged = inbox.put(inbox.probe(follow=False, key=b"another key of another fleet"))
    fleet = inbox.put(inbox.probe(follow=False))
    inbox.put(inbox.probe(follow=False, made=time.time() - 6 * 86400))  # its host has given it up
    own = inbox.put(inbox.probe())
    assert await inbox.look() is None
    assert inbox.left() == {path.name for path in (stranger, forged, fleet, own)}
    inbox.waiting.clear()
    assert await inbox.look() is None
    assert inbox.left() == {path.name for path in (stranger, forged, fleet)}


@in_loop
async def test_a_moved_mail_is_one_copy(inbox: Inbox) -> None:
    """A filter moves it to the folder for spam after it was seen in the inbox."""
    path = inbox.put(inbox.probe())
    await inbox.look()
    path.rename(inbox.maildir / ".Junk" / "new" / path.name)
    await inbox.look()
    (arrival,) = inbox.arrivals.values()
    assert (arrival.folder, len(arrival.at)) == ("spam", 1)


@in_loop
async def test_a_restart_forgets_no_copy(inbox: Inbox) -> None:
    """The mailbox is the memory: another client finds both copies."""
    data = inbox.probe()
    inbox.put(data)
    await inbox.look()
    inbox.put(data)
    inbox.client.close()
    inbox.client = MailboxClient(inbox.settings)
    await inbox.look()
    (arrival,) = inbox.arrivals.values()
    assert len(arrival.at) == 2


def notification(message_id: str, action: str = "failed") -> bytes:
    """Return a notification about a mail, to the sender of the probes."""
    data = mail("postfix").replace(b"<postfix@mail.example.com>", message_id.encode())
    return data.replace(b"Action: failed", b"Action: " + action.encode())


@in_loop
async def test_a_notification_returns_a_probe(inbox: Inbox) -> None:
    """Only a followed probe, and only by a failure; the notification stays."""
    inbox.probe()
    inbox.probe()
    inbox.probe(follow=False)
    returned, delayed = inbox.waiting
    found: dict[str, str] = {}

    def take(message_id: str, recipient: Recipient) -> bool:
        found[message_id] = recipient.status
        return True

    inbox.tracker.returned = take  # type: ignore[method-assign]
    kept = [inbox.put(notification(returned)), inbox.put(notification(delayed, "delayed"))]
    kept.append(inbox.put(notification("<stranger@example.net>")))
    assert await inbox.look() is None
    assert found == {returned: "5.1.1"}
    inbox.waiting.clear()
    assert await inbox.look() is None
    assert inbox.left() == {path.name for path in kept}


@in_loop
async def test_a_command_deletes_what_it_has_read(inbox: Inbox) -> None:
    """At its end, although the probe is still followed."""
    inbox.put(inbox.probe())
    await inbox.look()
    await inbox.client.clean()
    assert inbox.left() == set()


class Broken:
    """A reader that fails, and counts how often it is asked."""

    def __init__(self, error: MailboxError) -> None:
        self.error = error
        self.looks = 0

    def look(self, since: float) -> Look:
        """Fail."""
        self.looks += 1
        raise self.error

    def read(self, key: Key) -> bytes:
        """Return nothing."""
        return b""

    def present(self, keys: Any) -> set[Key]:
        """Return nothing."""
        return set()

    def delete(self, keys: Any) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(("fault", "first", "last"), [("login", 60.0, 900.0), ("server", 5.0, 300.0)])
def test_a_failing_mailbox_is_asked_with_back_off(
    tmp_path: Path, fault: Any, first: float, last: float
) -> None:
    """The first pause, and the longest; the tracker knows that it is blind."""
    inbox = Inbox(tmp_path)
    broken = Broken(MailboxError(fault, "no"))
    inbox.client = MailboxClient(inbox.settings, broken)
    inbox.probe()

    async def fail() -> None:
        assert await inbox.client.update(inbox.tracker) == f"{inbox.maildir}: ({fault}) no"
        assert inbox.tracker.blind == f"{inbox.maildir}: ({fault}) no"
        assert inbox.client._pause(inbox.waiting) == first
        await inbox.client.update(inbox.tracker)
        assert broken.looks == 1, "not asked again before the pause has passed"
        for _ in range(12):
            await inbox.look()
        assert inbox.client._pause(inbox.waiting) == last

    with closing(inbox.client):
        asyncio.run(fail())


def test_nothing_is_asked_while_no_probe_is_followed(tmp_path: Path) -> None:
    """No connection, no thread."""
    inbox = Inbox(tmp_path)
    broken = Broken(MailboxError("server", "no"))
    inbox.client = MailboxClient(inbox.settings, broken)
    assert asyncio.run(inbox.look()) is None
    assert broken.looks == 0
    assert inbox.client._thread._threads is None


def test_the_pause_grows_with_the_age_of_the_probe(tmp_path: Path) -> None:
    """From one second to half a minute; a new probe is looked for at once."""
    inbox = Inbox(tmp_path)
    now = time.time()

    def pause_at(age: float) -> float:
        inbox.probe(made=now - age)
        return inbox.client._pause([inbox.waiting[-1][1:].partition(".postward")[0]])

    assert pause_at(0) == 1.0
    assert pause_at(100) == pytest.approx(10.0, abs=1)
    assert pause_at(3000) == 30.0


def test_a_probe_is_accepted_while_the_mailbox_cannot_be_read(tmp_path: Path) -> None:
    """Neither late nor lost is claimed; the result says that its arrival is not known."""
    results: list[ProbeResult] = []
    now = [1_800_000_000.0]
    tracker = ProbeTracker(lambda: now[0], Limits(60, 3600), results.append, results.append)

    async def follow() -> None:
        tracker.expect("<1.postward-probe@x>", ROUTE, arrives=True)
        pending = tracker._by_message_id["<1.postward-probe@x>"]
        pending.handed = pending.relayed = True
        pending.reach("accepted", now[0] + 2, "250 ok")
        tracker.blind = "imap.test: (server) no"
        for age in (61, 3601):
            now[0] = 1_800_000_000.0 + age
            tracker.tick()

    asyncio.run(follow())
    assert [(result.outcome, result.step, result.unseen) for result in results] == [
        ("accepted", "", "imap.test: (server) no")
    ]

"""The notifications of a mailbox: each once, whatever the mailbox and the agent do."""

from collections.abc import Iterable

import pytest

from postward.agent.bounces import inbox as module
from postward.agent.bounces.inbox import BounceInbox
from postward.agent.mailbox.access import Key, Look, Mail, MailboxError
from tests.parsers.test_dsn import head, mail

NOW = 1_800_000_000.0
DAY = 86400.0


class Folder:
    """A mailbox in memory. It returns all mails again after `forget`, as after a restart."""

    def __init__(self) -> None:
        self.mails: dict[Key, tuple[float, bytes]] = {}
        self.reads: list[Key] = []
        self.fails = False
        self._seen: set[Key] = set()

    def put(self, data: bytes, at: float, folder: str = "INBOX") -> None:
        """Deliver a mail."""
        self.mails[folder, 1, len(self.mails) + 1] = (at, data)

    def forget(self) -> None:
        """Forget which mails were seen."""
        self._seen.clear()

    def look(self, since: float) -> Look:
        """Return the mails of the whole days since a time, as IMAP does."""
        day = since // DAY * DAY
        new = {key: mail for key, mail in self.mails.items() if key not in self._seen and mail[0] >= day}
        self._seen |= new.keys()
        return Look([Mail(key, "inbox", at, head(data)) for key, (at, data) in new.items()])

    def read(self, key: Key) -> bytes:
        """Return a mail, or fail."""
        self.reads.append(key)
        if self.fails:
            raise MailboxError("server", "no")
        return self.mails[key][1]

    def present(self, keys: Iterable[Key]) -> set[Key]:
        """Never needed."""
        raise AssertionError

    def delete(self, keys: Iterable[Key]) -> None:
        """Never allowed."""
        raise AssertionError

    def close(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""


def take(inbox: BounceInbox, now: float = NOW) -> int:
    """Return the number of notifications that a look adds."""
    return sum(inbox.note(one) and one.dsn is not None for one in inbox.look(now))


def unique(number: int, name: str = "postfix") -> bytes:
    """Return a notification with a Message-ID of its own."""
    return mail(name).replace(b"cc9999", b"x%d" % number)


def test_only_new_notifications_are_read() -> None:
    """Neither mail from before the first look, nor bodies of other mail."""
    folder = Folder()
    folder.put(unique(1), NOW - 1)
    folder.put(mail("not-a-persons-mail"), NOW)
    folder.put(unique(2), NOW)
    inbox = BounceInbox(folder, NOW)
    assert take(inbox) == 1
    assert len(folder.reads) == 1


def test_none_counts_twice() -> None:
    """After a restart, in another folder, renumbered, and without a Message-ID, as qmail writes them."""
    folder = Folder()
    folder.put(unique(1), NOW)
    folder.put(mail("qmail"), NOW + 5)
    inbox = BounceInbox(folder, NOW)
    assert take(inbox, NOW + 9) == 2
    folder.put(unique(1), NOW + 20, "Archive")
    folder.put(mail("qmail"), NOW + 20, "Archive")
    folder.forget()
    again = BounceInbox(folder, NOW + DAY)
    again.restore(inbox.state())
    assert take(again, NOW + 30) == 0
    folder.put(unique(2), NOW + 40)
    assert take(again, NOW + 50) == 1


def test_what_is_remembered_is_bounded_and_a_flood_counts_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten, and with them all that is as old."""
    monkeypatch.setattr(module, "_MAX_KNOWN", 50)
    folder = Folder()
    inbox = BounceInbox(folder, NOW)
    total = 0
    for number in range(200):
        folder.put(unique(number), NOW + number)
        total += take(inbox, NOW + number)
    assert total == 200
    assert len(inbox.state()["known"]) <= 50
    folder.forget()
    assert take(inbox, NOW + 300) == 0


def test_a_day_without_a_look_loses_none_and_old_ones_are_forgotten() -> None:
    """The window follows the newest notification."""
    folder = Folder()
    inbox = BounceInbox(folder, NOW)
    folder.put(unique(1), NOW + 10)
    assert take(inbox, NOW + 10) == 1
    folder.put(unique(2), NOW + 5 * DAY)
    assert take(inbox, NOW + 5 * DAY) == 1
    assert len(inbox.state()["known"]) == 1


def test_a_mail_that_cannot_be_read_is_tried_again_and_then_left_out() -> None:
    """The error is raised; others are not lost."""
    folder = Folder()
    folder.put(unique(1), NOW)
    folder.put(unique(2), NOW)
    inbox = BounceInbox(folder, NOW)
    folder.fails = True
    with pytest.raises(MailboxError):
        inbox.look(NOW)
    folder.fails = False
    assert take(inbox) == 2
    folder.put(unique(3), NOW)
    folder.fails = True
    for _ in range(3):
        with pytest.raises(MailboxError):
            inbox.look(NOW)
    folder.fails = False
    assert take(inbox) == 0


@pytest.mark.parametrize("state", [{"floor": -1.0}, {"known": {"a": "b"}}, {"known": {"a": 1e300}}])
def test_state_of_another_form_is_refused(state: dict[str, object]) -> None:
    """A damaged checkpoint is an error that the part reports."""
    with pytest.raises(ValueError, match=r"floor|known"):
        BounceInbox(Folder(), NOW).restore(state)

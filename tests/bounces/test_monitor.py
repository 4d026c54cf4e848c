"""Which mail came back: joined, counted by cause, and reported while it is the relay's or the sender's fault."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from postward.agent.bounces import sent as module
from postward.agent.bounces.monitor import METRIC, BounceMonitor
from postward.agent.bounces.sent import SentMail
from postward.agent.metrics.deliveries import Counting
from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.tally import Tally
from postward.agent.pipeline import Pipeline
from postward.agent.text import local_now
from postward.config.settings import Settings, parse_settings
from postward.parsers.dsn import Recipient
from tests.bounces.test_inbox import NOW, Folder
from tests.parsers.test_dsn import mail

PROBE = "<19a.0011223344556677.postward-probe@mail.example.test>"


def settings() -> Settings:
    """Return settings with two relays and a mailbox of bounces."""
    relays = [
        {"name": "demo", "host": "relay.test"},
        {"name": "second", "host": "b.test", "senders": ["@b.test"]},
    ]
    raw: dict[str, Any] = {
        "host": {"myhostname": "mail.example.test"},
        "relay": relays,
        "bounces": {"maildir": "/nowhere"},
    }
    return parse_settings(raw, "postward.toml")


class Run:
    """A monitor with a log and a mailbox."""

    def __init__(self, state: dict[str, Any] | None = None, folder: Folder | None = None) -> None:
        self.folder = folder or Folder()
        self.tally = Tally()
        self.now = NOW
        self.probes: list[tuple[str, Recipient]] = []
        names = RelayNames.of_settings(settings())
        self.monitor = BounceMonitor(
            settings(),
            names,
            self.tally,
            lambda message_id, recipient: self.probes.append((message_id, recipient)),
            self._read_log,
            self.folder,
            lambda: self.now,
        )
        self.monitor.restore(state or {})
        self.pipeline = Pipeline(Counting(Tally(), names, local_now), [self.monitor])

    async def _read_log(self) -> None:
        return None

    def sends(self, message_id: str, relay: str = "relay.test", queue_id: str = "4gB0aa1234z9t") -> None:
        """Log a mail that a relay accepts."""
        peer = f"relay={relay}[192.0.2.1]:587, delay=1, delays=0/0/0/1, dsn=2.0.0"
        lines = (
            f"postfix/cleanup[1]: {queue_id}: message-id={message_id}",
            f"postfix/smtp[2]: {queue_id}: to=<a@example.net>, {peer}, status=sent (250 2.0.0 Ok)",
            f"postfix/qmgr[3]: {queue_id}: removed",
        )
        self.pipeline.feed("".join(f"Nov 30 07:00:00 mx {line}\n" for line in lines).encode())

    def look(self) -> None:
        """Look into the mailbox."""
        asyncio.run(self.monitor.look())

    def counts(self) -> dict[tuple[str, ...], float]:
        """Return the series that are not zero."""
        return {labels: number for labels, number in self.tally.counters[METRIC].items() if number}


def returned(message_id: str, status: str, diagnostic: str, number: int = 0) -> bytes:
    """Return a notification about a mail."""
    data = mail("postfix").replace(b"cc9999", b"y%d" % number)
    start, _, rest = data.partition(b"Diagnostic-Code: ")
    rest = rest.partition(b"\n\n")[2]
    data = start + b"Diagnostic-Code: smtp; " + diagnostic.encode() + b"\n\n" + rest
    data = data.replace(b"Status: 5.1.1", b"Status: " + status.encode())
    return data.replace(b"<postfix@mail.example.com>", message_id.encode())


def test_a_mail_is_joined_to_its_relay() -> None:
    """Also after a restart; without the log's line, the relay is `other`."""
    run = Run()
    run.sends("<1@example.test>")
    run.sends("<2@example.test>", "b.test", "4gB0aa1234z9v")
    run.sends("<3@example.test>", "filter.test", "4gB0aa1234z9w")
    run = Run(dict(run.monitor.state()), run.folder)
    for number in (1, 2, 3):
        run.folder.put(returned(f"<{number}@example.test>", "5.1.1", "550 no such user", number), NOW)
    run.look()
    assert run.counts() == {
        (relay, "failed", "recipient_rejected"): 1.0 for relay in ("demo", "second", "other")
    }


def test_delays_and_successes_are_counted_apart() -> None:
    """By action; a success has no cause."""
    run = Run()
    for name in ("postfix", "postfix-delayed", "postfix-delivered"):
        run.sends(f"<{name}@mail.example.com>")
        run.folder.put(mail(name), NOW)
    run.look()
    assert run.counts() == {
        ("demo", "failed", "recipient_rejected"): 1.0,
        ("demo", "delayed", "refused"): 1.0,
        ("demo", "relayed", ""): 1.0,
    }


def test_a_probe_goes_to_the_probes() -> None:
    """It is not counted as users' mail."""
    run = Run()
    run.folder.put(returned(PROBE, "5.7.1", "550 5.7.1 DMARC"), NOW)
    run.look()
    assert [(message_id, one.status) for message_id, one in run.probes] == [(PROBE, "5.7.1")]
    assert run.counts() == {}


def test_an_incident_needs_several_mails_and_a_fault_that_is_not_the_mails_own() -> None:
    """Wrong addresses and strangers' notifications are none; addresses are masked; it ends after some hours."""
    run = Run()
    for number in range(1, 7):
        run.sends(f"<{number}@example.test>")
    for number in range(1, 4):
        run.folder.put(returned(f"<{number}@example.test>", "5.1.1", "550 5.1.1 no such user", number), NOW)
        run.folder.put(
            returned(f"<other{number}@x.test>", "5.7.1", "550 5.7.1 DMARC policy", 10 + number), NOW
        )
    run.folder.put(returned("<4@example.test>", "5.7.1", "550 5.7.1 DMARC policy", 4), NOW)
    run.folder.put(returned("<5@example.test>", "5.7.1", "550 5.7.1 DMARC policy", 5), NOW)
    run.look()
    assert run.monitor.conditions() == {"bounces-unreadable": None, "mail-returned": None}
    run.folder.put(returned("<6@example.test>", "5.7.1", "550 5.7.1 bob@example.net: DMARC policy", 6), NOW)
    run.look()
    text = "relay demo returned mail to 3 recipients in the last 6 hours, lately (policy): 550 5.7.1 …@example.net: DMARC policy"
    assert run.monitor.conditions()["mail-returned"] == text
    again = Run(dict(run.monitor.state()))
    assert again.monitor.conditions()["mail-returned"] == text
    again.now += 6 * 3600 + 1
    assert again.monitor.conditions()["mail-returned"] is None


def test_a_mailbox_that_cannot_be_read() -> None:
    """It is a condition with its reason, until the mailbox answers."""
    run = Run()
    run.sends("<1@example.test>")
    run.folder.put(returned("<1@example.test>", "5.1.1", "550 no such user"), NOW)
    run.folder.fails = True
    run.look()
    assert run.monitor.conditions()["bounces-unreadable"] == "/nowhere: (server) no"
    assert run.monitor.gauges() == {"postward_bounces_readable": {(): 0.0}}
    run.folder.fails = False
    run.look()
    assert run.monitor.conditions()["bounces-unreadable"] is None
    assert sum(run.counts().values()) == 1


def test_what_is_remembered_of_sent_mail_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stay."""
    monkeypatch.setattr(module, "MAX_SENT", 10)
    monkeypatch.setattr(module, "_MAX_IN_FLIGHT", 10)
    sent = SentMail(RelayNames.of_settings(settings()))
    for number in range(100):
        sent.identified([(f"Q{number}", f"<{number}@x>")])
        sent.delivered([("postfix", "relay.test[192.0.2.1]:587", "sent", "250 ok", f"Q{number}")])
    assert sent.relay_of(("<99@x>",)) == ("demo", "<99@x>")
    assert sent.relay_of(("<1@x>",)) == ("other", "")
    state = sent.state()
    assert len(state["in_flight"]) == len(state["sent"]["demo"]) == 10


def test_an_error_of_the_reader_ends_no_part(tmp_path: Path) -> None:
    """A Maildir that is missing is reported."""
    raw = settings().model_dump(exclude_unset=True) | {"bounces": {"maildir": str(tmp_path / "none")}}
    given = parse_settings(raw, "postward.toml")

    async def read_log() -> None:
        return None

    names = RelayNames.of_settings(given)
    monitor = BounceMonitor(given, names, Tally(), lambda *_: None, read_log)
    asyncio.run(monitor.look())
    assert "No such file" in (monitor.conditions()["bounces-unreadable"] or "")

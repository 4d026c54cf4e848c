"""The sink: each arrival is recorded and counted once, also across restarts; other mail is refused."""

import asyncio
import json
import smtplib
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import pytest

from postward.agent.metrics.tally import Tally
from postward.agent.probe.arrivals import parse_answer
from postward.agent.probe.message import (
    SEALED,
    altered_parts,
    message_id_of,
    new_identifier,
    probe_message,
    signed_at,
)
from postward.agent.probe.route import Route
from postward.agent.sink.server import Arrivals, create_smtp_server
from postward.config.settings import Settings, load_settings
from tests.support import CA, PostfixInstance, Relay, require_postfix, wait_for
from tests.support.postfix import free_port
from tests.support.product import POSTWARD, AgentProcess, write_settings

KEY = b"0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0
PASSWORD = "s3cret-Gr33n-Fern"
ROUTE = Route("demo", "postward@example.test", recipient="probe@sink.test")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a host of the fleet."""
    path = tmp_path / "postward.toml"
    path.write_text(
        '[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "r.test"\ntls = "starttls"\n'
        '[probe]\nrecipient = "probe@sink.test"\n'
    )
    return load_settings(path)


def probe(settings: Settings, key: bytes = KEY, made: float = NOW) -> tuple[str, bytes]:
    """Return a probe's identifier and the mail."""
    identifier = new_identifier(made, b"8 bytes!", key)
    message = probe_message(settings, ROUTE, identifier, key)
    return identifier, message.as_bytes(policy=SMTP)


def test_a_changed_part_is_named(settings: Settings) -> None:
    """Changes that relays may make do not count; each other one names its part."""
    identifier, data = probe(settings)
    printable = b"Received: from a by b\r\n" + data.replace(b"Subject: ", b"Subject:\r\n ").replace(
        b"\r\n", b"\n"
    )
    assert altered_parts(message_from_bytes(printable), identifier, KEY) == ()
    changes = {
        "subject": (b"Subject: Postward", b"Subject: [EXTERNAL] Postward"),
        "body": (b"It can be deleted.", b"It can be deleted. -- Scanned by X"),
        "from": (b"From: postward@example.test", b"From: other@example.test"),
        "to": (b"To: probe@sink.test", b"To: other@sink.test"),
        "message-id": (b".postward-probe@mx", b".postward-probe@other"),
    }
    for part, (before, after) in changes.items():
        assert before in data
        assert altered_parts(message_from_bytes(data.replace(before, after)), identifier, KEY) == (part,)
    assert set(changes) == set(SEALED)
    stripped = data.replace(b"X-Postward-Seal", b"X-Other")
    assert altered_parts(message_from_bytes(stripped), identifier, KEY) == ("seal",)


def test_only_probes_of_the_fleet_are_accepted(settings: Settings) -> None:
    """Another key, no signature, too old, from the future, other mail: refused, counted, not remembered."""
    arrivals = Arrivals(KEY, Tally(), lambda: NOW)
    unsigned = message_id_of(new_identifier(NOW, b"8 bytes!", None), "mx.test")
    others = [
        probe(settings, b"another key of another fleet")[1],
        probe(settings, made=NOW - 2 * 86400)[1],
        probe(settings, made=NOW + 3600)[1],
        f"Message-ID: {unsigned}\r\n\r\n".encode(),
        b"Subject: buy\r\n\r\nnow",
        b"",
        b"\xff\x00" * 100,
    ]
    for data in others:
        assert arrivals.take(data) == "not a probe of this fleet"
    assert arrivals.remembered == 0
    assert arrivals._tally.counters["postward_sink_mails_total"][("refused",)] == len(others)
    identifier, data = probe(settings)
    assert arrivals.take(data) is None
    assert signed_at(identifier, KEY) == NOW
    assert signed_at(identifier.replace(identifier[-1], "0" if identifier[-1] != "0" else "1"), KEY) is None


def test_the_memory_is_bounded(settings: Settings) -> None:
    """Many probes, and many copies of one."""
    arrivals = Arrivals(KEY, Tally(), lambda: NOW, max_remembered=50)
    for number in range(200):
        identifier = new_identifier(NOW, number.to_bytes(8), KEY)
        message = probe_message(settings, ROUTE, identifier, KEY)
        for _ in range(20 if number == 199 else 1):
            arrivals.take(message.as_bytes())
    answer = json.dumps(arrivals.of([message["Message-ID"], "<x>", 7, None])).encode()
    ((_, arrival),) = parse_answer(answer)

    assert arrivals.remembered == 50
    assert len(arrival.at) == 10


def test_connections_are_limited() -> None:
    """One more than the limit is greeted, and the oldest gives way."""

    async def greetings() -> list[bytes]:
        server = await create_smtp_server(
            Arrivals(KEY, Tally()), "127.0.0.1", 0, domain="", hostname="mx", max_connections=1
        )
        port = server.sockets[0].getsockname()[1]
        lines, pairs = [], []
        for _ in range(3):
            pairs.append(await asyncio.open_connection("127.0.0.1", port))
            lines.append(await pairs[-1][0].readline())
        lines += [await reader.read() for reader, _ in pairs[:2]]
        for _, writer in pairs:
            writer.close()
        server.close()
        return lines

    assert asyncio.run(greetings()) == [*[b"220 mx Postward sink\r\n"] * 3, b"", b""]


@dataclass
class Sink:
    """A running sink."""

    smtp: int
    web: int

    @property
    def url(self) -> str:
        """The URL that agents ask."""
        return f"http://127.0.0.1:{self.web}"

    def receive(self, data: bytes, recipient: str = "probe@relay.test") -> None:
        """Send it a mail, as a relay does."""
        with smtplib.SMTP("127.0.0.1", self.smtp, timeout=10) as client:
            client.sendmail("postward@example.test", [recipient], data)

    def get(self, path: str, data: bytes | None = None) -> tuple[int, str]:
        """Return status and body of an answer; status 0 without one."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", data, timeout=10) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""
        except OSError:
            return 0, ""


@contextmanager
def running_sink(folder: Path) -> Iterator[Sink]:
    """Run `postward sink` as a process."""
    key = folder / "probe.key"
    key.write_bytes(KEY)
    sink = Sink(free_port(), free_port())
    addresses = ["--listen", f"127.0.0.1:{sink.smtp}", "--web", f"127.0.0.1:{sink.web}"]
    process = subprocess.Popen(
        [POSTWARD, "sink", "--key-file", str(key), *addresses, "--domain", "relay.test"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: sink.get("/-/ready")[0] == 200, what="the sink")
        yield sink
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_bad_mail_and_bad_questions_are_refused(tmp_path: Path) -> None:
    """Other mail and other domains are refused; bad questions get an error status; the sink goes on."""
    with running_sink(tmp_path) as sink:
        with pytest.raises(smtplib.SMTPDataError, match="not a probe of this fleet"):
            sink.receive(b"Subject: buy\r\n\r\nnow\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            sink.receive(b"x", "probe@elsewhere.test")
        with pytest.raises(smtplib.SMTPSenderRefused, match="exceeds"):
            sink.receive(b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" * 70000)
        assert sink.get("/arrivals", b"{broken")[0] == 400
        assert sink.get("/arrivals", b"[" * 100000)[0] in {400, 413}
        assert sink.get("/arrivals", json.dumps(["<x>"] * 501).encode())[0] == 400
        assert sink.get("/arrivals", b"x" * 1_000_000)[0] == 413
        assert sink.get("/arrivals", b'["<x>", 7]') == (200, "{}")
        assert 'postward_sink_mails_total{outcome="refused"} 1.0' in sink.get("/metrics")[1]


def test_each_outcome_is_counted_once_across_a_restart(tmp_path: Path) -> None:
    """Mail is delayed, dropped, doubled and changed behind the relay, and the agent restarts in between."""
    require_postfix()
    with (
        running_sink(tmp_path) as sink,
        Relay(CA(), "relay.example.test", users={"API_USER": PASSWORD}) as relay,
        PostfixInstance(tmp_path / "postfix") as postfix,
    ):
        settings_file = write_settings(tmp_path, relay, postfix, password=PASSWORD)
        more = (
            f'timeout_seconds = 4\nlost_after_seconds = 8\nsink_url = "{sink.url}"\nkey_file = "{tmp_path / "probe.key"}"\n'
            'senders = ["late@example.test", "lost@example.test", "twice@example.test", "changed@example.test"]'
        )
        text = settings_file.read_text().replace("timeout_seconds = 10", more)
        settings_file.write_text(text)
        with AgentProcess(settings_file, "--enforce") as agent:
            wait_for(lambda: len(relay.messages) == 5, what="the probes of all senders")
            mails = {mail.mail_from.partition("@")[0]: mail.data for mail in relay.messages}
            agent.stop()
            sink.receive(mails["postward"])
            sink.receive(mails["twice"])
            sink.receive(mails["twice"])
            sink.receive(mails["changed"].replace(b"Subject: ", b"Subject: [SPAM] "))
            agent.start()
            wait_for(lambda: "probe late" in agent.output(), what="a late verdict", timeout=15)
            sink.receive(mails["late"])
            expected = {"arrived": 1, "late": 1, "lost": 1, "duplicate": 1, "altered": 1}

            def counted() -> dict[str, float]:
                return {
                    outcome: agent.value("postward_probes_total", outcome=outcome, relay="demo")
                    for outcome in expected
                }

            wait_for(lambda: counted() == expected, timeout=20, what="each outcome, once")
            agent.stop()
            agent.start()
            assert counted() == expected
            assert agent.value("postward_probes_total", outcome="lost", step="arrival") == 1
            assert agent.value("postfix_deliveries_total", relay="demo") == 0, (
                "probes are not counted as mail"
            )
            assert agent.value("postfix_messages_received_total") == 0
        assert len(relay.messages) >= 5

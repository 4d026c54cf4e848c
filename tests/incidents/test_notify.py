"""Who is told of incidents, and how: real HTTP on loopback, a real datagram for the journal."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from postward.agent.incidents import notify
from postward.agent.incidents.diagnosis import diagnose, to_dict
from postward.agent.incidents.model import Incident
from postward.agent.incidents.notify import TEMPLATES, Notifier, Request, host_of
from postward.agent.incidents.symptom import Effect
from postward.agent.systemd import JournalFields, datagram
from postward.config.sections import Notify
from tests.support import Fault, require_postfix, wait_for
from tests.support.waiting import wait_for_async
from tools.incidents.pairs import bed

SECRET = "s3cret-T0pic"


def shown(effect: Effect = Effect.DELAYED, symptom: str = "login-refused") -> dict[str, Any]:
    """An incident as it is told."""
    incident = Incident(
        symptom, "postfix", "sendcloud", "sendcloud", "smtp", "auth_rejected", effect, 1.0, 2.0, 3
    )
    return to_dict(incident, diagnose(incident))


@contextmanager
def hook(statuses: list[int]) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A web hook that answers with these statuses, then 200; its address, and what it got."""
    got: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            got.append((f"{self.command} {self.path}", dict(self.headers), body))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST = _answer  # noqa: N815 - http.server calls them so

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(settings: Notify, *told: tuple[str, dict[str, Any]], until: Any) -> Notifier:
    """Tell, and let it be sent until the condition holds."""

    async def main() -> Notifier:
        made = Notifier(settings)
        task = asyncio.create_task(made.run())
        for kind, row in told:
            made.tell(kind, row)
        await wait_for_async(lambda: until(made), what="the notice")
        task.cancel()
        return made

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow one another at once."""
    monkeypatch.setattr(notify, "_FIRST_PAUSE", 0.01)


def test_the_generic_notice_is_json() -> None:
    """With the words of the diagnosis, and all of the incident."""
    with hook([]) as (url, got):
        run(
            Notify(webhook_url=SecretStr(url)),
            ("opened", shown()),
            until=lambda made: made.counts["sent"] == 1,
        )
    (line, headers, body), data = got[0], json.loads(got[0][2])

    assert line == f"POST /{SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert data["event"] == "incident_opened"
    assert data["incident"]["causes"][0]["setting"] == "relay.username, relay.password_file"
    assert body


def test_slack_and_ntfy_get_their_own_forms() -> None:
    """Slack: one escaped text. ntfy: text, with title, priority and tags as headers in ASCII."""
    slack = json.loads(TEMPLATES["slack"]("opened", {**shown(), "place": "<b>&"}).body)
    ntfy = TEMPLATES["ntfy"]("opened", {**shown(Effect.LOST), "title": "Größe"})

    assert "(&lt;b&gt;&amp;)" in slack["text"]
    assert ntfy.headers["Priority"] == "urgent"
    assert ntfy.headers["Title"].isascii()
    assert b"setting: relay.username, relay.password_file" in ntfy.body


def test_a_hook_that_fails_is_tried_again_and_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """Four tries; the journal names the host and the answer, never the rest of the address."""
    with hook([500, 503]) as (url, got):
        made = run(
            Notify(webhook_url=SecretStr(url)),
            ("opened", shown()),
            until=lambda made: made.counts["sent"] == 1,
        )
        assert len(got) == 3
        assert made.counts == {"sent": 1, "failed": 0, "dropped": 0}
    with hook([500] * 4) as (url, got):
        run(
            Notify(webhook_url=SecretStr(url)),
            ("opened", shown()),
            until=lambda made: made.counts["failed"] == 1,
        )
        assert len(got) == 4

    assert "notify.webhook_url: 127.0.0.1: answered 500; 4 tries" in caplog.text
    assert SECRET not in caplog.text


def test_a_hook_cannot_send_a_notice_elsewhere() -> None:
    """A redirection is no success, and is not followed."""
    with hook([302] * 4) as (url, got):
        run(
            Notify(webhook_url=SecretStr(url)),
            ("opened", shown()),
            until=lambda made: made.counts["failed"] == 1,
        )

    assert {line for line, _, _ in got} == {f"POST /{SECRET}"}


def test_what_waits_is_bounded_and_notes_are_left_out() -> None:
    """Nobody is woken for what is only worth noting; too many notices are dropped and counted."""
    made = Notifier(Notify(webhook_url=SecretStr("http://127.0.0.1:1/x")))
    made.tell("opened", shown(Effect.NOTE))
    made.tell("opened", shown(Effect.REJECTED))
    assert made._waiting.qsize() == 0
    for number in range(100):
        made.tell("opened", {**shown(), "place": str(number)})

    assert made.counts["dropped"] == 36


def test_what_comes_and_goes_is_told_of_once_in_ten_minutes() -> None:
    """The first time at once, then not again for a while."""
    now = [0.0]
    made = Notifier(Notify(webhook_url=SecretStr("http://127.0.0.1:1/x")), clock=lambda: now[0])
    made.tell("opened", shown())
    made.tell("opened", shown(), again=True)
    assert made._waiting.qsize() == 1
    now[0] = 601.0
    made.tell("opened", shown(), again=True)

    assert made._waiting.qsize() == 2


def test_without_a_hook_nothing_waits() -> None:
    """The settings are empty: no queue fills."""
    made = Notifier(Notify())
    made.tell("opened", shown())

    assert made._waiting.qsize() == 0


def test_a_ping_that_fails_is_told_once_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    """The dead man's switch must not fill the journal."""
    calls: list[str] = []

    def post(url: str, _request: Request | None) -> None:
        calls.append(url)
        raise OSError(111, "Connection refused")

    async def main() -> None:
        # The least interval of the settings would make this test wait.
        ping = SecretStr(f"https://hc.test/{SECRET}")
        made = Notifier(
            Notify.model_construct(webhook_url=None, heartbeat_url=ping, heartbeat_interval_seconds=0), post
        )
        task = asyncio.create_task(made.run())
        await wait_for_async(lambda: len(calls) >= 5, what="five pings")
        task.cancel()

    asyncio.run(main())

    assert caplog.text.count("notify.heartbeat_url: hc.test: Connection refused") == 1
    assert SECRET not in caplog.text
    assert host_of(f"https://hc.test:8443/{SECRET}") == "hc.test"


def test_secrets_of_the_settings_are_not_shown() -> None:
    """Neither in print nor in JSON."""
    settings = Notify(
        webhook_url=SecretStr(f"https://hook.test/{SECRET}"),
        heartbeat_url=SecretStr(f"https://hc.test/{SECRET}"),
    )

    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()


def test_entries_of_the_journal_have_fields(tmp_path: Path) -> None:
    """The native protocol; a value with line ends is preceded by its length."""
    path = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        handler = JournalFields(logging.NullHandler(), {logging.ERROR: 3}, path)
        record = logging.LogRecord("x", logging.ERROR, "", 0, "incident %s", ("opened",), None)
        record.fields = {"POSTWARD_INCIDENT": "opened"}
        handler.emit(record)
        entry = journal.recv(4096)

    assert (
        entry
        == b"MESSAGE=incident opened\nPRIORITY=3\nSYSLOG_IDENTIFIER=postward\nPOSTWARD_INCIDENT=opened\n"
    )
    assert datagram({"A": "x\ny"}) == b"A\n\x03\0\0\0\0\0\0\0x\ny\n"


def test_without_a_journal_entries_go_where_the_rest_goes(tmp_path: Path) -> None:
    """No socket: standard error has it."""
    seen: list[logging.LogRecord] = []

    class Plain(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    record = logging.LogRecord("x", logging.ERROR, "", 0, "words", (), None)
    record.fields = {"POSTWARD_INCIDENT": "opened"}
    JournalFields(Plain(), {}, tmp_path / "none").emit(record)

    assert seen == [record]


def test_the_agent_tells_a_hook_and_pings(tmp_path: Path) -> None:
    """A fault on a real Postfix: the hook hears of its beginning and its end; the ping comes without any mail."""
    require_postfix()
    with hook([]) as (url, got):
        more = f'[notify]\nwebhook_url = "{url}"\ntemplate = "ntfy"\nheartbeat_url = "{url}-ping"\n'
        with bed(tmp_path, more) as made:
            wait_for(lambda: any(line == f"GET /{SECRET}-ping" for line, _, _ in got), what="the ping")
            with made.relays[0].failing(Fault(step="auth", reply="535 5.7.8 no")):
                made.mail(0)
                wait_for(lambda: [line for line, _, _ in got if line == f"POST /{SECRET}"], what="the notice")
            made.postfix.flush()
            told = wait_for(
                lambda: len(posts := [row for row in got if row[0][:4] == "POST"]) > 1 and posts,
                what="the end",
            )
            assert SECRET not in made.agent.output()
    assert isinstance(told, list)

    assert [headers["Title"] for _, headers, _ in told] == [
        "Mail: the relay refuses this login (first)",
        "Over: the relay refuses this login (first)",
    ]
    assert b"bob@" not in told[0][2]

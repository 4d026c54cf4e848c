"""Notifications and the heartbeat: real HTTP on loopback."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from postward.agent.http_client import Answer
from postward.agent.incidents.diagnosis import diagnose, to_dict
from postward.agent.incidents.model import Effect, Incident, IncidentRow
from postward.agent.incidents.notify import Notifier, host_of
from postward.agent.incidents.services import SERVICES, Notice, Request
from postward.config.sections import Notify
from tests.support import Fault, require_postfix, wait_for
from tests.support.waiting import wait_for_async
from tools.incidents.pairs import bed

SECRET = "s3cret-T0pic"
Requests = list[tuple[str, dict[str, str], bytes]]  # method and path, headers, body


def incident_row(
    effect: Effect = Effect.DELAYED, *, place: str = "sendcloud", title: str = ""
) -> IncidentRow:
    """An incident as notifications have it."""
    incident = Incident(
        "login-refused", "postfix", place, "sendcloud", "smtp", "auth_rejected", effect, 1.0, 2.0, 3
    )
    row = to_dict(incident, diagnose(incident))
    row["title"] = title or row["title"]
    return row


@contextmanager
def hook(statuses: list[int]) -> Iterator[tuple[str, Requests]]:
    """A web hook that answers with these statuses, then 200; its address, and the requests that it received."""
    received: Requests = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            received.append((f"{self.command} {self.path}", dict(self.headers), body))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST = _answer  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(url: str, until: Callable[[Notifier], bool]) -> Notifier:
    """Notify a web hook of an opened incident, and run the notifier until the condition holds."""

    async def main() -> Notifier:
        notifier = Notifier(Notify(webhook_url=SecretStr(url)), first_pause=0.01)
        task = asyncio.create_task(notifier.run())
        notifier.notify("opened", incident_row())
        await wait_for_async(lambda: until(notifier), what="the notification")
        task.cancel()
        return notifier

    return asyncio.run(main())


def is_sent(notifier: Notifier) -> bool:
    """Whether a notification was sent."""
    return notifier.counts["sent"] == 1


def is_given_up(notifier: Notifier) -> bool:
    """Whether the last attempt failed."""
    return notifier.counts["failed"] == 1


def unreachable_hook(**more: Any) -> Notifier:
    """A notifier that is not run: its notifications wait."""
    return Notifier(Notify(webhook_url=SecretStr("http://127.0.0.1:1/x")), **more)


def test_generic_notification_is_json() -> None:
    """It has the text of the diagnosis, and the whole incident."""
    with hook([]) as (url, received):
        send(url, is_sent)
    (line, headers, body) = received[0]
    data = json.loads(body)

    assert line == f"POST /{SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert data["event"] == "incident_opened"
    assert data["incident"]["causes"][0]["setting"] == "relay.username, relay.password_file"


def test_slack_and_ntfy_have_their_own_formats() -> None:
    """Slack: one escaped text. ntfy: text, with title, priority and tags as headers in ASCII."""
    to = Notify()
    slack = SERVICES["slack"].request(to, Notice("opened", incident_row(place="<b>&"), "mx1", "1"))
    ntfy = SERVICES["ntfy"].request(
        to, Notice("opened", incident_row(Effect.LOST, title="Größe"), "mx1", "1")
    )

    assert "(&lt;b&gt;&amp;)" in json.loads(slack.body)["text"]
    assert ntfy.headers["Priority"] == "urgent"
    assert ntfy.headers["Title"].isascii()
    assert b"setting: relay.username, relay.password_file" in ntfy.body


def test_failing_hook_is_retried_and_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """Four attempts; the message names the host and the answer, never the rest of the address."""
    with hook([500, 503]) as (url, received):
        notifier = send(url, is_sent)
        assert len(received) == 3
        assert notifier.counts == {"sent": 1, "failed": 0, "dropped": 0}
    with hook([500] * 4) as (url, received):
        send(url, is_given_up)
        assert len(received) == 4

    assert "notify.webhook_url: 127.0.0.1: answered 500; gave up after 4 attempts" in caplog.text
    assert SECRET not in caplog.text


def test_redirections_are_not_followed() -> None:
    """A redirection is a failure: the notification goes nowhere else."""
    with hook([302] * 4) as (url, received):
        send(url, is_given_up)

    assert {line for line, _, _ in received} == {f"POST /{SECRET}"}


def test_queue_is_bounded_and_leaves_notes_out() -> None:
    """Notes and rejected mails are not sent; notifications beyond the limit are dropped and counted."""
    notifier = unreachable_hook()
    notifier.notify("opened", incident_row(Effect.NOTE))
    notifier.notify("opened", incident_row(Effect.REJECTED))
    assert notifier.waiting == 0
    for number in range(100):
        notifier.notify("opened", incident_row(place=str(number)))

    assert notifier.counts["dropped"] == 36


def test_nothing_is_queued_without_a_hook() -> None:
    """Without notify.webhook the queue stays empty."""
    notifier = Notifier(Notify())
    notifier.notify("opened", incident_row())

    assert notifier.waiting == 0


def test_failing_heartbeat_is_logged_once_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    """An unreachable server does not fill the journal."""
    calls: list[str] = []

    def post(message: Request | str) -> Answer:
        assert isinstance(message, str)
        calls.append(message)
        raise OSError(111, "Connection refused")

    async def main() -> None:
        # The minimum of the setting would make this test wait.
        heartbeat = SecretStr(f"https://hc.test/{SECRET}")
        settings = Notify.model_construct(heartbeat_url=heartbeat, heartbeat_interval_seconds=0)
        task = asyncio.create_task(Notifier(settings, post=post).run())
        await wait_for_async(lambda: len(calls) >= 5, what="five heartbeats")
        task.cancel()

    asyncio.run(main())

    assert caplog.text.count("notify.heartbeat_url: hc.test: Connection refused") == 1
    assert SECRET not in caplog.text
    assert host_of(f"https://hc.test:8443/{SECRET}") == "hc.test"


def test_secret_addresses_are_not_shown() -> None:
    """They are in neither the repr nor the JSON of the settings."""
    settings = Notify(
        webhook_url=SecretStr(f"https://hook.test/{SECRET}"),
        heartbeat_url=SecretStr(f"https://hc.test/{SECRET}"),
    )

    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()


def test_agent_notifies_a_hook_and_sends_heartbeats(tmp_path: Path) -> None:
    """A fault on a real Postfix: the hook is notified of its begin and end; the heartbeat needs no mail."""
    require_postfix()
    with hook([]) as (url, received):
        more = f'[notify]\nwebhook_url = "{url}"\ntemplate = "ntfy"\nheartbeat_url = "{url}-ping"\n'

        def posts() -> Requests:
            return [row for row in received if row[0] == f"POST /{SECRET}"]

        with bed(tmp_path, more) as made:
            wait_for(
                lambda: any(line == f"GET /{SECRET}-ping" for line, _, _ in received), what="the heartbeat"
            )
            with made.relays[0].failing(Fault(step="auth", reply="535 5.7.8 no")):
                made.mail(0)
                wait_for(posts, what="the notification that the incident opened")
            made.postfix.flush()
            wait_for(lambda: len(posts()) > 1, what="the notification that the incident closed")
            assert SECRET not in made.agent.output()

    assert [headers["Title"] for _, headers, _ in posts()] == [
        "Mail: the relay refuses this login (first) on mail.example.test",
        "Over: the relay refuses this login (first) on mail.example.test",
    ]
    assert b"bob@" not in posts()[0][2]

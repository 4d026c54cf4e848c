"""Notices to Teams, Discord, Telegram, PagerDuty and Matrix, each at an HTTP server that checks the service's documented request."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr

from postward.agent.incidents.mail import notice_mail
from postward.agent.incidents.notify import Notifier
from postward.agent.incidents.services import SERVICES, Notice
from postward.config.sections import Notify
from postward.config.settings import load_settings
from tests.incidents.test_notify import incident_row
from tests.support import Fault, require_postfix, wait_for
from tests.support.waiting import wait_for_async
from tools.incidents.pairs import bed

TOKEN = "1234:s3cret-T0ken"


class Asked(NamedTuple):
    """A request that a service received."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Answer = tuple[int, str]  # status, body


# Each service answers as its documentation says, and refuses a request that the documentation does not allow.


def teams(asked: Asked) -> Answer:
    """A workflow: "Post to a channel when a webhook request is received"; learn.microsoft.com, Adaptive Cards 1.4."""
    assert asked.method == "POST"
    assert asked.body["type"] == "message"
    (attachment,) = asked.body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["contentUrl"] is None
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    for block in card["body"]:
        assert block["type"] == "TextBlock"
        assert block["text"]
        assert block.keys() <= {"type", "text", "wrap", "weight", "color"}
    return 202, ""


def discord(asked: Asked) -> Answer:
    """Execute Webhook: content of at most 2000 characters; 204 without `wait`."""
    assert asked.method == "POST"
    assert 0 < len(asked.body["content"]) <= 2000
    assert asked.body["allowed_mentions"] == {"parse": []}
    assert asked.body.keys() <= {"content", "username", "allowed_mentions", "embeds"}
    return 204, ""


def telegram(asked: Asked) -> Answer:
    """Bot API, sendMessage: chat_id, and text of 1 to 4096 characters; the answer repeats the message."""
    assert (asked.method, asked.path) == ("POST", f"/bot{TOKEN}/sendMessage")
    assert asked.body["chat_id"] == "-100200300"
    assert 0 < len(asked.body["text"]) <= 4096
    assert "parse_mode" not in asked.body, "unescaped text would be refused"
    return 200, json.dumps({"ok": True, "result": {"message_id": 1, "text": asked.body["text"]}})


def pagerduty(asked: Asked) -> Answer:
    """Events API v2: a trigger has a payload with summary, source and severity; a resolve needs the key alone."""
    assert asked.body["routing_key"] == TOKEN
    assert 0 < len(asked.body["dedup_key"]) <= 255
    if asked.body["event_action"] == "trigger":
        payload = asked.body["payload"]
        assert {"summary", "source", "severity"} <= payload.keys()
        assert len(payload["summary"]) <= 1024
        assert payload["severity"] in {"critical", "error", "warning", "info"}
    else:
        assert asked.body["event_action"] == "resolve"
    return 202, json.dumps(
        {"status": "success", "message": "Event processed", "dedup_key": asked.body["dedup_key"]}
    )


def matrix(asked: Asked) -> Answer:
    """Client-server API: PUT /rooms/{roomId}/send/m.room.message/{txnId} with an access token."""
    room = "_matrix/client/v3/rooms/%21abc%3Aexample.com/send/m.room.message"
    assert asked.method == "PUT"
    assert asked.path.startswith(f"/{room}/")
    assert len(asked.path.removeprefix(f"/{room}/")) >= 8
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    assert asked.body["msgtype"] == "m.text"
    assert asked.body["body"]
    return 200, '{"event_id": "$abc"}'


FAKES: dict[str, Callable[[Asked], Answer]] = {
    "teams": teams,
    "discord": discord,
    "telegram": telegram,
    "pagerduty": pagerduty,
    "matrix": matrix,
}
# Answers with status 2xx of services that did not take the notice.
REFUSED = {
    "teams": (
        200,
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
    ),
    "telegram": (200, '{"ok": false, "description": "Bad Request: chat not found"}'),
    "pagerduty": (200, '{"status": "invalid event"}'),
    "matrix": (200, "<html>a captive portal</html>"),
}


@contextmanager
def serving(answer: Callable[[Asked], Answer]) -> Iterator[tuple[str, list[Asked]]]:
    """A service; its address, and the requests that it received. A request that it does not allow is answered 400."""
    received: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(self.command, self.path, dict(self.headers), body)
            received.append(asked)
            try:
                status, text = answer(asked)
            except (AssertionError, KeyError, ValueError) as error:
                status, text = 400, repr(error)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_PUT = _answer  # noqa: N815 - names of http.server

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings_of(service: str, url: str) -> Notify:
    """The settings of a service."""
    token = SecretStr(TOKEN) if service in {"telegram", "pagerduty", "matrix"} else None
    chat = {"telegram": "-100200300", "matrix": "!abc:example.com"}.get(service, "")
    return Notify.model_validate(
        {"template": service, "webhook_url": SecretStr(url), "token": token, "chat": chat}
    )


def notify(service: str, url: str, *kinds: str, title: str = "") -> dict[str, int]:
    """Send a notice of each kind to a service. Return the counts."""

    async def main() -> dict[str, int]:
        notifier = Notifier(settings_of(service, url), "mx1.example.com", first_pause=0.01)
        task = asyncio.create_task(notifier.run())
        for kind in kinds:
            notifier.notify(kind, incident_row(title=title))
        await wait_for_async(lambda: sum(notifier.counts.values()) == len(kinds), what="the notices")
        task.cancel()
        return notifier.counts

    return asyncio.run(main())


@pytest.mark.parametrize("service", FAKES)
def test_a_service_takes_its_notices(service: str) -> None:
    """When an incident opens and when it is over; the host is named, the token is in no text."""
    with serving(FAKES[service]) as (url, received):
        counts = notify(service, url, "opened", "closed")

    assert counts == {"sent": 2, "failed": 0, "dropped": 0}, received
    text = json.dumps(received[0].body, ensure_ascii=False)
    assert "mx1.example.com" in text
    assert "relay.username" in text
    if service != "pagerduty":
        assert TOKEN not in text


@pytest.mark.parametrize("service", FAKES)
def test_texts_of_any_length_and_with_markup_are_taken(service: str) -> None:
    """They are cut to the service's limit."""
    with serving(FAKES[service]) as (url, _):
        counts = notify(service, url, "opened", title="@everyone <b>*_[x](http://y) " + "long " * 4000)

    assert counts["sent"] == 1


@pytest.mark.parametrize("service", REFUSED)
def test_an_answer_that_takes_nothing_is_a_failure(service: str, caplog: pytest.LogCaptureFixture) -> None:
    """With status 200, as some services and captive portals answer. Each is tried four times."""
    with serving(lambda _: REFUSED[service]) as (url, received):
        counts = notify(service, url, "opened")

    assert counts["failed"] == 1
    assert len(received) == 4
    assert "answered 200, but did not accept the notification; gave up after 4 attempts" in caplog.text
    assert TOKEN not in caplog.text
    if service == "matrix":
        assert len({asked.path for asked in received}) == 1, "a second attempt must not be a second message"


def test_pagerduty_closes_the_incident_that_it_opened() -> None:
    """Both events have one key, which another place does not have."""
    with serving(pagerduty) as (url, received):
        notify("pagerduty", url, "opened", "closed")
    other = SERVICES["pagerduty"].request(
        settings_of("pagerduty", url), Notice("opened", incident_row(place="other"), "mx1.example.com", "1")
    )

    assert [asked.body["event_action"] for asked in received] == ["trigger", "resolve"]
    assert len({asked.body["dedup_key"] for asked in received}) == 1
    assert json.loads(other.body)["dedup_key"] != received[0].body["dedup_key"]


def test_services_with_one_address_need_none() -> None:
    """Telegram and PagerDuty."""
    bot = Notify(template="telegram", token=SecretStr(TOKEN), chat="@ops")
    request = SERVICES["telegram"].request(bot, Notice("opened", incident_row(), "mx1", "1"))

    assert request.url == f"https://api.telegram.org/bot{TOKEN}/sendMessage"
    assert TOKEN not in repr(bot)


def test_a_mail_is_marked_as_automatic(tmp_path: Path) -> None:
    """Its sender is that of probes, its subject is one line."""
    path = tmp_path / "postward.toml"
    path.write_text(
        '[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "r.test"\ntls = "starttls"\n'
        '[notify]\nmail_to = "ops@example.net"\n'
    )
    mail = notice_mail(
        load_settings(path), Notice("opened", incident_row(title="a\nb"), "mx.example.test", "1f")
    )

    assert mail["To"] == "ops@example.net"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "\n" not in mail["Subject"]
    assert mail["Message-ID"] == "<1f.postward@mx.example.test>"


def test_the_agent_mails_through_the_relay_that_works(tmp_path: Path) -> None:
    """A real Postfix with two relays: the notices about the first one's fault go through the second one, past Postfix."""
    require_postfix()
    with bed(tmp_path, '[notify]\nmail_to = "ops@ops.example.test"\n') as made:
        first, second = made.relays

        def notices() -> list[bytes]:
            return [mail.data for mail in second.messages if mail.rcpt_tos == ["ops@ops.example.test"]]

        # The relays have one account, so a refused login would hold back that of the notice.
        refusal = Fault(step="mail", reply="553 5.7.1 Sender address rejected: not owned by user")
        with first.failing(refusal):
            made.mail(0)
            wait_for(notices, 30, f"the mail that the incident opened; {made.agent.output()[-2000:]}")
        made.mail(0)
        wait_for(lambda: not made.open(), 30, "the end of the incident")
        wait_for(
            lambda: any(b"ops@ops" in data for data in (*notices()[1:], *(m.data for m in first.messages))),
            30,
            "the mail that it is over",
        )
        log = made.postfix.maillog.read_text()

    mail = message_from_bytes(notices()[0], policy=default)
    assert mail["Subject"] == "Mail: the relay does not allow this sender (first) on mail.example.test"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "ops@ops.example.test" not in log, "it does not go through Postfix"

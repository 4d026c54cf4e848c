"""The services that get notifications and reports by HTTP: how a request is formed, and which answer means accepted. Pure.

Promise: texts are escaped as the service reads them, mention no user of a chat, and fit its limits. The address and the
token of a service are secrets, which no text has.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from postward.agent.incidents.model import IncidentRow
from postward.agent.incidents.render import one_line
from postward.config.sections import Notify


class Notice(NamedTuple):
    """A change of an incident.

    Attributes:
        kind: opened, reopened or closed.
        row: the incident.
        host: the name of this host.
        id: unique, so that a service recognises a second attempt.
    """

    kind: str
    row: IncidentRow
    host: str
    id: str

    @property
    def is_over(self) -> bool:
        """True if the incident has closed."""
        return self.kind == "closed"

    @property
    def effect(self) -> str:
        """The effect of the incident."""
        return self.row["effect"]

    @property
    def content(self) -> Mapping[str, Any]:
        """The notice as JSON values."""
        return {
            "event": f"incident_{self.kind}",
            "host": self.host,
            "text": one_line(self.row),
            "incident": self.row,
        }

    @property
    def headline(self) -> str:
        """The notice in one line."""
        return (
            f"{'Over' if self.is_over else 'Mail'}: {self.row['title']} ({self.row['place']}) on {self.host}"
        )

    @property
    def body(self) -> str:
        """Numbers, causes and remedies, in lines."""
        row = self.row
        if self.is_over:
            return f"{row['closed_by']}; {row['mails']} mails were concerned, {row['lost']} lost"
        lines = [f"{row['attempts']} attempts, {row['lost']} lost"]
        if sender := row["sender"]:
            lines += [f"- {sender['what']}", f"  find: {sender['find']}", f"  hold: {sender['hold']}"]
        for cause in row["causes"]:
            lines += [f"- {cause['what']}", f"  setting: {cause['setting']}", f"  remedy: {cause['remedy']}"]
        return "\n".join(lines)

    def text(self, limit: int) -> str:
        """Headline and body, cut to `limit` characters."""
        return _cut(f"{self.headline}\n{self.body}", limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class Digest(NamedTuple):
    """A report on a day or week, in the form of a notice.

    Attributes:
        host: the name of this host.
        id: unique, so that a service recognises a second attempt.
        headline: the report in one line.
        body: the report as text.
        report: the report as plain data.
        page: the report as an HTML file.
    """

    host: str
    id: str
    headline: str
    body: str
    report: Mapping[str, Any]
    page: str

    @property
    def is_over(self) -> bool:
        """True if the report has no incidents."""
        return not self.report["incidents"]

    @property
    def effect(self) -> str:
        """Reports are as urgent as notes."""
        return "note"

    @property
    def content(self) -> Mapping[str, Any]:
        """The report as JSON values."""
        return {"event": "report", "host": self.host, "text": self.headline, "report": self.report}

    def text(self, limit: int) -> str:
        """Headline and body, cut to `limit` characters."""
        return _cut(f"{self.headline}\n{self.body}", limit)


Sent = Notice | Digest


class Request(NamedTuple):
    """An HTTP request."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"


def _json(
    url: str, body: Mapping[str, Any], headers: Mapping[str, str] = {}, method: str = "POST"
) -> Request:
    content = json.dumps(body, ensure_ascii=False).encode()
    return Request(url, content, {"Content-Type": "application/json", **headers}, method)


def _generic(to: Notify, notice: Sent) -> Request:
    return _json(to.url, notice.content)


def _slack(to: Notify, notice: Sent) -> Request:
    icon = ":white_check_mark:" if notice.is_over else ":rotating_light:"
    text = f"{icon} *{notice.headline}*\n{notice.body}"
    # https://api.slack.com/reference/surfaces/formatting#escaping
    for char, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, escaped)
    return _json(to.url, {"text": text})


def _ntfy(to: Notify, notice: Sent) -> Request:
    priorities = {} if notice.is_over else {"lost": "urgent", "delayed": "high"}
    headers = {
        "Title": notice.headline.encode("ascii", "replace").decode(),
        "Priority": priorities.get(notice.effect, "default"),
        "Tags": "white_check_mark" if notice.is_over else "rotating_light",
        "Content-Type": "text/plain; charset=utf-8",
    }
    return Request(to.url, notice.body.encode(), headers)


def _teams(to: Notify, notice: Sent) -> Request:
    """Return an Adaptive Card, for a workflow "When a Teams webhook request is received" or an incoming web hook."""
    head = {
        "type": "TextBlock",
        "text": _plain(notice.headline),
        "weight": "Bolder",
        "wrap": True,
        "color": "Good" if notice.is_over else "Attention",
    }
    lines = [
        {"type": "TextBlock", "text": _plain(line), "wrap": True} for line in notice.body.splitlines()[:40]
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [head, *lines],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return _json(to.url, {"type": "message", "attachments": [attachment]})


def _plain(text: str) -> str:
    """Return a text without the Markdown of a TextBlock: links, emphasis, lists."""
    return "".join(f"\\{char}" if char in r"\[]*_" else char for char in text.lstrip("- "))


def _discord(to: Notify, notice: Sent) -> Request:
    return _json(to.url, {"content": notice.text(2000), "allowed_mentions": {"parse": []}})


def _telegram(to: Notify, notice: Sent) -> Request:
    body = {"chat_id": to.chat, "text": notice.text(4096), "link_preview_options": {"is_disabled": True}}
    return _json(f"{to.url.rstrip('/')}/bot{_token(to)}/sendMessage", body)


# Effect → severity.
_SEVERITIES: Final = {"lost": "critical", "delayed": "critical", "blind": "error", "degraded": "warning"}


def _pagerduty(to: Notify, notice: Sent) -> Request:
    """Return an event of the Events API v2, with the same key when the incident opens and when it is over."""
    if isinstance(notice, Digest):
        raise ValueError("PagerDuty takes incidents, not reports")  # noqa: TRY004 -- as a service that refuses
    row = notice.row
    event: dict[str, Any] = {
        "routing_key": _token(to),
        "event_action": "resolve" if notice.is_over else "trigger",
        "dedup_key": f"postward/{notice.host}/{row['symptom']}/{row['postfix_instance']}/{row['place']}"[
            :255
        ],
    }
    if not notice.is_over:
        event["payload"] = {
            "summary": notice.headline[:1024],
            "source": notice.host,
            "severity": _SEVERITIES.get(row["effect"], "info"),
            "component": row["place"],
            "class": row["symptom"],
            "custom_details": {"text": notice.body, "certainty": row["certainty"]},
        }
    return _json(to.url, event)


def _matrix(to: Notify, notice: Sent) -> Request:
    """Return a message event; the transaction's ID makes a second attempt the same message."""
    place = (
        f"_matrix/client/v3/rooms/{quote(to.chat, safe='')}/send/m.room.message/{quote(notice.id, safe='')}"
    )
    body = {"msgtype": "m.text", "body": notice.text(16_000), "m.mentions": {}}
    return _json(
        f"{to.url.rstrip('/')}/{place}", body, {"Authorization": f"Bearer {_token(to)}"}, method="PUT"
    )


def _token(to: Notify) -> str:
    return to.token.get_secret_value() if to.token else ""


def _any(_status: int, _body: bytes) -> bool:
    return True


def _has(key: str, *values: object) -> Callable[[int, bytes], bool]:
    """Return a test whether the answer is a JSON object with one of the values; any text, if none is given."""

    def accepts(_status: int, body: bytes) -> bool:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            return False
        value = answer.get(key) if isinstance(answer, dict) else None
        return value in values if values else isinstance(value, str)

    return accepts


def _is_taken_by_teams(status: int, body: bytes) -> bool:
    """Return True for 202 of a workflow. An incoming web hook answers 200 to what it refuses too, with another text."""
    return status == 202 or body.strip() in {b"1", b""}


class Service(NamedTuple):
    """How a service gets a notice.

    Attributes:
        request: returns the request.
        accepts: whether an answer with this status, 2xx, and this body means that the notice was accepted.
    """

    request: Callable[[Notify, Sent], Request]
    accepts: Callable[[int, bytes], bool] = _any


# notify.template → service.
SERVICES: Final[Mapping[str, Service]] = {
    "generic": Service(request=_generic),
    "slack": Service(request=_slack),
    "ntfy": Service(request=_ntfy),
    "teams": Service(request=_teams, accepts=_is_taken_by_teams),
    "discord": Service(request=_discord),
    "telegram": Service(request=_telegram, accepts=_has("ok", True)),
    "pagerduty": Service(request=_pagerduty, accepts=_has("status", "success")),
    "matrix": Service(request=_matrix, accepts=_has("event_id")),
}

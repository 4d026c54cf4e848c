"""Notifications about incidents by web hook, and a heartbeat whose absence raises an alarm. Neither needs mail to work.

Promise: the agent never waits for the network. Notifications stand in a bounded queue and are sent in a thread, with a
few attempts; then they are dropped and counted. Web hook addresses are secrets: messages show only the host.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from postward.agent.http_client import request
from postward.agent.incidents.model import IncidentRow
from postward.agent.incidents.render import one_line
from postward.agent.parts import Problem
from postward.config.sections import Notify

_MAX_WAITING: Final = 64
_ATTEMPTS: Final = 4
_FIRST_PAUSE: Final = 2.0  # seconds between the first two attempts; doubled after each
_TIMEOUT: Final = 10.0  # seconds of one attempt
_log = logging.getLogger("postward.notify")


class Request(NamedTuple):
    """The body and headers of a POST."""

    body: bytes
    headers: Mapping[str, str]


def generic(kind: str, row: IncidentRow) -> Request:
    """Return the incident as JSON, with the kind of change."""
    return _json({"event": f"incident_{kind}", "text": one_line(row), "incident": row})


def slack(kind: str, row: IncidentRow) -> Request:
    """Return the message for an incoming web hook of Slack, Mattermost or Rocket.Chat."""
    icon = ":white_check_mark:" if kind == "closed" else ":rotating_light:"
    text = f"{icon} *{_headline(kind, row)}*\n{_body(kind, row)}"
    # https://api.slack.com/reference/surfaces/formatting#escaping
    for char, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, escaped)
    return _json({"text": text})


def ntfy(kind: str, row: IncidentRow) -> Request:
    """Return the message for ntfy.sh and compatible servers: text, with headers."""
    priorities = {"lost": "urgent", "delayed": "high"} if kind == "opened" else {}
    headers = {
        "Title": _headline(kind, row).encode("ascii", "replace").decode(),
        "Priority": priorities.get(row["effect"], "default"),
        "Tags": "white_check_mark" if kind == "closed" else "rotating_light",
        "Content-Type": "text/plain; charset=utf-8",
    }
    return Request(_body(kind, row).encode(), headers)


# notify.template → request.
TEMPLATES: Final[Mapping[str, Callable[[str, IncidentRow], Request]]] = {
    "generic": generic,
    "slack": slack,
    "ntfy": ntfy,
}


def _json(body: Mapping[str, Any]) -> Request:
    return Request(json.dumps(body, ensure_ascii=False).encode(), {"Content-Type": "application/json"})


def _headline(kind: str, row: IncidentRow) -> str:
    return f"{'Over' if kind == 'closed' else 'Mail'}: {row['title']} ({row['place']})"


def _body(kind: str, row: IncidentRow) -> str:
    if kind == "closed":
        return f"{row['closed_by']}; {row['mails']} mails were concerned, {row['lost']} lost"
    lines = [f"{row['attempts']} attempts, {row['lost']} lost"]
    for cause in row["causes"]:
        lines += [f"- {cause['what']}", f"  setting: {cause['setting']}", f"  remedy: {cause['remedy']}"]
    return "\n".join(lines)


class Notifier:
    """Sends notifications and the heartbeat.

    Args:
        settings: the addresses, the template and the interval of the heartbeat.
        post: sends a request to an address, or a GET if the request is None; raises OSError or ValueError.
        first_pause: seconds between the first two attempts; doubled after each.

    Attributes:
        counts: requests by result: sent, failed, dropped.
    """

    def __init__(
        self,
        settings: Notify,
        post: Callable[[str, Request | None], None] | None = None,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._settings = settings
        self._post = post or _post
        self._first_pause = first_pause
        self._waiting: asyncio.Queue[tuple[str, IncidentRow]] = asyncio.Queue(_MAX_WAITING)
        self.counts = {"sent": 0, "failed": 0, "dropped": 0}
        self._problems: dict[str, Problem] = {
            setting: Problem(
                _log, f"{setting}: {host_of(url.get_secret_value())}", f"{setting}: answers again"
            )
            for setting, url in (
                ("notify.webhook_url", settings.webhook_url),
                ("notify.heartbeat_url", settings.heartbeat_url),
            )
            if url is not None
        }

    @property
    def waiting(self) -> int:
        """Number of notifications in the queue."""
        return self._waiting.qsize()

    def notify(self, kind: str, row: IncidentRow) -> None:
        """Queue a notification, unless the effect is note or rejected."""
        if self._settings.webhook_url is None or row["effect"] in {"note", "rejected"}:
            return
        try:
            self._waiting.put_nowait((kind, row))
        except asyncio.QueueFull:
            self.counts["dropped"] += 1

    def conditions(self) -> Mapping[str, str | None]:
        """Return why the last notification or heartbeat was not delivered; nothing if neither is configured."""
        if not self._problems:
            return {}
        failed = [f"{name}: {problem.text}" for name, problem in self._problems.items() if problem.text]
        return {"notify-failing": "; ".join(failed) or None}

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_all())
            group.create_task(self._send_heartbeats())

    async def _send_all(self) -> None:
        while True:
            kind, row = await self._waiting.get()
            if self._settings.webhook_url is not None:
                message = TEMPLATES[self._settings.template](kind, row)
                await self._send(self._settings.webhook_url.get_secret_value(), message)

    async def _send(self, url: str, message: Request) -> None:
        pause = self._first_pause
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await asyncio.to_thread(self._post, url, message)
            except (OSError, ValueError) as error:
                if attempt == _ATTEMPTS:
                    self.counts["failed"] += 1
                    self._problems["notify.webhook_url"].note(
                        f"{_reason(error)}; gave up after {attempt} attempts"
                    )
                    return
            else:
                self.counts["sent"] += 1
                self._problems["notify.webhook_url"].note(None)
                return
            await asyncio.sleep(pause)
            pause *= 2

    async def _send_heartbeats(self) -> None:
        """Request the heartbeat address at its interval: its server raises an alarm if the requests stop."""
        if self._settings.heartbeat_url is None:
            return
        url = self._settings.heartbeat_url.get_secret_value()
        problem = self._problems["notify.heartbeat_url"]
        while True:
            try:
                await asyncio.to_thread(self._post, url, None)
                problem.note(None)
            except (OSError, ValueError) as error:
                problem.note(_reason(error))
            await asyncio.sleep(self._settings.heartbeat_interval_seconds)


def host_of(url: str) -> str:
    """Return the host of an address, which is not secret."""
    return urlsplit(url).hostname or "?"


def _reason(error: Exception) -> str:
    """Return why a request failed, without its address."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _post(url: str, message: Request | None) -> None:
    """POST `message`, or GET without one. Raises OSError."""
    request(
        url,
        message.body if message else None,
        message.headers if message else {},
        deadline=_TIMEOUT,
        max_bytes=1024,
    )

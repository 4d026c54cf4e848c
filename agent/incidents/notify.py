"""Who is told of incidents: a web hook, and a ping that somebody misses when it stops. Neither needs mail to work.

Promise: nothing waits for the network. Notices stand in a short queue, are sent in a thread, tried a few times, and then
dropped and counted. Addresses of web hooks are secrets: no message shows more of them than the host.
"""

import asyncio
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from postward.agent.incidents.render import Shown, one_line
from postward.config.sections import Notify

_MAX_WAITING = 64
_TRIES = 4
_FIRST_PAUSE = 2.0  # seconds; doubled after each try
_TIMEOUT = 10.0  # seconds for one try
_QUIET = 600.0  # seconds in which what comes and goes is told of once
_log = logging.getLogger("postward.notices")


class Request(NamedTuple):
    """What is sent."""

    body: bytes
    headers: Mapping[str, str]


def generic(kind: str, shown: Shown) -> Request:
    """The incident as JSON, with what happened to it."""
    body = {"event": f"incident_{kind}", "text": one_line(shown), "incident": shown}
    return Request(json.dumps(body, ensure_ascii=False).encode(), {"Content-Type": "application/json"})


def slack(kind: str, shown: Shown) -> Request:
    """What Slack's (and Mattermost's and Rocket.Chat's) incoming web hooks take."""
    icon = ":white_check_mark:" if kind == "closed" else ":rotating_light:"
    text = f"{icon} *{_headline(kind, shown)}*\n{_body(kind, shown)}"
    # https://api.slack.com/reference/surfaces/formatting#escaping
    for char, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, escaped)
    return Request(
        json.dumps({"text": text}, ensure_ascii=False).encode(), {"Content-Type": "application/json"}
    )


def ntfy(kind: str, shown: Shown) -> Request:
    """What ntfy.sh and its like take: the text, and headers."""
    urgent = kind == "opened" and shown["effect"] in {"lost", "delayed"}
    title = _headline(kind, shown).encode("ascii", "replace").decode()
    headers = {
        "Title": title,
        "Priority": "urgent" if urgent and shown["effect"] == "lost" else "high" if urgent else "default",
        "Tags": "white_check_mark" if kind == "closed" else "rotating_light",
        "Content-Type": "text/plain; charset=utf-8",
    }
    return Request(_body(kind, shown).encode(), headers)


# notify.template → what is sent.
TEMPLATES: Mapping[str, Callable[[str, Shown], Request]] = {"generic": generic, "slack": slack, "ntfy": ntfy}


def _headline(kind: str, shown: Shown) -> str:
    return f"{'Over' if kind == 'closed' else 'Mail'}: {shown['title']} ({shown['place']})"


def _body(kind: str, shown: Shown) -> str:
    if kind == "closed":
        return f"{shown['closed_by']}; {shown['mails']} mails were concerned, {shown['lost']} lost"
    lines = [f"{shown['attempts']} attempts, {shown['lost']} lost"]
    for cause in shown["causes"]:
        lines += [f"- {cause['what']}", f"  setting: {cause['setting']}", f"  remedy: {cause['remedy']}"]
    return "\n".join(lines)


class Notifier:
    """Tells of incidents.

    Args:
        settings: whom, and how.
        post: sends a request to an address; raises OSError or ValueError.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: Notify,
        post: Callable[[str, Request | None], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._post = post or _post
        self._clock = clock
        self._waiting: asyncio.Queue[tuple[str, Shown]] = asyncio.Queue(_MAX_WAITING)
        self._told: dict[str, float] = {}
        self.counts = {"sent": 0, "failed": 0, "dropped": 0}

    def tell(self, kind: str, shown: Shown, *, again: bool = False) -> None:
        """Put a notice into the queue; what is only worth noting, or comes and goes, is left out."""
        if self._settings.webhook_url is None or shown["effect"] in {"note", "rejected"}:
            return
        key = f"{kind} {shown['symptom']} {shown['postfix_instance']} {shown['place']}"
        if again and self._clock() - self._told.get(key, -_QUIET) < _QUIET:
            return
        self._told = {name: moment for name, moment in self._told.items() if self._clock() - moment < _QUIET}
        self._told[key] = self._clock()
        try:
            self._waiting.put_nowait((kind, shown))
        except asyncio.QueueFull:
            self.counts["dropped"] += 1

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_all())
            group.create_task(self._ping())

    async def _send_all(self) -> None:
        while True:
            kind, shown = await self._waiting.get()
            if self._settings.webhook_url is not None:
                request = TEMPLATES[self._settings.template](kind, shown)
                await self._send(self._settings.webhook_url.get_secret_value(), request, "notify.webhook_url")

    async def _send(self, url: str, request: Request | None, setting: str) -> None:
        pause = _FIRST_PAUSE
        for attempt in range(1, _TRIES + 1):
            try:
                await asyncio.to_thread(self._post, url, request)
            except (OSError, ValueError) as error:
                if attempt == _TRIES:
                    self.counts["failed"] += 1
                    _log.error("%s: %s: %s; %d tries", setting, host_of(url), _reason(error), attempt)
                    return
            else:
                self.counts["sent"] += 1
                return
            await asyncio.sleep(pause)
            pause *= 2

    async def _ping(self) -> None:
        """A dead man's switch: who receives it raises the alarm when it stays out."""
        if self._settings.heartbeat_url is None:
            return
        told = False
        while True:
            try:
                await asyncio.to_thread(self._post, self._settings.heartbeat_url.get_secret_value(), None)
                told = False
            except (OSError, ValueError) as error:
                if not told:
                    host = host_of(self._settings.heartbeat_url.get_secret_value())
                    _log.error("notify.heartbeat_url: %s: %s", host, _reason(error))
                told = True
            await asyncio.sleep(self._settings.heartbeat_interval_seconds)


def host_of(url: str) -> str:
    """Of an address, what is no secret."""
    return urlsplit(url).hostname or "?"


def _reason(error: Exception) -> str:
    """Why it failed, without the address."""
    if isinstance(error, urllib.error.HTTPError):
        return f"answered {error.code}"
    reason: Any = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
    return str(reason)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A notice goes where the settings say, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Never."""


_opener = urllib.request.build_opener(_NoRedirect)


def _post(url: str, request: Request | None) -> None:
    made = urllib.request.Request(  # noqa: S310 - the settings allow http and https alone
        url, request.body if request else None, dict(request.headers) if request else {}
    )
    with _opener.open(made, timeout=_TIMEOUT) as answer:
        answer.read(1024)

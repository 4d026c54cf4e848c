"""Notifications about incidents, and a heartbeat whose absence raises an alarm. Neither needs Postfix to work.

Promise: the agent never waits for the network. For each way, by HTTP and by mail, notifications stand in a bounded queue
and are sent with a few attempts; then they are dropped and counted. Addresses and tokens are secrets: messages show only
the host.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from postward.agent.http_client import Answer, request
from postward.agent.incidents.model import IncidentRow
from postward.agent.incidents.services import SERVICES, Notice, Request
from postward.agent.parts import Problem
from postward.config.sections import Notify

_MAX_WAITING: Final = 64
_ATTEMPTS: Final = 4
_FIRST_PAUSE: Final = 2.0  # seconds between the first two attempts; doubled after each
_TIMEOUT: Final = 10.0  # seconds of one attempt
_MAX_ANSWER: Final = 1 << 16  # bytes; Telegram and Discord answer with the message
_log = logging.getLogger("postward.notify")

Mail = Callable[[Notice], Awaitable[str]]


class _Way:
    """A way by which notices leave, with a queue of its own, so that none waits for another way.

    Args:
        setting: the setting that names where they go.
        shown: what messages show of that.
        deliver: sends a notice, and returns why it was not accepted; "" if it was. Raises OSError or ValueError.
    """

    def __init__(self, setting: str, shown: str, deliver: Callable[[Notice], Awaitable[str]]) -> None:
        self._deliver = deliver
        self.waiting: asyncio.Queue[Notice] = asyncio.Queue(_MAX_WAITING)
        self.problem = Problem(_log, f"{setting}: {shown}", f"{setting}: answers again")
        self.setting = setting

    async def send(self, notice: Notice, first_pause: float) -> bool:
        """Send a notice, with a few attempts. Return whether it was accepted."""
        pause = first_pause
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                reason = await self._deliver(notice)
            except (OSError, ValueError) as error:
                reason = reason_of_failure(error)
            if not reason:
                self.problem.note(None)
                return True
            if attempt < _ATTEMPTS:
                await asyncio.sleep(pause)
                pause *= 2
        self.problem.note(f"{reason}; gave up after {_ATTEMPTS} attempts")
        return False


class Notifier:
    """Sends notifications and the heartbeat.

    Args:
        settings: the addresses, the template and the interval of the heartbeat.
        host: the name of this host.
        post: sends a request, or a GET to an address, and returns the answer; raises OSError or ValueError.
        mail: sends a notice to `notify.mail_to`, and returns why it was not accepted; None: no mail is sent.
        first_pause: seconds between the first two attempts; doubled after each.

    Attributes:
        counts: notifications by result: sent, failed, dropped.
    """

    def __init__(
        self,
        settings: Notify,
        host: str = "localhost",
        post: Callable[[Request | str], Answer] | None = None,
        mail: Mail | None = None,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._settings = settings
        self._host = host
        self._post = post or send_request
        self._first_pause = first_pause
        self._ways: list[_Way] = []
        if settings.url:
            self._ways.append(_Way("notify.webhook_url", host_of(settings.url), self._deliver))
        if settings.mail_to and mail is not None:
            self._ways.append(_Way("notify.mail_to", settings.mail_to, mail))
        self.counts = {"sent": 0, "failed": 0, "dropped": 0}
        heartbeat = settings.heartbeat_url
        self._heartbeat = heartbeat.get_secret_value() if heartbeat else ""
        self._heartbeat_problem = Problem(
            _log,
            f"notify.heartbeat_url: {host_of(self._heartbeat)}",
            "notify.heartbeat_url: answers again",
        )

    @property
    def waiting(self) -> int:
        """Number of notifications in the queues."""
        return sum(way.waiting.qsize() for way in self._ways)

    def notify(self, kind: str, row: IncidentRow) -> None:
        """Queue a notification, unless the effect is note or rejected."""
        if not self._ways or row["effect"] in {"note", "rejected"}:
            return
        notice = Notice(kind, row, row["host"] or self._host, secrets.token_hex(8))
        for way in self._ways:
            try:
                way.waiting.put_nowait(notice)
            except asyncio.QueueFull:
                self.counts["dropped"] += 1

    def conditions(self) -> Mapping[str, str | None]:
        """Return why the last notification or heartbeat was not delivered; nothing if none is configured."""
        if not self._ways and not self._heartbeat:
            return {}
        problems = {way.setting: way.problem for way in self._ways}
        problems["notify.heartbeat_url"] = self._heartbeat_problem
        failed = [f"{name}: {problem.text}" for name, problem in problems.items() if problem.text]
        return {"notify-failing": "; ".join(failed) or None}

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            for way in self._ways:
                group.create_task(self._send_all(way))
            if self._heartbeat:
                group.create_task(self._send_heartbeats())

    async def _send_all(self, way: _Way) -> None:
        while True:
            notice = await way.waiting.get()
            self.counts["sent" if await way.send(notice, self._first_pause) else "failed"] += 1

    async def _deliver(self, notice: Notice) -> str:
        service = SERVICES[self._settings.template]
        answer = await asyncio.to_thread(self._post, service.request(self._settings, notice))
        if service.accepts(answer.status, answer.body):
            return ""
        return f"answered {answer.status}, but did not accept the notification"

    async def _send_heartbeats(self) -> None:
        """Request the heartbeat address at its interval: its server raises an alarm if the requests stop."""
        while True:
            try:
                await asyncio.to_thread(self._post, self._heartbeat)
                self._heartbeat_problem.note(None)
            except (OSError, ValueError) as error:
                self._heartbeat_problem.note(reason_of_failure(error))
            await asyncio.sleep(self._settings.heartbeat_interval_seconds)


def host_of(url: str) -> str:
    """Return the host of an address, which is not secret."""
    return urlsplit(url).hostname or "?"


def reason_of_failure(error: Exception) -> str:
    """Return why a request failed, without its address."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def send_request(message: Request | str) -> Answer:
    """Send a request, or GET an address. Raises OSError."""
    if isinstance(message, str):
        return request(message, deadline=_TIMEOUT, max_bytes=_MAX_ANSWER)
    url, body, headers, method = message
    return request(url, body, headers, method=method, deadline=_TIMEOUT, max_bytes=_MAX_ANSWER)

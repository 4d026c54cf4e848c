"""Submits probe mails and waits for their verdicts.

A probe is a small mail, marked as automatic, that takes the route of the users' mail: through `sendmail` as cron's mail
does, or by SMTP to a listener. `ProbeTracker` follows it through the log.

Promise: one verdict a probe, at most `probe.timeout_seconds` after it was begun, also where sendmail or the listener
hangs; one that hangs delays no other route.
"""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import aiosmtplib

from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.probe.message import new_identifier, probe_message, read_key
from postward.agent.probe.result import ProbeResult
from postward.agent.probe.route import Route, routes_of
from postward.agent.probe.tracker import ProbeTracker
from postward.config.fields import split_address
from postward.config.settings import Settings
from postward.parsers import Cause

_LISTENER_TIMEOUT = 10.0  # seconds a step, for a listener of this host
_MAX_SUBMISSIONS = 16  # at the same time; sendmail can hang for its whole timeout


async def _no_flush() -> None:
    """Save nothing: a command has no checkpoint."""


class Prober:
    """Submits probes and waits for their verdicts.

    Args:
        settings: where probes go, and how.
        postfix: takes them.
        tracker: follows them through the log.
        flush: saves the checkpoint; awaited before a probe is submitted, so that a crash does not forget it.

    Attributes:
        routes: the routes that are probed.
        waiting: the number of probes whose verdict is awaited.

    Raises:
        KeyFileError: probe.key_file cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        postfix: Postfix,
        tracker: ProbeTracker,
        flush: Callable[[], Awaitable[None]] = _no_flush,
    ) -> None:
        self._settings = settings
        self._postfix = postfix
        self._tracker = tracker
        self._flush = flush
        self._key = read_key(Path(settings.probe.key_file)) if settings.probe.key_file else None
        self._threads = ThreadPoolExecutor(_MAX_SUBMISSIONS, "probe")
        self.routes = routes_of(settings)
        self.waiting = 0

    def is_awaited(self, route: Route) -> bool:
        """Return whether the arrival of a route's probes is watched: a mailbox is that of probe.recipient only."""
        probe = self._settings.probe
        return bool(probe.sink_url) or (self._settings.mailbox.is_set and route.recipient == probe.recipient)

    async def probe(self, route: Route) -> ProbeResult:
        """Submit one probe and wait for its verdict."""
        self.waiting += 1
        try:
            return await self._probe(route)
        finally:
            self.waiting -= 1

    async def _probe(self, route: Route) -> ProbeResult:
        identifier = new_identifier(time.time(), secrets.token_bytes(8), self._key)
        message = probe_message(self._settings, route, identifier, self._key)
        message_id = str(message["Message-ID"])
        logs_tls = await asyncio.get_running_loop().run_in_executor(self._threads, self._logs_tls)
        arrives = self.is_awaited(route)
        verdict = self._tracker.expect(message_id, route, arrives=arrives, logs_tls=logs_tls)
        try:
            async with asyncio.timeout(self._settings.probe.timeout_seconds):
                await self._flush()
                await self._submit(message, route)
                self._tracker.submitted(message_id)
                return await asyncio.shield(verdict)
        except TimeoutError:
            self._tracker.overdue(message_id)
        except (PostfixError, OSError, aiosmtplib.SMTPException) as error:
            self._tracker.fail(message_id, _submission_cause(error), " ".join(str(error).split()))
        return await verdict

    def _logs_tls(self) -> bool:
        """Return True if smtp(8) logs successful TLS sessions."""
        try:
            return self._postfix.expanded("smtp_tls_loglevel") not in {"", "0"}
        except PostfixError:
            return False

    async def withdraw(self, result: ProbeResult) -> None:
        """Delete a finished probe from the queue, as root only. A day's outage would else leave a day's probes."""
        if result.queue_id and not result.relayed and os.geteuid() == 0:
            with contextlib.suppress(PostfixError):
                await self._in_thread(self._postfix.delete, result.queue_id)

    def close(self) -> None:
        """Submit nothing more, and wait for no thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _submit(self, message: EmailMessage, route: Route) -> None:
        sender, recipient = route.sender, route.recipient
        if self._settings.probe.submit == "sendmail":
            data = message.as_bytes(policy=SMTP.clone(linesep="\n"))
            await self._in_thread(self._postfix.submit, data, sender, recipient)
            return
        host, port = split_address(self._settings.probe.listener)
        await aiosmtplib.send(
            message,
            sender=sender,
            recipients=[recipient],
            hostname=host,
            port=port,
            start_tls=False,
            timeout=_LISTENER_TIMEOUT,
        )

    async def _in_thread(self, function: Callable[..., object], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _submission_cause(error: Exception) -> Cause:
    if isinstance(error, aiosmtplib.SMTPConnectError | ConnectionRefusedError):
        return Cause.REFUSED
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return Cause.TIMEOUT
    return Cause.LOCAL_CONFIG

"""Probe mails: proof that mail goes out, and the step at which it stops.

A probe is a small mail, marked as automatic, that takes the way of the users' mail: through `sendmail` as cron's
does, or by SMTP to a listener. What becomes of it is told by `ProbeTracker`, which reads the log.

Promise: one verdict a probe, in `probe.timeout_seconds` at the latest, also where sendmail or the listener hangs; one
that hangs keeps none of another route waiting.
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
from email.utils import formatdate
from pathlib import Path

import aiosmtplib

from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.probe.message import (
    PROBE_HEADER,
    SEAL_HEADER,
    message_id_of,
    new_identifier,
    read_key,
    seal,
)
from postward.agent.probe.result import ProbeResult, Route
from postward.agent.probe.tracker import Limits, ProbeTracker
from postward.config.fields import split_address
from postward.config.settings import Settings
from postward.parsers import Cause

_LISTENER_DEADLINE = 10.0  # seconds that a listener of this host may take for a step
_SUBMITTERS = 16  # sendmail can hang for its whole deadline; so many may, before a submission waits


async def _not_written() -> None:
    """Who probes once remembers nothing."""


class Prober:
    """Sends probes and waits for their verdicts.

    Args:
        settings: where probes go, and how.
        postfix: who takes them.
        tracker: who sees what becomes of them.
        written: awaited before a probe is submitted: a crash does not forget it then.

    Raises:
        KeyFileError: probe.key_file cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        postfix: Postfix,
        tracker: ProbeTracker,
        written: Callable[[], Awaitable[None]] = _not_written,
    ) -> None:
        self._settings = settings
        self._postfix = postfix
        self._tracker = tracker
        self._written = written
        self._key = read_key(Path(settings.probe.key_file)) if settings.probe.key_file else None
        self._threads = ThreadPoolExecutor(_SUBMITTERS, "probe")
        self.routes = routes(settings)

    async def probe(self, route: Route) -> ProbeResult:
        """Send one probe and wait for its verdict."""
        identifier = new_identifier(time.time(), secrets.token_bytes(8), self._key)
        message = probe_message(self._settings, route.sender, identifier, self._key)
        message_id = str(message["Message-ID"])
        verdict = self._tracker.expect(message_id, route, arrives=bool(self._settings.probe.sink_url))
        try:
            async with asyncio.timeout(self._settings.probe.timeout_seconds):
                await self._written()
                await self._submit(message, route.sender)
                self._tracker.submitted(message_id)
                return await asyncio.shield(verdict)
        except TimeoutError:
            self._tracker.overdue(message_id)
        except (PostfixError, OSError, aiosmtplib.SMTPException) as error:
            self._tracker.fail(message_id, _why_not_taken(error), " ".join(str(error).split()))
        return await verdict

    async def withdraw(self, result: ProbeResult) -> None:
        """Take a probe that has served its purpose out of the queue, if that is for us to do (root).

        Otherwise an outage of a day would end in a day's worth of probes.
        """
        if result.queue_id and not result.relayed and os.geteuid() == 0:
            with contextlib.suppress(PostfixError):
                await self._in_thread(self._postfix.delete, result.queue_id)

    def close(self) -> None:
        """Submit nothing more: what still waits for a thread must not keep the agent from ending."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _submit(self, message: EmailMessage, sender: str) -> None:
        recipient = self._settings.probe.recipient
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
            timeout=_LISTENER_DEADLINE,
        )

    async def _in_thread(self, function: object, *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)  # type: ignore[arg-type]


def _why_not_taken(error: Exception) -> Cause:
    if isinstance(error, aiosmtplib.SMTPConnectError | ConnectionRefusedError):
        return Cause.REFUSED
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return Cause.TIMEOUT
    return Cause.LOCAL_CONFIG


def limits(settings: Settings) -> Limits:
    """How long probes may take."""
    return Limits(
        settings.probe.timeout_seconds, max(settings.probe.lost_after_seconds, settings.probe.timeout_seconds)
    )


def probe_message(settings: Settings, sender: str, identifier: str, key: bytes | None) -> EmailMessage:
    """A probe mail. It says that it is automatic (RFC 3834), so that nobody answers it."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = settings.probe.recipient
    message["Subject"] = f"Postward probe from {settings.host.myhostname}"
    message["Date"] = formatdate()
    message["Message-ID"] = message_id_of(identifier, settings.host.myhostname)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["User-Agent"] = "Postward"
    message[PROBE_HEADER] = identifier
    message.set_content("This mail shows that mail leaves this host. It can be deleted.\n")
    if key is not None:
        message[SEAL_HEADER] = seal(message, identifier, key)
    return message


def routes(settings: Settings) -> tuple[Route, ...]:
    """What is probed: each configured sender, and each relay at least once.

    A relay that no configured sender leads to is probed with a sender of its own: an address of its `senders`, or
    postward@ at a domain of them.
    """
    senders = list(dict.fromkeys([settings.probe_sender, *settings.probe.senders]))
    reached = {relay_of_sender(settings, sender) for sender in senders}
    for relay in settings.relay:
        if relay.name not in reached and relay.senders:
            entry = relay.senders[0]
            senders.append(f"postward{entry}" if entry.startswith("@") else entry)
    logins = {relay.name: bool(relay.username) for relay in settings.relay}
    found = [(relay_of_sender(settings, sender), sender) for sender in senders]
    return tuple(Route(relay, sender, logins[relay]) for relay, sender in found)


def relay_of_sender(settings: Settings, sender: str) -> str:
    """The relay that takes a sender's mail, as sender_dependent_relayhost_maps is looked up (postconf(5))."""
    domain = "@" + sender.rpartition("@")[2]
    for key in (sender.lower(), domain.lower()):
        for relay in settings.relay:
            if key in {entry.lower() for entry in relay.senders}:
                return relay.name
    return settings.relay[0].name

"""Probe mails: proof that mail goes out, and the step at which it stops.

A probe is a small mail, marked as automatic, that takes the way of the users' mail: through `sendmail` as cron's
does, or by SMTP to a listener. What becomes of it is told by `ProbeTracker`, which reads the log.

Promise: one result a probe: accepted, failed, or lost after the time-out.
"""

import asyncio
import contextlib
import os
import secrets
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

import aiosmtplib

from agent.postfix import Postfix, PostfixError
from agent.probe_tracker import ProbeResult, ProbeTracker
from config.fields import split_address
from config.settings import Settings


class Prober:
    """Sends probes and waits for their results."""

    def __init__(self, settings: Settings, postfix: Postfix, tracker: ProbeTracker) -> None:
        self._settings = settings
        self._postfix = postfix
        self._tracker = tracker
        self.relay = relay_of_sender(settings, settings.probe_sender)

    async def probe(self) -> ProbeResult:
        """Send one probe and wait for its result, at most `probe.timeout_seconds`.

        One that stays in the queue has served its purpose: root takes it out, so that an outage of a day does not
        end in a day's worth of probes.
        """
        result = await self._probe()
        if not result.accepted and result.queue_id and os.geteuid() == 0:
            with contextlib.suppress(PostfixError):
                await asyncio.to_thread(self._postfix.delete, result.queue_id)
        return result

    async def _probe(self) -> ProbeResult:
        identifier = secrets.token_hex(8)
        message = probe_message(self._settings, identifier)
        message_id = str(message["Message-ID"])
        result = self._tracker.expect(message_id, self.relay)
        try:
            async with asyncio.timeout(self._settings.probe.timeout_seconds):
                await self._submit(message)
                return await asyncio.shield(result)
        except TimeoutError:
            self._tracker.give_up(message_id)
            return await result
        except (PostfixError, OSError, aiosmtplib.SMTPException) as error:
            self._tracker.give_up(message_id)
            return ProbeResult(
                self.relay, "failed", "submit", None, str(error), (await result).timeline, None
            )

    async def _submit(self, message: EmailMessage) -> None:
        settings = self._settings
        sender, recipient = settings.probe_sender, settings.probe.recipient
        if settings.probe.submit == "sendmail":
            data = message.as_bytes(policy=SMTP.clone(linesep="\n"))
            await asyncio.to_thread(self._postfix.submit, data, sender, recipient)
            return
        host, port = split_address(settings.probe.listener)
        await aiosmtplib.send(
            message,
            sender=sender,
            recipients=[recipient],
            hostname=host,
            port=port,
            start_tls=False,
            timeout=10,
        )


def probe_message(settings: Settings, identifier: str) -> EmailMessage:
    """A probe mail. It says that it is automatic (RFC 3834), so that nobody answers it."""
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.probe_sender
    message["To"] = settings.probe.recipient
    message["Subject"] = f"Postward probe from {settings.host.myhostname}"
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{identifier}.postward-probe@{settings.host.myhostname}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["X-Postward-Probe"] = identifier
    message.set_content("This mail shows that mail leaves this host. It can be deleted.\n")
    return message


def relay_of_sender(settings: Settings, sender: str) -> str:
    """The relay that takes a sender's mail, as sender_dependent_relayhost_maps is looked up (postconf(5))."""
    domain = "@" + sender.rpartition("@")[2]
    for key in (sender.lower(), domain.lower()):
        for relay in settings.relay:
            if key in {entry.lower() for entry in relay.senders}:
                return relay.name
    return settings.relay[0].name

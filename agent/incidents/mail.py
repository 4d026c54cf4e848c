"""Notices and reports by mail, sent by the agent itself to a relay that does not fail: Postfix may be what is broken.

Promise: a login is attempted only as often as the throttle allows, and the relay's TLS and certificate are what the
settings require; otherwise the mail is not sent.
"""

from collections.abc import Collection
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final

from postward.agent.incidents.services import Digest, Notice, Sent
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.relay.monitor import throttled_check
from postward.config.settings import Settings
from postward.parsers.scrub import printable

_MAX_SUBJECT: Final = 150  # characters
# Folded at the usual length, a subject can begin with an empty line, which filters of spam count.
_POLICY: Final = SMTP.clone(max_line_length=990)


def notice_mail(settings: Settings, notice: Sent, to: str = "") -> EmailMessage:
    """Return the mail to `to`, or else to `notify.mail_to`.

    Its headers say that it is automatic (RFC 3834), so that no responder answers.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = settings.notify.mail_from or settings.probe_sender
    message["To"] = to or settings.notify.mail_to
    message["Subject"] = printable(notice.headline[:_MAX_SUBJECT])
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{notice.id}.postward@{settings.host.myhostname}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["User-Agent"] = "Postward"
    message.set_content(f"{notice.headline}\n\n{notice.body}\n")
    if isinstance(notice, Digest):
        message.add_attachment(notice.page, subtype="html", filename="report.html")
    return message


async def mail_notice(
    settings: Settings, throttle: LoginThrottle | None, notice: Sent, failing: Collection[str], to: str = ""
) -> str:
    """Send a notice to the first relay that takes it, and return why none did; "" if one did.

    Args:
        settings: the relays, and the recipient.
        throttle: of logins.
        notice: the notice, or a report.
        failing: names of relays with an open incident, which are not tried; nor is that of a notice that opens one.
        to: the recipient; "": `notify.mail_to`.
    """
    avoided = {*failing}
    if isinstance(notice, Notice) and not notice.is_over:
        avoided.add(notice.row["relay"])
    relays = [relay for relay in settings.relays_with_server if relay.name not in avoided]
    mail = notice_mail(settings, notice, to)
    envelope, problems = (str(mail["From"]), str(mail["To"])), []
    for relay in relays:
        check = await throttled_check(relay, settings, throttle, envelope, mail.as_bytes())
        if check.sent:
            return ""
        problems.append(f"relay {relay.name}: {check.detail or check.auth_detail or 'not accepted'}")
    return "; ".join(problems) or "no relay of the settings works"

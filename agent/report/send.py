"""Reports that are sent: which one is due, and by which ways it still has to leave.

Promise: each report leaves once by each way, also if the timer runs more often, the host was off on the day, or one way
fails and is tried again: a file in the state directory names the last report of each way.

How it fails: a way that does not take the report is named, and is tried again at the next run.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from postward.agent.fsutil import replace_owned
from postward.agent.incidents.mail import mail_notice
from postward.agent.incidents.notify import host_of, reason_of_failure, send_request
from postward.agent.incidents.services import SERVICES, Digest
from postward.agent.relay.login_throttle import LoginThrottle
from postward.agent.report.html import as_page
from postward.agent.report.period import Period
from postward.agent.report.text import as_text, change
from postward.agent.stored import Form, read_stored
from postward.agent.text import moment, plural
from postward.config.sections import Report
from postward.config.settings import Settings

MAIL, WEBHOOK = "mail", "webhook"
_FORM: Form[dict[str, str]] = Form(dict[str, str])


def period_of(settings: Report, now: datetime) -> Period | None:
    """Return the time of the report that is due last; None if no reports are sent."""
    if settings.send == "never":
        return None
    return Period.yesterday(now) if settings.send == "daily" else Period.last_week(now)


class SentReports:
    """The last report that left by each way.

    Args:
        directory: the agent's state directory.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "reports.json"
        try:
            self._last = read_stored(self._path, _FORM)
        except (OSError, ValueError):
            self._last = {}

    def due(self, settings: Settings, period: Period) -> list[str]:
        """Return the ways by which the report on a period still has to leave."""
        ways = [MAIL] * bool(settings.report_to) + [WEBHOOK] * settings.report.webhook
        return [way for way in ways if self._last.get(way) != _name(period)]

    def note(self, way: str, period: Period) -> None:
        """Record that a report has left. Raises OSError."""
        self._last[way] = _name(period)
        replace_owned(self._path, json.dumps(self._last).encode(), mode=0o640)


def _name(period: Period) -> str:
    return f"{moment(period.since)}/{moment(period.until)}"


def digest_of(report: Mapping[str, Any], host: str, files: list[str], version: str) -> Digest:
    """Return what is sent.

    Args:
        report: as `summarise` returns it.
        host: the name of this host.
        files: the logs that were read.
        version: of Postward.
    """
    period, totals = report["period"], report["totals"]
    before = (report["before"] or {}).get("totals") or {}
    changed = change(totals["delivered"], before["delivered"]) if before else ""
    day = period["since"][:10]
    title = f"Mail of {host} on {day}" if _is_day(period) else f"Mail of {host}, week from {day}"
    parts = [
        f"{totals['delivered']:,} delivered{f' ({changed})' if changed else ''}",
        f"{totals['bounced']:,} bounced",
        plural(len(report["incidents"]), "incident"),
    ]
    body = as_text(dict(report))
    return Digest(
        host,
        secrets.token_hex(8),
        f"{title}: {', '.join(parts)}",
        body,
        report,
        as_page(report, files, version),
    )


def _is_day(period: Mapping[str, Any]) -> bool:
    first, last = (datetime.fromisoformat(period[name]) for name in ("since", "until"))
    return (last - first).days <= 1


async def send_by(way: str, settings: Settings, digest: Digest, failing: frozenset[str]) -> str:
    """Send a report by one way, and return why it was not accepted; "" if it was.

    Args:
        way: MAIL or WEBHOOK.
        settings: recipient, relays and web hook.
        digest: the report.
        failing: names of relays with an open incident, which are not tried.
    """
    if way == MAIL:
        throttle = LoginThrottle.of_settings(settings)
        reason = await mail_notice(settings, throttle, digest, failing, settings.report_to)
        return f"report.mail_to: {reason}" if reason else ""
    service, name = SERVICES[settings.notify.template], f"notify.webhook_url: {host_of(settings.notify.url)}"
    try:
        answer = send_request(service.request(settings.notify, digest))
    except (OSError, ValueError) as error:
        return f"{name}: {reason_of_failure(error)}"
    return (
        ""
        if service.accepts(answer.status, answer.body)
        else f"{name}: answered {answer.status}, but did not accept the report"
    )

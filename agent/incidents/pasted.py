"""What one pasted error means: a server's reply, a bounce's text, or a text of Postfix without its header."""

import re
from datetime import datetime
from typing import Final

from postward.agent.incidents.catalog.table import of_context
from postward.agent.incidents.diagnosis import diagnose, to_dict
from postward.agent.incidents.model import Certainty, Incident, IncidentRow
from postward.agent.incidents.tracker import IncidentTracker
from postward.agent.metrics.labels import RelayNames
from postward.parsers import parse
from postward.parsers.scrub import printable, scrub

_HEADER: Final = "postfix/{daemon}[0]: "
# Daemons whose texts are pasted, the SMTP client first.
_DAEMONS: Final = (
    "smtp",
    "smtpd",
    "cleanup",
    "qmgr",
    "master",
    "trivial-rewrite",
    "pickup",
    "local",
    "postfix-script",
)
_REPLY: Final = re.compile(r"[45][0-9]{2}(?:[ -]|\Z)")
_CODE: Final = re.compile(r"(?<![\d.])[45][0-9]{2}(?![\d.])")
_ENHANCED: Final = re.compile(r"(?<![\d.])[45]\.[0-9]{1,3}\.[0-9]{1,3}(?![\d.])")
# RFC 4954: replies to AUTH.
_TO_AUTH: Final = re.compile(r"(?:53[458]|432|454)\b")
_COMMANDS: Final = ("MAIL FROM", "RCPT TO", "end of DATA")
_RELAY: Final = "relay[192.0.2.1]:587"


def explain_pasted(text: str, now: datetime) -> list[IncidentRow]:
    """Return what a pasted error means; several rows, all ambiguous, if that depends on what the text does not say.

    Args:
        text: a log line with or without its header, the text of a bounce, or a server's reply.
        now: the time of the error.
    """
    text = " ".join(text.split())
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    readings = [[text], *([_HEADER.format(daemon=daemon) + text] for daemon in _DAEMONS), _deliveries(text)]
    for lines in readings:
        incidents = {incident.symptom: incident for line in lines for incident in _incidents_of(line, now)}
        if not _CODE.search(text):  # a text without a reply's code can be anything
            incidents.pop("other", None)
        if incidents:
            return [_row(incident, text, is_only=len(incidents) == 1) for incident in incidents.values()]
    return []


def _incidents_of(line: str, now: datetime) -> list[Incident]:
    record, event = parse(line)
    tracker = IncidentTracker(RelayNames(), lambda: now)
    if record is not None and event is not None:
        tracker.observe(record, event)
        if not tracker.open and of_context(record.text) is not None:
            tracker.observe_excerpt([(record, event)])
    return tracker.open


def _row(incident: Incident, text: str, *, is_only: bool) -> IncidentRow:
    row = to_dict(incident, diagnose(incident), addresses=True)
    row["evidence"] = [printable(scrub(text))]
    row["certainty"] = row["certainty"] if is_only else Certainty.AMBIGUOUS.value
    return row


def _deliveries(text: str) -> list[str]:
    """Return the failed deliveries whose reason the text may be: smtp/smtp_trouble.c, smtp/smtp_sasl_glue.c."""
    reply = _REPLY.match(text)
    if reply is None or "(in reply to " in text:
        reasons = [text if reply is None else f"host {_RELAY} said: {text}"]
    elif _TO_AUTH.match(text):
        reasons = [f"SASL authentication failed; server {_RELAY} said: {text}"]
    else:
        reasons = [f"host {_RELAY} said: {text} (in reply to {command} command)" for command in _COMMANDS]
    code = _CODE.search(text)
    dsn = _ENHANCED.search(text)
    number = (dsn or code or ["4"])[0][0]
    # Postfix keeps mail after a refused login (smtp_sasl_auth_soft_bounce).
    status = "bounced" if number == "5" and "SASL authentication failed" not in reasons[0] else "deferred"
    keys = (
        f"00000: to=<recipient@example.com>, relay={_RELAY}, delay=0, delays=0/0/0/0, "
        f"dsn={dsn[0] if dsn else f'{number}.0.0'}, status={status}"
    )
    return [f"{_HEADER.format(daemon='smtp')}{keys} ({reason})" for reason in reasons]

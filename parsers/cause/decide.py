"""The cause, step and next hop of an event."""

import re
from functools import lru_cache
from typing import Any, Final

from postward.parsers import events
from postward.parsers.cause.causes import Cause
from postward.parsers.cause.phrases import PHRASES, Phrase, command_name, system_error_cause
from postward.parsers.cause.reply import read_reply, reply_cause
from postward.parsers.events import Attempt, ConnectFailed, Delivery, Event
from postward.parsers.fields import split_peer

__all__ = [
    "DELIVERED",
    "Cause",
    "bare_reason",
    "cause_of",
    "cause_of_delivery",
    "cause_of_diagnostic",
    "classify",
    "next_hop",
    "relay_host_of",
    "step_of",
]

_REMEMBERED: Final = 4096  # reasons, without the address of the relay, which never affects their cause
_RECENT: Final = 64  # reasons
_ADDRESS_OF_PEER: Final = re.compile(r"\[[0-9A-Fa-f.:]++\]")
_causes: dict[tuple[str, str | None], Cause] = {}
SUSPENDED: Final = "delivery temporarily suspended: "  # qmgr/qmgr_deliver.c

# Values of status= for success: global/sent.c, global/verify.c, global/trace.c.
DELIVERED: Final = frozenset({"sent", "deliverable", "delivered", "relayed", "expanded"})

# Events with one cause, whatever their text.
_BY_EVENT: Final[dict[type[Any], Cause]] = {
    events.TlsFailed: Cause.TLS_HANDSHAKE,
    events.CertificateNotVerified: Cause.TLS_VERIFY,
    events.SaslFailed: Cause.AUTH_MECHANISM,
    events.MechanismsUnsupported: Cause.AUTH_MECHANISM,
    events.NameLookupProblem: Cause.DNS,
    events.LoopDetected: Cause.LOOP,
    events.TlsDisabled: Cause.LOCAL_CONFIG,
    events.WrapperModeNeeded: Cause.LOCAL_CONFIG,
    events.BadDestination: Cause.LOCAL_CONFIG,
    events.TableUnavailable: Cause.LOCAL_CONFIG,
    events.LookupFailed: Cause.LOCAL_CONFIG,
    events.TransportUnavailable: Cause.LOCAL_CONFIG,
    events.TransportFailed: Cause.LOCAL_CONFIG,
    events.BadParameter: Cause.LOCAL_CONFIG,
    events.ConfigurationProblem: Cause.LOCAL_CONFIG,
    events.ResourceProblem: Cause.LOCAL_RESOURCE,
}

# The step of an event whose text names no step.
_STEP_BY_EVENT: Final[dict[type[Any], str]] = {
    events.NameLookupProblem: "dns",
    events.ConnectFailed: "connect",
    events.BadDestination: "connect",
    events.LoopDetected: "ehlo",
    events.TlsFailed: "tls",
    events.CertificateNotVerified: "tls",
    events.TlsLibraryProblem: "tls",
    events.TlsDisabled: "tls",
    events.WrapperModeNeeded: "tls",
    events.SaslFailed: "auth",
    events.MechanismsUnsupported: "auth",
}

# A reply within the text of another server: "host … said: 550 …", "Remote host said: 550-5.1.1 …".
_REPLY_WITHIN: Final = re.compile(r"(?<![\d.])[245]\d\d[ -]#?(?:[245]\.\d{1,3}\.\d{1,3}\b|(?=\D))")
_ANSWERED: Final = re.compile(r"\(in reply to (?P<command>[\w /-]{1,40})\)")

_NAME_SERVICE: Final = re.compile(
    r"(?:Host or domain name not found\. )?Name service error for name=(?P<host>\S+) type=\w+: ", re.DOTALL
)
_LOOK_UP: Final = re.compile(r"unable to look up host (?P<host>\S+): ", re.DOTALL)
_NEXT_HOP_PEER: Final = re.compile(r"connect to (?P<peer>[^\s\[\]]*+\[[^\]]*+\](?::\d+)?): ", re.DOTALL)
_TALKED_TO: Final = re.compile(
    r"(?:host|(?:lost connection|conversation) with|SASL (?:\[CACHED\] )?authentication failed; server"
    r"|local data error while talking to) (?P<peer>[^\s\[\]]++\[[^\]]*+\])",
    re.DOTALL,
)


def classify(reason: str, dsn: str | None = None) -> Cause:
    """Return the cause of a reason. The record's DSN replaces a missing enhanced code of a reply."""
    key = (_ADDRESS_OF_PEER.sub("", reason, count=1), dsn)
    cause = _causes.get(key)
    if cause is None:
        if len(_causes) >= _REMEMBERED:
            _causes.clear()
        cause = _causes[key] = _classify(reason, dsn)
    return cause


def _classify(reason: str, dsn: str | None) -> Cause:
    matched = _find(bare_reason(reason))
    if matched is not None:
        phrase, match = matched
        cause = phrase.cause if isinstance(phrase.cause, Cause) else phrase.cause(match, dsn)
        if cause is not None:
            return cause
    return Cause.OTHER


def cause_of(event: Event) -> Cause | None:
    """Return why this event is a failure, or None if it is not a failure."""
    kind = type(event)
    if isinstance(event, Delivery):
        return cause_of_delivery(event.status, event.relay, event.reason, event.dsn)
    if isinstance(event, Attempt):
        return classify(event.reason)
    if isinstance(event, ConnectFailed):
        return system_error_cause(event.error)
    return _BY_EVENT.get(kind)


def cause_of_delivery(status: str, relay: str, reason: str | None, dsn: str | None) -> Cause | None:
    """Return why a delivery with these fields failed, or None if it did not."""
    if status in DELIVERED:
        return None
    cause = classify(reason or "", dsn)
    # error(8) never connects; its text comes from main.cf, master.cf or a table.
    return Cause.LOCAL_CONFIG if cause is Cause.OTHER and relay == "none" else cause


def cause_of_diagnostic(text: str, status: str | None) -> Cause:
    """Return the cause of a failure that another server reports, as in a Diagnostic-Code of RFC 3464.

    Args:
        text: its reason: of Postfix's own, a reply, or prose with a reply in it.
        status: the enhanced status code.
    """
    dsn = status or None
    cause = classify(text, dsn)
    if cause is not Cause.OTHER:
        return cause
    found, answered = _REPLY_WITHIN.search(text), _ANSWERED.search(text)
    # Without its command, a reply about the address is one to RCPT TO, and any other comes at the end of the mail.
    command = (
        command_name(answered["command"]) if answered else "rcpt" if (dsn or "")[2:4] == "1." else "data"
    )
    return reply_cause(read_reply(text[found.start() :] if found else text, command, dsn)) or Cause.OTHER


def step_of(event: Event) -> str:
    """Return the step of sending that an event reached: from "queue" to "data"."""
    if not isinstance(event, Delivery | Attempt):
        return _STEP_BY_EVENT.get(type(event), "queue")
    if isinstance(event, Delivery) and event.status in DELIVERED:
        return "data"
    matched = _find(bare_reason(event.reason or ""))
    if matched is None:
        return "queue"
    phrase, match = matched
    return phrase.step if isinstance(phrase.step, str) else phrase.step(match)


def relay_host_of(event: Event) -> tuple[str, int | None] | None:
    """Return host and port of an event's next hop, from its peer or its reason; the port may be None."""
    if isinstance(event, Delivery):
        return next_hop(event.relay, event.reason)
    if isinstance(event, Attempt):
        return _host_of_reason(event.reason)
    peer: str | None = getattr(event, "peer", None)
    return _host_of_peer(peer) if peer else None


def next_hop(relay: str, reason: str | None) -> tuple[str, int | None] | None:
    """Return host and port of a delivery's next hop, from these fields; the port may be None."""
    return _host_of_peer(relay if "[" in relay else "") or _host_of_reason(reason)


def bare_reason(reason: str) -> str:
    """Strip the prefix that qmgr puts before the reason of an earlier attempt."""
    while reason.startswith(SUSPENDED):
        reason = reason[len(SUSPENDED) :]
    return reason


def without_output(reason: str) -> str:
    """Return a reason of pipe(8) or local(8) without the output of the command, which a mail may shape."""
    return reason.partition(" Command output: ")[0]


@lru_cache(maxsize=_RECENT)
def _find(reason: str) -> tuple[Phrase, re.Match[str]] | None:
    for phrase in PHRASES:
        match = phrase.pattern.match(reason)
        if match is not None:
            return phrase, match
    return None


def _host_of_peer(peer: str) -> tuple[str, int | None] | None:
    host, _, port = split_peer(peer)
    return (host, port) if host else None


def _host_of_reason(reason: str | None) -> tuple[str, int | None] | None:
    bare = bare_reason(reason or "")
    for pattern in (_NEXT_HOP_PEER, _TALKED_TO):
        if (match := pattern.match(bare)) is not None:
            return _host_of_peer(match["peer"])
    for pattern in (_NAME_SERVICE, _LOOK_UP):
        if (match := pattern.match(bare)) is not None:
            return match["host"], None
    return None

"""Why an attempt to deliver failed, at which step, and on the way to which host.

Decided in this order: Postfix's own phrase (``postward.parsers.phrases``); the enhanced status code with the command
it replied to; the reply code (both ``postward.parsers.reply``). Everything is pure and total: a reason that nothing fits is
``Cause.OTHER``, and an event that tells of no failure has no cause.
"""

import re
from typing import Any, Final

from postward.parsers import events
from postward.parsers.cause.causes import Cause
from postward.parsers.cause.phrases import PHRASES, Phrase, system_error_cause
from postward.parsers.events import Attempt, ConnectFailed, Delivery, Event
from postward.parsers.fields import split_peer

__all__ = ["DELIVERED", "Cause", "bare_reason", "cause_of", "classify", "relay_host_of", "step_of"]

SUSPENDED: Final = "delivery temporarily suspended: "  # qmgr/qmgr_deliver.c

# The status words of success: global/sent.c, global/verify.c, global/trace.c.
DELIVERED: Final = frozenset({"sent", "deliverable", "delivered", "relayed", "expanded"})

# Events that stand for one cause whatever their text.
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

# The step of an event that names none itself.
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

_NAME_SERVICE: Final = re.compile(
    r"(?:Host or domain name not found\. )?Name service error for name=(?P<host>\S+) type=\w+: ", re.DOTALL
)
_LOOK_UP: Final = re.compile(r"unable to look up host (?P<host>\S+): ", re.DOTALL)
_NEXT_HOP_PEER: Final = re.compile(r"connect to (?P<peer>[^\s\[\]]*+\[[^\]]*+\](?::\d+)?): ", re.DOTALL)
_TALKED_TO: Final = re.compile(
    r"(?:host|(?:lost connection|conversation) with|SASL (?:\[CACHED\] )?authentication failed; server"
    r"|local data error while talking to) (?P<peer>[^\s\[\]]++\[[^\]]*+\])", re.DOTALL
)  # fmt: skip


def classify(reason: str, dsn: str | None = None) -> Cause:
    """The cause that a reason tells of; the record's own code helps where a reply has none."""
    found = _find(bare_reason(reason))
    if found is not None:
        phrase, match = found
        cause = phrase.cause if isinstance(phrase.cause, Cause) else phrase.cause(match, dsn)
        if cause is not None:
            return cause
    return Cause.OTHER


def cause_of(event: Event) -> Cause | None:
    """Why this event is a failure, or None where it is none."""
    kind = type(event)
    if isinstance(event, Delivery):
        if event.status in DELIVERED:
            return None
        cause = classify(event.reason or "", event.dsn)
        # error(8) bounces or defers with whatever text main.cf or a table gives it, and never connects.
        return Cause.LOCAL_CONFIG if cause is Cause.OTHER and event.relay == "none" else cause
    if isinstance(event, Attempt):
        return classify(event.reason)
    if isinstance(event, ConnectFailed):
        return system_error_cause(event.error)
    return _BY_EVENT.get(kind)


def step_of(event: Event) -> str:
    """At which step of sending an event stands, or stopped: from "queue" to "data"."""
    if not isinstance(event, Delivery | Attempt):
        return _STEP_BY_EVENT.get(type(event), "queue")
    if isinstance(event, Delivery) and event.status in DELIVERED:
        return "data"
    found = _find(bare_reason(event.reason or ""))
    if found is None:
        return "queue"
    phrase, match = found
    return phrase.step if isinstance(phrase.step, str) else phrase.step(match)


def relay_host_of(event: Event) -> tuple[str, int | None] | None:
    """The host and port that an event's attempt was meant for: of its peer, or as its reason names it."""
    if isinstance(event, Delivery):
        return _host_of_peer(event.relay if "[" in event.relay else "") or _host_of_reason(event.reason)
    if isinstance(event, Attempt):
        return _host_of_reason(event.reason)
    peer: str | None = getattr(event, "peer", None)
    return _host_of_peer(peer) if peer else None


def bare_reason(reason: str) -> str:
    """A reason without the prefix that qmgr puts before the reason of an earlier attempt."""
    while reason.startswith(SUSPENDED):
        reason = reason[len(SUSPENDED) :]
    return reason


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

"""The words that Postfix itself wrote in a line, without those that it repeats of strangers.

Clients, servers, senders, recipients and users of this host choose some of the text: a command, a HELO name, a Subject, an
address. It is data of the event, and must not be taken for a complaint of Postfix, whatever it imitates.

Replies of a server to a delivery stay: the server says why it refuses mail, and `cause` weighs such words.
"""

import re
from typing import Any, Final

from postward.parsers import events as ev
from postward.parsers.cause import without_output
from postward.parsers.events import Event
from postward.parsers.grammar import CLIENT, PEER, QUEUE_ID

_GAP: Final = "…"

# Event → the first field that a stranger writes, and what stands before its value. All that follows is left out.
_FIELDS: Final[dict[type[Any], tuple[str, str]]] = {
    ev.ClientLost: ("stage", " "),
    ev.ClientMisbehaved: ("detail", " "),
    ev.ClientNote: ("text", ""),
    ev.ClientSaslFailed: ("reason", " "),
    ev.ContentAction: ("content", " "),
    ev.DnsListed: ("reply", " as "),
    ev.Expired: ("from_", "from=<"),
    ev.HostnameMismatch: ("hostname", " "),
    ev.LoopDetected: ("name", " "),
    ev.MechanismsUnsupported: ("mechanisms", "'"),
    ev.Screened: ("detail", " "),
    ev.ServerReply: ("reply", ": "),
    ev.TlsAcceptFailed: ("reason", ": "),
}
# In the text of a verdict: the client's input in brackets, and the reply of a DNS list.
_QUOTED: Final = re.compile(r"<.*>(?=: |\Z)|(?<=; ).*", re.DOTALL)
# The reply of a Milter, but for the one that Postfix gives in its place.
_OF_MILTER: Final = re.compile(r"(?!\d{3} \S+ Service unavailable - try again later\Z).*", re.DOTALL)
_KEY: Final = re.compile(r"(?<= for ).*?(?= -- (?:message not accepted|deferring)|\Z)", re.DOTALL)

# The start of messages that end in the words of a stranger.
_BEFORE: Final = re.compile(
    r"valid_(?:mailhost_)?host\w+: [\w ()-]+: "  # util/valid_hostname.c
    rf"|Refusing \w+ request |Illegal address syntax from {CLIENT} in \S+ command: "  # smtpd/smtpd.c
    rf"|(?:{QUEUE_ID}: )?non-SMTP command from {CLIENT}: |NOQUEUE: abort: TLS from {CLIENT}: "
    r"|ignoring malformed header: '"  # cleanup/cleanup_message.c
    rf"|{QUEUE_ID}: Milter (?:or header/body_checks )?request to \w+ \S+: "  # cleanup/cleanup_milter.c
    rf"|{QUEUE_ID}: (?:message rejected: [^:]+|ignoring [\w -]+?)[:<] "  # cleanup/cleanup_envelope.c
    rf"|{QUEUE_ID}: (?:replacing server reply|breaking line > \d+ bytes with \S+|enabling PIX workarounds) "  # smtp/smtp_chat.c
    rf"|(?:{PEER}|\S+): (?:\w+: )?subject_CN=|{PEER}: certificate verification "  # tls/tls_client.c, tls/tls_server.c
    r"|(?:(?:server|client) )?certificate verification failed for \S+: (?:untrusted issuer |[^/]*(?=/))"  # tls/tls_verify.c
    r"|required alias not found: |recipient nesting limit exceeded for |no @ in recipient address: "  # local
    r"|(?:bad home directory syntax for|unknown home directory for): "
    rf"|{QUEUE_ID}: address with illegal extension: ",
    re.DOTALL,
)

_BEFORE_USER: Final = re.compile(
    r"uid=\d+: ignoring [\w ]+: "  # postdrop/postdrop.c
    r"|-f option specified malformed sender: |bad -\w option(?: value)?: "  # sendmail/sendmail.c
)


def own_words(text: str, event: Event | None) -> str:
    """Return the text of a line without the words of strangers; `event` is what `parse_event` returned for it."""
    if (before := _BEFORE_USER.match(text)) is not None:
        return f"{before[0]}{_GAP}"
    if isinstance(event, ev.SubmissionFailed) and event.user is not None:
        return f"{_GAP}({event.uid}): {event.text}"
    if (before := _BEFORE.match(text)) is not None:
        return f"{before[0]}{_GAP}"
    if isinstance(event, ev.ClientVerdict):
        head, _, _ = text.partition(f": {event.text}")
        quoted = _OF_MILTER if event.action.startswith("milter-") else _QUOTED
        return f"{head}: {quoted.sub(_GAP, event.text, count=1)}"
    if isinstance(event, ev.Delivery):
        return _of_delivery(event)
    if isinstance(event, ev.LookupFailed):
        return _KEY.sub(_GAP, text)
    name, label = _FIELDS.get(type(event), ("", ""))
    value = getattr(event, name, None)
    return f"{text.partition(f'{label}{value}')[0]}{label}{_GAP}" if value else text


def _of_delivery(event: ev.Delivery) -> str:
    """Return a delivery record without its addresses and the output of a command."""
    fields = event._replace(queue_id="", to="", orig_to=None, reason=None)._asdict()
    keys = ", ".join(f"{name}={value}" for name, value in fields.items() if value)
    reason = f" ({without_output(event.reason)})" if event.reason else ""
    return f"{event.queue_id}: to=<{_GAP}>, {keys}{reason}"

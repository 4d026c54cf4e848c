"""A mail server's reply, to a cause.

Promises: decided by the enhanced status code together with the command it replied to, then by the reply code.
A small table of phrases, which providers use where their codes say nothing, serves six causes only.
Nothing raises; a reply that nothing fits is None.
"""

import re
from typing import Final, NamedTuple

from postward.parsers.cause.causes import Cause

_REPLY: Final = re.compile(r"([245]\d\d)[ -]?(?:#?([245]\.\d{1,3}\.\d{1,3})\b)?")
_ENHANCED: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")


class Reply(NamedTuple):
    """A reply's codes, its words in lower case, and the command it answers ("" where Postfix names none)."""

    code: str
    subject: tuple[int, int] | None
    words: str
    command: str


def read_reply(text: str, command: str, dsn: str | None = None) -> Reply:
    """Takes a reply apart; the record's own DSN helps only where the reply has no enhanced code."""
    match = _REPLY.match(text)
    code = match[1] if match is not None else ""
    enhanced = match[2] if match is not None else None
    return Reply(code or (f"{dsn[0]}00" if dsn else ""), _subject(enhanced or dsn), text.casefold(), command)


def _subject(enhanced: str | None) -> tuple[int, int] | None:
    match = _ENHANCED.match(enhanced or "")
    return (int(match[2]), int(match[3])) if match is not None else None


# RFC 3463 and the IANA registry; numbers above 5.7.50 and 5.2.200 are Exchange Online's.
# These say enough by themselves, whatever the text goes on to say.
_DECISIVE: Final[dict[tuple[int, int], Cause]] = {
    (1, 1): Cause.RECIPIENT_REJECTED,
    (1, 2): Cause.RECIPIENT_REJECTED,
    (1, 3): Cause.RECIPIENT_REJECTED,
    (1, 6): Cause.RECIPIENT_REJECTED,
    (1, 10): Cause.RECIPIENT_REJECTED,
    (2, 252): Cause.SENDER_REJECTED,
    (3, 4): Cause.SIZE,
    (4, 6): Cause.LOOP,
    (4, 14): Cause.LOOP,
    (6, 7): Cause.CONTENT,
    (7, 8): Cause.AUTH_REJECTED,
    (7, 10): Cause.TLS_REQUIRED,
    (7, 11): Cause.TLS_REQUIRED,
    (7, 54): Cause.RELAY_DENIED,
    (7, 57): Cause.AUTH_REQUIRED,
    (7, 60): Cause.SENDER_REJECTED,
    (7, 64): Cause.RELAY_DENIED,
}

_ENHANCED_CAUSES: Final[dict[tuple[int, int], Cause]] = {
    (1, 7): Cause.SENDER_REJECTED,
    (1, 8): Cause.SENDER_REJECTED,
    (2, 1): Cause.RECIPIENT_REJECTED,
    (2, 2): Cause.RECIPIENT_REJECTED,
    (2, 3): Cause.SIZE,
    (5, 3): Cause.RATE_LIMIT,
    (7, 9): Cause.AUTH_REQUIRED,
    (7, 12): Cause.AUTH_REJECTED,
    (7, 13): Cause.AUTH_REJECTED,
    (7, 16): Cause.SIZE,
    (7, 17): Cause.RECIPIENT_REJECTED,
    (7, 18): Cause.RECIPIENT_REJECTED,
    (7, 27): Cause.SENDER_REJECTED,
    (7, 28): Cause.RATE_LIMIT,
    (7, 139): Cause.AUTH_REJECTED,
    (7, 705): Cause.QUOTA,
    (7, 708): Cause.BLOCKED,
    (7, 750): Cause.SENDER_REJECTED,
}

# RFC 5321 and RFC 4954, for replies without an enhanced code or with one that tells nothing.
_CODES: Final[dict[str, Cause]] = {
    "421": Cause.REMOTE_TEMPORARY,
    "432": Cause.AUTH_REJECTED,
    "521": Cause.GREETING_REFUSED,
    "530": Cause.AUTH_REQUIRED,
    "534": Cause.AUTH_REJECTED,
    "535": Cause.AUTH_REJECTED,
    "538": Cause.TLS_REQUIRED,
    "541": Cause.CONTENT,
    "551": Cause.RECIPIENT_REJECTED,
    "552": Cause.SIZE,
    "556": Cause.RECIPIENT_REJECTED,
}

_BY_COMMAND: Final[dict[str, Cause]] = {
    "mail": Cause.SENDER_REJECTED,
    "rcpt": Cause.RECIPIENT_REJECTED,
    "data": Cause.CONTENT,
}

_PROTOCOL_CODES: Final = frozenset({"500", "502", "503", "504", "555"})
_PROTOCOL_ERRORS: Final = frozenset({(5, 1), (5, 2), (5, 4), (5, 5), (5, 6)})

# x.7.1, delivery not authorized: what was not authorized follows from the command it answers.
_NOT_AUTHORIZED: Final[dict[str, Cause]] = {
    "mail": Cause.SENDER_REJECTED,
    "rcpt": Cause.RELAY_DENIED,
    "data": Cause.CONTENT,
}

# The few phrases that stand for a cause whatever the codes: replies of the large providers and of Postfix,
# Exim, Sendmail and Exchange servers, lower case. Order decides where a reply holds several.
PROVIDER_PHRASES: Final[tuple[tuple[Cause, str], ...]] = (
    (Cause.HELO_REJECTED, (r"helo command rejected|invalid (?:helo|ehlo)|(?:helo|ehlo)(?: name| argument| host)?"
     r" (?:is )?(?:invalid|not accepted|rejected|does not resolve)|bad helo|helo/ehlo|need fully-qualified hostname"
     r"|try again later, closing connection\. \(ehlo\)")),
    (Cause.GREYLISTED, r"gr[ea]y-?\s?list|temporarily deferred, please try again in \d+ (?:seconds|minutes)"),
    (Cause.BLOCKED,
     (r"blocked using|block ?list|black ?list|deny ?list|spamhaus|spamcop|barracuda|sorbs|dnsbl|\brbl\b"
     r"|client host (?:\S+ )?(?:blocked|rejected: (?:blocked|listed))|listed (?:in|at|by|on) "
     r"|you are banned|banned (?:sending|sender|ip|host|client|address)"
     r"|poor reputation|bad reputation|low reputation|ip (?:address )?(?:is |has been )?blocked"
     r"|ip_reputation|reputation of (?:the )?(?:sending|your)")),
    (Cause.QUOTA,
     (r"daily (?:\w+ ){0,3}(?:limit|quota)|monthly (?:\w+ ){0,3}(?:limit|quota)|(?:sending|message|email|mail|user|account) quota"
     r"|quota (?:is )?(?:exceeded|used up|reached) for (?:the )?(?:day|month|account|sender)|credits? exceeded"
     r"|exceeded (?:your|the|its) (?:\w+ ){0,3}(?:quota|credits?)|over the (?:day|month)|(?:messages|e?-?mails|recipients) per day")),
    (Cause.RATE_LIMIT,
     (r"rate.?limit|throttl|too (?:much mail|fast|frequent)|too many (?:[\w-]+ ){0,3}(?:connections?|sessions?|messages?"
     r"|e?-?mails?|recipients?|requests?|errors?|attempts?)"
     r"|(?:concurrent|simultaneous) (?:\w+ ){0,2}(?:connections?|sessions?)"
     r"|(?:frequency|sending rate|connection|message rate) (?:is )?(?:limited|limit|exceeded)|maximum sending rate"
     r"|unusual rate|slow down|receiving mail at a rate|hourly (?:\w+ ){0,2}limit|per (?:hour|minute|second)"
     r"|exceeded the rate")),
    (Cause.SENDER_REJECTED,
     (r"sender address rejected|sendasdenied|not allowed to send as|not owned by|from address does not match"
     r"|verified sender|email address is not verified|(?:mail )?from (?:address )?must (?:be same|equal|match)"
     r"|must be (?:the )?same as auth|sender (?:\S+ )?(?:is )?not (?:allowed|authorized|verified|permitted)"
     r"|domain is not verified|sender verify failed|unverified (?:sender|domain)|permissions? to send as")),
)  # fmt: skip


def reply_cause(reply: Reply) -> Cause | None:
    """The cause of a refusal in the middle of a session."""
    if reply.subject in _DECISIVE:
        decided = _DECISIVE[reply.subject]
        # "No such user" to MAIL FROM is about the sender.
        if decided is Cause.RECIPIENT_REJECTED and reply.command == "mail":
            return Cause.SENDER_REJECTED
        return decided
    return _access(reply) or phrase_cause(reply) or _by_enhanced(reply) or _by_code(reply)


def phrase_cause(reply: Reply, *only: Cause) -> Cause | None:
    """The first of the six causes whose phrase the reply holds, or of those asked for."""
    for cause, pattern in PROVIDER_PHRASES:
        if (not only or cause in only) and re.search(pattern, reply.words) is not None:
            return cause
    return None


def _access(reply: Reply) -> Cause | None:
    """530 (RFC 3207, RFC 4954): STARTTLS or AUTH must come first, and only the command's name tells which."""
    if reply.code != "530":
        return None
    return Cause.TLS_REQUIRED if "starttls" in reply.words else Cause.AUTH_REQUIRED


def _by_enhanced(reply: Reply) -> Cause | None:
    subject = reply.subject
    if subject is None:
        return None
    if subject in _ENHANCED_CAUSES:
        return _ENHANCED_CAUSES[subject]
    major, detail = subject
    if major == 7:
        return _security(reply, detail)
    if major == 1:
        return _BY_COMMAND.get(reply.command)
    return Cause.CONTENT if major == 6 else None


# What the smtpd(8) of another Postfix says of its restrictions (smtpd/smtpd_check.c), all with x.7.1.
_RESTRICTIONS: Final[tuple[tuple[str, Cause], ...]] = (
    (": recipient address rejected: ", Cause.RECIPIENT_REJECTED),
    (": client host rejected: ", Cause.POLICY),
)


def _not_authorized(reply: Reply) -> Cause:
    for words, cause in _RESTRICTIONS:
        if words in reply.words:
            return cause
    return _NOT_AUTHORIZED.get(reply.command, Cause.POLICY)


def _security(reply: Reply, detail: int) -> Cause | None:
    """x.7.z: what a server's policy does not like."""
    if detail == 0 and reply.command == "data" and reply.code[:1] == "5":
        return Cause.CONTENT
    if detail == 0 and reply.code in _CODES:
        return None
    if detail == 1 and (reply.code[:1] == "5" or reply.code == "454"):
        return _not_authorized(reply)
    # Exchange Online keeps 5.7.501 to 5.7.512 and 5.7.606 to 5.7.649 for banned senders and addresses.
    return Cause.BLOCKED if 501 <= detail <= 512 or 606 <= detail <= 649 else Cause.POLICY


def _by_code(reply: Reply) -> Cause | None:
    code = reply.code
    if code in _CODES:
        return _CODES[code]
    if code[:1] == "4":
        return Cause.REMOTE_TEMPORARY
    # Commands out of order, unknown or with bad arguments: RFC 5321 and x.5.z of RFC 3463.
    if code[:1] != "5" or code in _PROTOCOL_CODES or reply.subject in _PROTOCOL_ERRORS:
        return None
    return _BY_COMMAND.get(reply.command, Cause.POLICY)

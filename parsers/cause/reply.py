"""A mail server's reply, to a cause.

The whole reply decides: the command it answers, the reply code, the enhanced status code and the text. In this order:
enhanced codes with one meaning; texts of servers and providers (`texts`); the other enhanced codes; the reply code. The
number alone never leads to `content` or `size` after the end of DATA. A reply that nothing matches keeps a general cause:
`remote_temporary` for 4xx, `policy` for 5.7.z, else None. Nothing raises.
"""

import re
from typing import Final, NamedTuple

from postward.parsers.cause.causes import Cause
from postward.parsers.cause.texts import AUTH_TEXTS, TEXTS

_REPLY: Final = re.compile(r"([245]\d\d)[ -]?(?:#?([245]\.\d{1,3}\.\d{1,3})\b)?")
_ENHANCED: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")


class Reply(NamedTuple):
    """A reply: its code, subject and detail of its enhanced code, its text in lower case, and the command it answers.

    The command is "" if Postfix does not name it.
    """

    code: str
    subject: tuple[int, int] | None
    text: str
    command: str

    @property
    def permanent(self) -> bool:
        """True for 5xx."""
        return self.code[:1] == "5"


def read_reply(text: str, command: str, dsn: str | None = None) -> Reply:
    """Parse a reply; the record's DSN replaces a missing enhanced code."""
    match = _REPLY.match(text)
    code = match[1] if match is not None else ""
    enhanced = match[2] if match is not None else None
    return Reply(code or (f"{dsn[0]}00" if dsn else ""), _subject(enhanced or dsn), text.casefold(), command)


def _subject(enhanced: str | None) -> tuple[int, int] | None:
    match = _ENHANCED.match(enhanced or "")
    return (int(match[2]), int(match[3])) if match is not None else None


# RFC 3463 and the IANA registry; details above 50 are those of Exchange Online.
# Codes with one meaning, whatever the text.
_DECISIVE: Final[dict[tuple[int, int], Cause]] = {
    (1, 1): Cause.RECIPIENT_REJECTED,
    (1, 2): Cause.RECIPIENT_REJECTED,
    (1, 3): Cause.RECIPIENT_REJECTED,
    (1, 6): Cause.RECIPIENT_REJECTED,
    (1, 10): Cause.RECIPIENT_REJECTED,
    (1, 90): Cause.QUOTA,
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
    (7, 16): Cause.SIZE,
    (7, 17): Cause.RECIPIENT_REJECTED,
    (7, 18): Cause.RECIPIENT_REJECTED,
    (7, 27): Cause.SENDER_REJECTED,
    (7, 28): Cause.RATE_LIMIT,
    (7, 705): Cause.QUOTA,
    (7, 708): Cause.BLOCKED,
    (7, 750): Cause.SENDER_REJECTED,
}

# RFC 5321 and RFC 4954, for replies without an enhanced code or with one that decides nothing.
_CODES: Final[dict[str, Cause]] = {
    "421": Cause.REMOTE_TEMPORARY,
    "432": Cause.AUTH_REJECTED,
    "521": Cause.GREETING_REFUSED,
    "534": Cause.AUTH_REJECTED,
    "535": Cause.AUTH_REJECTED,
    "538": Cause.TLS_REQUIRED,
    "541": Cause.CONTENT,
    "551": Cause.RECIPIENT_REJECTED,
    "556": Cause.RECIPIENT_REJECTED,
}

# What a command's argument is rejected for; 554 and x.7.z concern the transaction, not the argument.
_BY_COMMAND: Final[dict[str, Cause]] = {"mail": Cause.SENDER_REJECTED, "rcpt": Cause.RECIPIENT_REJECTED}

_PROTOCOL_CODES: Final = frozenset({"500", "502", "503", "504", "555"})
_PROTOCOL_ERRORS: Final = frozenset({(5, 1), (5, 2), (5, 4), (5, 5), (5, 6)})


def reply_cause(reply: Reply) -> Cause | None:
    """Return the cause of a refusal of a command after the greeting, except AUTH."""
    cause = _DECISIVE.get(reply.subject) if reply.subject is not None else None
    cause = cause or _access(reply) or text_cause(reply) or _by_enhanced(reply) or _by_code(reply)
    # "No such user" in reply to MAIL FROM concerns the sender.
    if cause is Cause.RECIPIENT_REJECTED and reply.command == "mail":
        return Cause.SENDER_REJECTED
    return cause


def auth_cause(reply: Reply) -> Cause:
    """Return the cause of a refusal of AUTH."""
    if reply.code == "538" or reply.subject in ((7, 10), (7, 11)):
        return Cause.TLS_REQUIRED
    for text in AUTH_TEXTS:
        if text.matches(reply.text, reply.command, reply.permanent):
            return text.cause
    if reply.code in ("503", "504") or reply.subject == (5, 4):
        return Cause.AUTH_MECHANISM
    return Cause.AUTH_REJECTED if reply.permanent or reply.code == "432" else Cause.AUTH_TEMPORARY


def text_cause(reply: Reply, *only: Cause) -> Cause | None:
    """Return the cause of the first documented text in the reply, of all causes or of those given."""
    for text in TEXTS:
        if (not only or text.cause in only) and text.matches(reply.text, reply.command, reply.permanent):
            return text.cause
    return None


def _access(reply: Reply) -> Cause | None:
    """530 (RFC 3207, RFC 4954): STARTTLS or AUTH must come first, and only the command's name distinguishes them."""
    if reply.code != "530":
        return None
    return Cause.TLS_REQUIRED if "starttls" in reply.text else Cause.AUTH_REQUIRED


def _by_enhanced(reply: Reply) -> Cause | None:
    if reply.subject is None:
        return None
    if reply.subject in _ENHANCED_CAUSES:
        return _ENHANCED_CAUSES[reply.subject]
    major, detail = reply.subject
    if major == 7:
        return _security(reply, detail)
    if major == 1:
        return _BY_COMMAND.get(reply.command)
    return Cause.CONTENT if major == 6 else None


def _security(reply: Reply, detail: int) -> Cause | None:
    """x.7.z: rejected by the server's policy."""
    # Exchange Online: 5.7.501 to 5.7.503 and 5.7.511 are banned senders, 5.7.606 to 5.7.649 banned addresses.
    if 501 <= detail <= 503 or detail == 511 or (606 <= detail <= 649 and reply.permanent):
        return Cause.BLOCKED
    if not reply.permanent and (500 <= detail <= 699 or 850 <= detail <= 899):
        return Cause.RATE_LIMIT  # Exchange Online restricts the address for some time
    # 4.7.0 and 4.7.1 are the codes of any temporary refusal.
    return None if detail <= 1 and (not reply.permanent or reply.code in _CODES) else Cause.POLICY


def _by_code(reply: Reply) -> Cause | None:
    code = reply.code
    if code in _CODES:
        return _CODES[code]
    if code[:1] == "4":
        return Cause.REMOTE_TEMPORARY
    # Commands out of order, unknown or with bad arguments: RFC 5321 and x.5.z of RFC 3463.
    if code in _PROTOCOL_CODES or reply.subject in _PROTOCOL_ERRORS or code == "554":
        return None
    if reply.command == "mail" and code in ("550", "552"):
        # RFC 1870: 552 refuses the size that MAIL FROM declares. 550 refuses the client as often as the sender.
        return Cause.SIZE if code == "552" else None
    return _BY_COMMAND.get(reply.command) if code[:1] == "5" else None

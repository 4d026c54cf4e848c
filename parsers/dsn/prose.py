"""Notifications in prose: what a server without RFC 3464 writes for people.

The prose ends where the returned mail begins. In it stand the recipients, each followed by its reason:

- qmail (qmail-send.c, QSBMF): ``<user@example.com>:`` and the reason in the lines after it;
- Exim (src/deliver.c), also with ``X-Failed-Recipients``: the address indented by two blanks, the reason by four;
- Exchange, Domino, GroupWise, MailEnable and others: the address, and the reason after it.
"""

import html
import re
from collections.abc import Collection, Sequence
from typing import Final

from postward.parsers.dsn.model import Recipient

_MAX_PROSE: Final = 20000  # characters
_MAX_LINES: Final = 400
_MAX_RECIPIENTS: Final = 100
_MAX_REASON: Final = 500  # characters

# The line before the returned mail.
_SEPARATORS: Final = (
    r"below this line is (?:a copy|the original)",
    r"this is a copy of (?:the|your) message",
    r"enclosed (?:is|are)",
    r"original message",
    r"returned message",
    r"message headers? follow",
    r"headers? of the (?:original )?message",
    r"(?:un)?sent message (?:follows|header)",
    r"the (?:header|text|body) of the (?:original )?message",
    r"original (?:message )?headers?",
    r"copy of (?:the )?message",
    r"message text follows",
    r"included is a copy",
    r"(?:reporting-mta|return-path|message-id):",
    r"received: (?:from|by|\()",
)
_ORIGINAL: Final = re.compile(rf"(?im)^[ \t>*-]*+(?:{'|'.join(_SEPARATORS)})")
_DOMAIN: Final = r"[\w-]{1,63}+(?:\.[\w-]{1,63}+){0,12}+"
_ADDRESS: Final = re.compile(rf"[\w!#$%&'*+/=?^`{{|}}~.-]{{1,64}}+@{_DOMAIN}")
_REPLY: Final = re.compile(r"(?<![\d.])([245])\d\d(?:[ -]|$)")
_ENHANCED: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
# A line that begins with a recipient. All parts are possessive: lines are a stranger's.
_STARTS: Final = re.compile(
    r"[ \t>*]*+(?:(?:to|recipient|address|rcpt to|for|user|email)[ \t]?:[ \t]*+)?[\"'(\[]?+<?+"
    rf"(?P<address>[^\s@<>]{{1,200}}+@{_DOMAIN})\.?>?[\"')\]]?[.,]?[ \t]*+"
    r"(?::|\((?:expanded|generated|reason)|$|on \w|\.\.|-\s|;)",
    re.IGNORECASE,
)
_LATE_WORDS: Final = (
    r"(?:has|have|was|been|is) (?:been )?(?:delayed|temporarily|deferred)",
    r"not yet been delivered",
    r"still (?:being|trying|be retried)",
    r"will (?:keep|continue) (?:on )?(?:trying|to be retried|to try)",
    r"this is a warning message only",
    r"do not need to resend",
)
_LATE: Final = re.compile("|".join(_LATE_WORDS), re.IGNORECASE)
_DELIVERED: Final = re.compile(r"(?i)(?:was|has been|were) successfully (?:delivered|relayed)")
_TAGS: Final = re.compile(r"<(?:br|/p|/div|/tr|/td|/h\d|/li|/title)\b[^<>]{0,200}>", re.IGNORECASE)
_OTHER_TAGS: Final = re.compile(r"<[a-zA-Z/!][^<>]{0,2000}>")
_HIDDEN: Final = re.compile(r"<(style|script|head)\b", re.IGNORECASE)
_SERVERS: Final = re.compile(r"(?i)^(?:mailer-?daemon|postmaster|abuse|support|help(?:desk)?|root)@")


def text_of_html(markup: str) -> str:
    """Return the text of HTML, a line for each block."""
    shown = _without_hidden(markup[: 3 * _MAX_PROSE])
    return html.unescape(_OTHER_TAGS.sub(" ", _TAGS.sub("\n", shown)))


def _without_hidden(markup: str) -> str:
    """Return HTML without the elements that are not shown."""
    folded, kept, place = markup.lower(), [], 0
    for opening in _HIDDEN.finditer(markup):
        if opening.start() < place:
            continue
        end = folded.find(f"</{opening[1].lower()}", opening.end())
        if end < 0:
            break
        kept.append(markup[place : opening.start()])
        place = end
    return "".join([*kept, markup[place:]])


def read_prose(
    text: str, failed: Sequence[str], own: Collection[str], *, is_late: bool = False
) -> list[Recipient]:
    """Return the recipients of whom a text speaks, with their reasons; empty if it speaks of none.

    Args:
        text: the text of the mail.
        failed: recipients that the header names.
        own: addresses in lower case of the notification itself, which are not recipients.
        is_late: the subject speaks of a delay.
    """
    lines = _before_the_original(text).split("\n")[:_MAX_LINES]
    whole = "\n".join(lines)
    action = _action(whole, is_late=is_late)
    places = _places(lines, failed, own)
    if not places:
        reason = _reason_in(lines)
        named = list(failed) or _addresses(whole, own)[:1]
        return [_recipient(address, action, reason) for address in named[:_MAX_RECIPIENTS]]
    found: list[Recipient] = []
    ends = [line for line, _ in places[1:]] + [len(lines)]
    for (start, address), end in zip(places, ends, strict=True):
        reason = _reason_after(lines, start, end, address) or _reason_in(lines)
        found.append(_recipient(address, action, reason))
        if len(found) >= _MAX_RECIPIENTS:
            break
    return found


def _before_the_original(text: str) -> str:
    text = text[:_MAX_PROSE]
    match = _ORIGINAL.search(text, 1)
    return text[: match.start()] if match else text


def _action(text: str, *, is_late: bool) -> str:
    if _DELIVERED.search(text):
        return "delivered"
    if (is_late or _LATE.search(text)) and not re.search(r"(?i)given up|permanent (?:error|failure)", text):
        return "delayed"
    return "failed"


def _addresses(text: str, own: Collection[str]) -> list[str]:
    found = dict.fromkeys(match[0].rstrip(".") for match in _ADDRESS.finditer(text))
    return [one for one in found if one.lower() not in own and not _SERVERS.match(one)]


def _places(lines: Sequence[str], failed: Sequence[str], own: Collection[str]) -> list[tuple[int, str]]:
    """Return where each recipient stands: (number of the line, address), in order."""
    wanted = {address.lower() for address in failed}
    places: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        match = _STARTS.match(line[:700])
        if match is None:
            continue
        inner = _ADDRESS.search(match["address"])
        if inner is None:
            continue
        address = inner[0].rstrip(".")
        key = address.lower()
        if (
            key in places
            or (wanted and key not in wanted)
            or (not wanted and (key in own or _SERVERS.match(address)))
        ):
            continue
        places[key] = (number, address)
        if len(places) >= _MAX_RECIPIENTS:
            break
    return list(places.values())


def _reason_after(lines: Sequence[str], start: int, end: int, address: str) -> str:
    """Return the reason that stands on the recipient's line after its address, or in the lines below it."""
    rest = lines[start].partition(address)[2].strip(" \t>:\"'()[]<")
    block: list[str] = [rest] if _REPLY.search(rest) or len(rest) > 10 else []
    has_begun = bool(block)
    for line in lines[start + 1 : end]:
        bare = line.strip()
        if bare:
            block.append(bare)
            has_begun = True
        elif has_begun and any(_REPLY.search(one) or _ENHANCED.search(one) for one in block):
            break
        if len(block) > 12:
            break
    return _joined(block)


def _joined(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())[:_MAX_REASON]


def _reason_in(lines: Sequence[str]) -> str:
    """Return the first lines with a reply, wherever they stand; without one, the beginning of the text."""
    for number, line in enumerate(lines):
        if _ENHANCED.search(line) or re.search(r"(?<![\d.])[45]\d\d[ -]", line):
            return _joined(lines[number : number + 4])
    return _joined(lines)


def _recipient(address: str, action: str, reason: str) -> Recipient:
    enhanced = _ENHANCED.search(reason)
    reply = _REPLY.search(reason)
    status = enhanced[1] if enhanced else (f"{reply[1]}.0.0" if reply else "")
    return Recipient(address[:320], action, status, reason)

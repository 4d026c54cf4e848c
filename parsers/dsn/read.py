"""Reads a delivery status notification: which mail it is about, and what became of each recipient.

RFC 3464 and RFC 6533 (multipart/report with a part of fields for programs) come first; then the prose of servers that
write no such part (`prose`). An answer of a person or a vacation program (RFC 3834), a receipt (RFC 8098) and a complaint
(RFC 5965) are not notifications.

Everything in the mail is a stranger's: its sender is not known. The caller counts it only for what it is.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from typing import Final

from postward.parsers.dsn.model import ACTIONS, Dsn, Recipient
from postward.parsers.dsn.prose import read_prose, text_of_html

MAX_DSN: Final = 65536  # bytes that are read of a mail
# Fields by which `may_be_dsn` judges.
DSN_FIELDS: Final = (
    "From",
    "Return-Path",
    "Subject",
    "Content-Type",
    "Auto-Submitted",
    "X-Failed-Recipients",
)

_MAX_BOUNDARIES: Final = 50  # each costs a comparison with every line
_MAX_PARTS: Final = 50
_MAX_RECIPIENTS: Final = 100
_MAX_TEXT: Final = 500  # characters of a diagnostic
_MAX_IDS: Final = 4

_STATUS_PARTS: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})
# The original mail, or its header: RFC 3462, RFC 6533, and names that servers invented.
_ORIGINAL_PARTS: Final = frozenset(
    {
        "message/rfc822",
        "message/global",
        "message/rfc822-headers",
        "message/global-headers",
        "text/rfc822-headers",
        "text/rfc822",
        "text/rfc-822-headers",
        "message/partial",
    }
)
_OTHER_REPORTS: Final = frozenset(
    {"disposition-notification", "feedback-report", "tlsrpt", "mdn", "multi-message"}
)
_SENDERS: Final = re.compile(
    rb"(?im)^(?:From|Return-Path):.{0,200}?(?:mailer-?daemon|postmaster|mail[ ._-]?delivery|delivery subsystem"
    rb"|mail ?(?:administrator|system)|no-?reply-?bounce|bounces?[@+.-]|MicrosoftExchange|notification)"
)
_NULL_PATH: Final = re.compile(rb"(?im)^Return-Path:\s*<\s*>")
_IS_REPORT: Final = re.compile(rb"(?im)^(?:X-Failed-Recipients:|Content-Type:\s*multipart/report)")
_SUBJECT_WORDS: Final = (
    r"undeliver",
    r"non[- ]?deliver",
    r"not (?:be )?delivered",
    r"deliver\w* (?:status|failure|failed|problem|error|notification|report|delayed|has|warning)",
    r"fail\w* (?:notice|delivery|to deliver|mail|permanently)",
    r"mail (?:system|delivery|could not|failed)",
    r"message (?:could not|not delivered|status|delayed|undeliverable)",
    r"returned (?:mail|e-?mail|message|to sender)",
    r"\breturn(?:ed|ing)\b.{0,20}\bsender",
    r"bounce|rejected|delayed|warning: ",
    r"user unknown|could not be delivered",
    r"unzust\w{1,3}bar|non remis|no se pudo entregar|niet (?:be|af)leverbaar",
    r"退信|不達|投递|配信",
)
_SUBJECTS: Final = re.compile("|".join(_SUBJECT_WORDS), re.IGNORECASE)
_MESSAGE_ID: Final = re.compile(r"<[^<>\s]{1,250}>")
_BARE_ID: Final = re.compile(r"[^<>\s]{1,125}@[^<>\s]{1,125}")
_ID_FIELDS: Final = re.compile(
    r"(?im)^[ \t>]*(?:X-)?(?:Original-)?Message-I[dD]:[ \t]*(?:\r?\n[ \t>]+)?(<[^<>\s]{1,250}>|[^<>\s]{1,250})"
)
_STATUS: Final = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_FIELD_TYPE: Final = re.compile(r"\A\s*[\w-]{1,40}\s*;\s*", re.ASCII)
_STATUS_TEXT: Final = re.compile(r"(?im)^(?:Reporting-MTA|Final-Recipient|Original-Recipient):")


def may_be_dsn(head: bytes) -> bool:
    """Return whether a mail with this header can be a notification: a test before the mail is read."""
    if _IS_REPORT.search(head) or _SENDERS.search(head):
        return True
    return _NULL_PATH.search(head) is not None


def read_dsn(data: bytes) -> Dsn | None:
    """Return the notification in a mail; None for any other mail.

    Args:
        data: the mail, or its beginning.
    """
    try:
        return _read(data[:MAX_DSN])
    except Exception:  # the standard library's parser has faults: what it cannot read is not counted
        return None


def _read(data: bytes) -> Dsn | None:
    if data.lower().count(b"boundary") > _MAX_BOUNDARIES:
        return None
    message = message_from_bytes(data)
    if _is_other_report(message):
        return None
    parts = _parts(message)
    text = _body_text(parts)
    recipients = _status_recipients(parts)
    if not recipients:
        if not _is_of_a_server(message, data):
            return None
        failed = re.split(r"[\s,]+", _value(message, "X-Failed-Recipients"))
        own = {*_addresses(message, "To"), *_addresses(message, "From"), *_addresses(message, "Delivered-To")}
        recipients = read_prose(
            text, [one for one in failed if "@" in one], own, is_late=_is_late(_value(message, "Subject"))
        )
    if not recipients:
        return None
    return Dsn(_message_ids(message, parts), tuple(recipients[:_MAX_RECIPIENTS]))


# --- the mail


def _is_other_report(message: Message) -> bool:
    """Return whether it is an answer, a receipt or a complaint."""
    kind = str(message.get_param("report-type") or "").lower()
    if kind == "delivery-status":
        return False
    if kind in _OTHER_REPORTS:
        return True
    answer = _value(message, "Auto-Submitted").lower().startswith("auto-replied")
    is_bounce = "X-Failed-Recipients" in message or _SUBJECTS.search(_value(message, "Subject")) is not None
    return (answer or "X-Autoreply" in message or "X-Autorespond" in message) and not is_bounce


def _is_of_a_server(message: Message, data: bytes) -> bool:
    """Return whether header and subject are those of a notification in prose."""
    head = data.partition(b"\r\n\r\n")[0].partition(b"\n\n")[0]
    if "X-Failed-Recipients" in message:
        return True
    is_sender = _SENDERS.search(head) is not None or _NULL_PATH.search(head) is not None
    is_empty = message.get_content_type() == "multipart/report"
    subject = _value(message, "Subject")
    return is_empty or (is_sender and (not subject or _SUBJECTS.search(subject) is not None))


def _is_late(subject: str) -> bool:
    return re.search(r"(?i)delay|warning|deferred|verz\w*gert|still being|temporar", subject) is not None


def _parts(message: Message) -> list[Message]:
    """Return the parts of a mail, without those of the original mail."""
    parts: list[Message] = []
    waiting = [message]
    while waiting and len(parts) < _MAX_PARTS:
        part = waiting.pop(0)
        kind = part.get_content_type()
        if part.is_multipart() and kind not in _ORIGINAL_PARTS and kind not in _STATUS_PARTS:
            payload = part.get_payload()
            waiting[:0] = [inner for inner in payload if isinstance(inner, Message)][:_MAX_PARTS]
        else:
            parts.append(part)
    return parts


def _value(message: Message, name: str) -> str:
    """Return a field in one line; "" if it is missing."""
    raw = message.get(name)
    if raw is None:
        return ""
    text = str(raw)[:2000]
    if "=?" in text:
        try:
            text = str(make_header(decode_header(text)))
        except Exception:  # an unknown character set, or a broken encoding
            text = str(raw)[:2000]
    return " ".join(text.split())


def _addresses(message: Message, name: str) -> set[str]:
    return {
        found.lower() for found in re.findall(r"[^\s<>,;\"]{1,64}@[^\s<>,;\"]{1,255}", _value(message, name))
    }


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    charset = str(part.get_content_charset() or "utf-8")
    try:
        text = payload.decode(charset, "replace")
    except LookupError:
        text = payload.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")


def _body_text(parts: Sequence[Message]) -> str:
    """Return the prose: the text parts, or without one the HTML."""
    plain = [_decoded(part) for part in parts if part.get_content_type() == "text/plain"]
    if any(text.strip() for text in plain):
        return "\n".join(plain)
    return "\n".join(text_of_html(_decoded(part)) for part in parts if part.get_content_type() == "text/html")


# --- fields for programs (RFC 3464)


def _status_recipients(parts: Sequence[Message]) -> list[Recipient]:
    found: list[Recipient] = []
    for part in parts:
        for fields in _status_blocks(part):
            if len(found) < _MAX_RECIPIENTS and (recipient := _recipient(fields)) is not None:
                found.append(recipient)
    return found


def _status_blocks(part: Message) -> Iterator[Message]:
    """Yield the groups of fields of a status part."""
    kind = part.get_content_type()
    if kind in _STATUS_PARTS:
        yield from _groups(part)
    if kind == "text/plain" and "Content-Disposition" not in part:
        text = _decoded(part)
        if len(_STATUS_TEXT.findall(text[:4000])) < 2:  # a server that declares it as text
            return
        text = text[min(match.start() for match in _STATUS_TEXT.finditer(text)) :]
        for block in re.split(r"\n[ \t]*\n", text):
            if _STATUS_TEXT.search(block):
                yield message_from_bytes(block.encode("utf-8", "replace"))


def _recipient(fields: Message) -> Recipient | None:
    address = _typed(_value(fields, "Final-Recipient")) or _typed(_value(fields, "Original-Recipient"))
    action = _value(fields, "Action").lower().split(" ")[0].strip("();")
    status = _STATUS.search(_value(fields, "Status"))
    diagnostic = _typed(_value(fields, "Diagnostic-Code"))
    if not address and "Action" not in fields:
        return None
    if action not in ACTIONS:
        # Servers that leave it out, or write "failure" or "error".
        major = status[1] if status else diagnostic[:1]
        action = {"2": "delivered", "4": "delayed"}.get(major, "failed")
    if status is None or status[0].endswith(".0.0"):
        status = _STATUS.search(diagnostic[:200]) or status
    return Recipient(
        address.strip("<>")[:320],
        action,
        status[0] if status else "",
        diagnostic[:_MAX_TEXT],
        _typed(_value(fields, "Remote-MTA")).split(" ")[0][:255],
    )


def _fields_text(part: Message) -> str:
    """Return the fields of a status part. The library's own text of a message would fold and encode each field."""
    return "\n".join(
        f"{name}: {str(value)[:1000]}" for group in _groups(part) for name, value in group.items()
    )


def _groups(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [group for group in payload if isinstance(group, Message)] if isinstance(payload, list) else []


def _typed(value: str) -> str:
    """Return the value of a field without its type, as in "rfc822; user@example.com"."""
    return _FIELD_TYPE.sub("", value, count=1).strip()


# --- the original mail


def _message_ids(message: Message, parts: Sequence[Message]) -> tuple[str, ...]:
    """Return the Message-IDs that can be the original's: of its copy, of the prose, of the fields that refer to it."""
    ids: dict[str, None] = {}
    texts = [_original_text(part) for part in parts if part.get_content_type() in _ORIGINAL_PARTS]
    texts += [_decoded(part) for part in parts if part.get_content_type() in _STATUS_PARTS]
    texts += [_fields_text(part) for part in parts if part.get_content_type() in _STATUS_PARTS]
    texts += [_decoded(part) for part in parts if part.get_content_maintype() == "text"]
    for text in texts:
        ids.update(dict.fromkeys(_identifiers(_ID_FIELDS.findall(text))))
    for name in ("X-Original-Message-ID", "Original-Message-ID", "In-Reply-To", "References"):
        ids.update(dict.fromkeys(_identifiers(_MESSAGE_ID.findall(_value(message, name)))))
    own = _value(message, "Message-ID")
    return tuple(one for one in ids if one != own)[:_MAX_IDS]


def _original_text(part: Message) -> str:
    """Return the beginning of the original mail as text: its header."""
    payload = part.get_payload()
    if isinstance(payload, list):
        inner = payload[0] if payload and isinstance(payload[0], Message) else None
        if inner is None:
            return ""
        if inner.get("Message-ID") is not None:
            return f"Message-ID: {_value(inner, 'Message-ID')}"
        inner_payload = inner.get_payload()
        return inner_payload[:20000] if isinstance(inner_payload, str) else ""
    return _decoded(part)[:20000]


def _identifiers(found: Iterable[str]) -> Iterator[str]:
    for one in found:
        if _MESSAGE_ID.fullmatch(one):
            yield one
        elif _BARE_ID.fullmatch(one):
            yield f"<{one}>"

"""One log line's header, in any dialect, as a ``Record``.

Promises: the same Postfix message gives the same instance, daemon, severity and text whoever wrote the
header. A line that is not Postfix's is None. Nothing raises, whatever the line holds.

The daemon is the tag's last path part and everything before it is the instance, because Postfix builds the
tag as ``$syslog_name/process`` (global/mail_task.c) and ``syslog_name`` may hold slashes of its own.
"""

import re
from typing import Final, NamedTuple

from postward.parsers.dialects import peel
from postward.parsers.grammar import DAEMONS


class Record(NamedTuple):
    """A Postfix line: who wrote it, when (as printed), how severe it is, and its text."""

    stamp: str
    host: str
    instance: str
    daemon: str
    pid: int | None
    severity: str
    text: str
    repeat: int = 1  # more than 1 where syslogd folded repetitions into one line


# util/msg_syslog.c and util/msg_logger.c put the severity label in front of the text; info has none.
_BODY = r"(?:\[ID [0-9]+ \w+\.\w+\] )?(?:(warning|error|fatal|panic): )?(.*)"
_RFC3339 = r"[0-9]{4}-[0-9-]{5}[T ][0-9:.,]++(?:Z|[+-][0-9:]++)?"

# Nearly every line: RFC 3164, RFC 3339 stamps, and Postfix's own maillog_file (util/msg_logger.c). The stamp is
# only found here, not judged: that is half the time of this pattern.
_HEADER: Final = re.compile(
    r"([A-Z][a-z]{2} .{11}|[0-9]{4}-[0-9][^ ]++) ([^ ]++) ([^ \[\]:]++)\[([0-9]{1,10})\]: (?!\[ID |message repeated )"
    r"(?:(warning|error|fatal|panic): )?(.*)",
    re.DOTALL,
)
_RFC5424: Final = re.compile(
    rf"(?:<\d{{1,3}}>)?1 ({_RFC3339}|-) (\S+) (\S+) (\S+) \S+ "
    rf'(?:-|(?:\[[^\s\]"]+(?: [^\s=\]"]+="[^"\\]*+(?:\\.[^"\\]*+)*+")*\])+)(?: \ufeff?{_BODY})?',
    re.DOTALL,
)
_REPEATED: Final = re.compile(r"message repeated (\d{1,9}) times: \[ ?(.*)\]", re.DOTALL)
_LABEL: Final = re.compile(_BODY, re.DOTALL)

# Daemons of the tag whose text may be a line of its own: none (another program's tag) and the command postfix.
_WRAPPERS: Final = frozenset({"", "postfix"})
_STAMP_FIRST: Final = re.compile(
    r"[0-9]{4}[-: ]|[^\W\d_]{3,6}\.? {1,2}[0-9]{1,2} [0-9]{2}:|[0-9]{1,2}[月월. ]|1[0-9]{9}"
)
# Level words that rsyslog's templates of container images print in the host's place.
_LEVELS: Final = frozenset({"EMERG", "ALERT", "CRIT", "ERR", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"})

_JSON: Final = frozenset({"{", "\x1e"})  # RFC 7464: journalctl -o json-seq

# A host sees a handful of tags; strangers cannot choose one, but a foreign program may put a counter in its own.
_MAX_TAGS: Final = 512
_FOREIGN: Final = ("", "")
_tags: dict[str, tuple[str, str]] = {}

_fullmatch: Final = _HEADER.fullmatch
_new: Final = tuple.__new__

# Cyrus IMAP names its processes cyrus/lmtp, cyrus/master and so on.
_NOT_POSTFIX: Final = frozenset({"cyrus", "dovecot"})


def split_tag(tag: str) -> tuple[str, str]:
    """Instance and daemon of a syslog tag; two empty strings for a tag that is not Postfix's."""
    instance, slash, daemon = tag.rpartition("/")
    if not slash:
        return ("postfix", "postfix") if tag == "postfix" else _FOREIGN
    if daemon not in DAEMONS or instance.partition("/")[0] in _NOT_POSTFIX:
        return _FOREIGN
    return instance or "postfix", daemon


def known_tag(tag: str) -> tuple[str, str]:
    """``split_tag`` through a bounded cache: nearly every line of a log has a tag seen before."""
    if len(_tags) >= _MAX_TAGS:
        _tags.clear()
    names = _tags[tag] = split_tag(tag)
    return names


def parse_record(line: str) -> Record | None:
    """The line's header and text, or None for a line that is not Postfix's."""
    match = _fullmatch(line)
    if match is None:
        return _other_dialect(line)
    stamp, host, tag, pid, severity, text = match.groups()
    instance, daemon = _tags.get(tag) or known_tag(tag)
    if daemon in _WRAPPERS:
        return _other_dialect(line) if daemon or _STAMP_FIRST.match(text) else None
    if host in _LEVELS:
        host = "-"
    return _new(Record, (stamp, host, instance, daemon, int(pid), severity or "info", text, 1))


def _other_dialect(line: str) -> Record | None:
    if line[:1] in _JSON:
        return _json(line.lstrip("\x1e"))
    if (match := _RFC5424.fullmatch(line)) is not None:
        stamp, host, tag, pid, severity, text = match.groups()
        return _record(stamp, host, tag, pid, f"{severity}: {text}" if severity else text or "")
    peeled = peel(line)
    return None if peeled is None else _record(*peeled[:5])


def _record(stamp: str, host: str, tag: str, pid: str | None, body: str) -> Record | None:
    instance, daemon = _tags.get(tag) or known_tag(tag)
    if not daemon:
        return None
    number = int(pid) if pid and pid.isascii() and pid.isdigit() and len(pid) <= 10 else None
    if body.startswith("message repeated "):
        return _unfold(stamp, host, instance, daemon, number, body)
    match = _LABEL.fullmatch(body)
    severity, text = match.groups() if match is not None else (None, body)
    return Record(stamp, host, instance, daemon, number, severity or "info", text)


def _unfold(stamp: str, host: str, instance: str, daemon: str, pid: int | None, text: str) -> Record:
    match = _REPEATED.fullmatch(text)
    if match is None:
        return Record(stamp, host, instance, daemon, pid, "info", text)
    label = _LABEL.fullmatch(match[2])
    severity, inner = label.groups() if label is not None else (None, match[2])
    return Record(stamp, host, instance, daemon, pid, severity or "info", inner, int(match[1]))


def _json(line: str) -> Record | None:
    import json  # most logs have no such line

    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    if isinstance(log := entry.get("log"), str):  # Docker's json-file driver around a whole line
        inner = log.rstrip("\r\n")
        return None if inner.startswith("{") else parse_record(inner)
    return _journal(entry)


def _journal(entry: dict[str, object]) -> Record | None:
    tag = _text(entry.get("SYSLOG_IDENTIFIER"))
    body = _text(entry.get("MESSAGE"))
    if not tag or body is None:
        return None
    stamp = _text(entry.get("_SOURCE_REALTIME_TIMESTAMP")) or _text(entry.get("__REALTIME_TIMESTAMP")) or ""
    pid = _text(entry.get("SYSLOG_PID")) or _text(entry.get("_PID"))
    return _record(stamp, _text(entry.get("_HOSTNAME")) or "", tag, pid, body)


def _text(value: object) -> str | None:
    """A journal field: text, or an array of bytes where the text is not valid UTF-8; the last of several."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        return None
    if all(type(item) is int and 0 <= item <= 255 for item in value):
        return bytes(value).decode("utf-8", "replace")
    return _text(value[-1]) if not isinstance(value[-1], list) or value[-1] else None

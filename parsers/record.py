"""Parser for the header of a log line, in any dialect.

Promises: a Postfix message has the same instance, daemon, severity and text, independent of the program that
wrote the header. The result is None for a line of another program. Nothing raises.

Postfix builds the syslog tag as ``$syslog_name/process`` (global/mail_task.c), and ``syslog_name`` may contain
slashes. So the daemon is the last part of the tag, and the instance is everything before it.
"""

import re
from typing import Final, NamedTuple

from postward.parsers.dialects import LEVELS, begins_with_stamp, peel
from postward.parsers.grammar import DAEMONS


class Record(NamedTuple):
    """A line of Postfix: its time stamp as printed, its origin, its severity and its text."""

    stamp: str
    host: str
    instance: str
    daemon: str
    pid: int | None
    severity: str
    text: str
    repeat: int = 1  # more than 1 if syslogd folded repetitions into one line


# util/msg_syslog.c and util/msg_logger.c print the severity label before the text, except for "info".
_BODY = r"(?:\[ID [0-9]+ \w+\.\w+\] )?(?:(warning|error|fatal|panic): )?(.*)"
_RFC3339 = r"[0-9]{4}-[0-9-]{5}[T ][0-9:.,]++(?:Z|[+-][0-9:]++)?"

# Nearly every line: RFC 3164, RFC 3339 stamps, and Postfix's own maillog_file (util/msg_logger.c). The pattern
# only finds the stamp and does not validate it, which halves its time.
HEADER: Final = (
    r"([A-Z][a-z]{2} .{11}|[0-9]{4}-[0-9][^ ]++) ([^ ]++) ([^ \[\]:]++)\[([0-9]{1,10})\]: (?!\[ID |message repeated )"
    r"(?:(warning|error|fatal|panic): )?(.*)"
)
_HEADER: Final = re.compile(HEADER, re.DOTALL)
_RFC5424: Final = re.compile(
    rf"(?:<\d{{1,3}}>)?1 ({_RFC3339}|-) (\S+) (\S+) (\S+) \S+ "
    rf'(?:-|(?:\[[^\s\]"]+(?: [^\s=\]"]+="[^"\\]*+(?:\\.[^"\\]*+)*+")*\])+)(?: \ufeff?{_BODY})?',
    re.DOTALL,
)
_REPEATED: Final = re.compile(r"message repeated (\d{1,9}) times: \[ ?(.*)\]", re.DOTALL)
_LABEL: Final = re.compile(_BODY, re.DOTALL)

# After these tags the text may be a complete log line: a tag of another program ("") and the postfix command.
WRAPPERS: Final = frozenset({"", "postfix"})
# Severities that the rsyslog templates of some container images print in place of the host name.
LEVEL_NAMES: Final = frozenset(level.upper() for level in LEVELS)
_JSON: Final = frozenset({"{", "\x1e"})  # RFC 7464: journalctl -o json-seq

# A host has few tags, and remote clients cannot choose one. But another program may put a counter into its tag.
_MAX_TAGS: Final = 512
_FOREIGN: Final = ("", "")
_tags: dict[str, tuple[str, str]] = {}

_fullmatch: Final = _HEADER.fullmatch
_new: Final = tuple.__new__

# Cyrus IMAP names its processes cyrus/lmtp, cyrus/master and so on.
_NOT_POSTFIX: Final = frozenset({"cyrus", "dovecot"})


def split_tag(tag: str) -> tuple[str, str]:
    """Return instance and daemon of a syslog tag; two empty strings for the tag of another program."""
    instance, slash, daemon = tag.rpartition("/")
    if not slash:
        return ("postfix", "postfix") if tag == "postfix" else _FOREIGN
    if daemon not in DAEMONS or instance.partition("/")[0] in _NOT_POSTFIX:
        return _FOREIGN
    return instance or "postfix", daemon


def known_tag(tag: str) -> tuple[str, str]:
    """Return ``split_tag(tag)`` and keep it in a bounded cache, because nearly every line has a known tag."""
    if len(_tags) >= _MAX_TAGS:
        _tags.clear()
    names = _tags[tag] = split_tag(tag)
    return names


def parse_record(line: str) -> Record | None:
    """Return the line's header and text, or None for a line of another program."""
    match = _fullmatch(line)
    if match is None:
        return _other_dialect(line)
    stamp, host, tag, pid, severity, text = match.groups()
    instance, daemon = _tags.get(tag) or known_tag(tag)
    if daemon in WRAPPERS:
        return _other_dialect(line) if daemon or begins_with_stamp(text) else None
    if host in LEVEL_NAMES:
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
    import json  # few logs have such lines

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
    """Return a journal field as text.

    The journal gives text that is not valid UTF-8 as an array of bytes, and repeated fields as an array of values,
    of which the last counts.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        return None
    if all(type(item) is int and 0 <= item <= 255 for item in value):
        return bytes(value).decode("utf-8", "replace")
    return _text(value[-1]) if not isinstance(value[-1], list) or value[-1] else None

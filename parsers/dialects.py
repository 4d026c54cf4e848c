"""Lines as people's tools print them: what stands before the text is peeled off.

Container tools, Kubernetes, journalctl, grep and forums put text in front of a log line; appliances and other languages
have stamps of their own; drivers of containers wrap one syslog line in another. `peel` finds the first syslog tag and
reads the header before it.

Promises: linear time; nothing raises. Another program's text is not taken for a line of Postfix: before the tag stand a
stamp and a few words without a tag, and behind another program's tag stands a whole line with a header of its own. Only
an excerpt may have no stamp; then nothing but a tool's prefix, quoting or a level stands before the tag.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from postward.parsers.grammar import DAEMONS
from postward.parsers.months import ENGLISH, month_number

_MAX_HEADER: Final = 256  # characters
_MAX_WORDS: Final = 5  # in front of the first stamp, and between the last stamp and the tag
_MAX_DEPTH: Final = 3  # lines in lines

# global/mail_task.c: $syslog_name/process. macOS prints the level behind the pid, metalog the tag in brackets without a
# colon, and some appliances leave out the colon or the pid.
_TAG: Final = re.compile(
    r"(?<![^\s\"'`>|])(?:\[(?P<bracketed>[^\s\[\]:/]++/[^\s\[\]:/]++)\]"
    r"|(?P<tag>[^\s\[\]:|\"'`]++)(?:\[(?P<pid>[^\s\[\]]*+)\](?: <[A-Z][a-z]+>)?(?::|(?= ))|:))(?=\s|\Z)"
)
_CLOCK: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
_MONTH: Final = r"(?:[^\W\d_]{3,6}\.?|ag\.|[0-9]{1,2}[月월])"
_STAMP: Final = re.compile(
    rf"(?<!\w)(?:(?=[0-9])(?:"
    rf"(?P<date>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})[T ](?P<time>{_CLOCK})(?P<zone> ?(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})(?![\w:]))?"
    rf"|(?P<year>[0-9]{{4}}):(?P<number>[0-9]{{2}}):(?P<mday>[0-9]{{2}})-(?P<clock3>{_CLOCK})"
    rf"|(?P<day2>[0-9]{{1,2}})\.? (?P<month2>{_MONTH}) (?:(?P<year4>[0-9]{{4}}) )?(?P<clock2>{_CLOCK})"
    r"|(?P<seconds>1[0-9]{9})(?:\.(?P<fraction>[0-9]{1,6}))?(?![\w.])"
    r"|(?P<milliseconds>1[0-9]{12})(?![\w.])"
    rf")|(?:(?P<year1>[0-9]{{4}}) )?(?P<month1>{_MONTH}) {{1,2}}(?P<day1>[0-9]{{1,2}})日? "
    rf"(?:(?P<year2>[0-9]{{4}}) )?(?P<clock1>{_CLOCK})(?: (?P<year3>[0-9]{{4}})(?= ))?)"
)
# syslog(3)'s levels, and those of other loggers.
LEVELS: Final = (
    *("emerg", "alert", "crit", "critical", "err", "error", "fatal", "warn", "warning", "notice"),
    *("info", "informational", "debug"),
)
_LEVEL: Final = re.compile(
    rf"[\[<({{]?(?:[0-9]{{1,3}}|(?:(?:mail|daemon|user|local[0-7])[.:])?(?:{'|'.join(LEVELS)}))[\])>}}]?:?",
    re.IGNORECASE,
)
_HOST: Final = re.compile(r"[\w.:@/-]+")
_QUOTES: Final = "\"'`"
_QUOTING: Final = re.compile(r"(?:[>|*\s-]|&gt;|[\"'`])*")
# Before lines without a stamp: Compose's "postfix-1  | ", "[pod/postfix-0/postfix] " of Kubernetes' tools, the seconds
# since boot of journalctl -o short-monotonic and short-delta.
_TOOL: Final = re.compile(r"[\w.@/-]+ *\| |\[[\w./-]+\] |\[[ 0-9.<>]+\] ")
_OFFSET: Final = re.compile(r"T.*(?:Z|[+-][0-9]{2}:?[0-9]{2})\Z")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


# Quick: most lines of other programs hold no such tag. (A pattern that begins with a literal is found quickest.)
_DAEMON: Final = re.compile(rf"/(?:{'|'.join(sorted(DAEMONS))})(?:[\[\]:]|\Z)")
_COMMAND: Final = re.compile(r"postfix(?:\[[0-9]+\]|:)")


# sysklogd, the BSDs and macOS fold repetitions of the line before into one without a tag.
_REPEATED: Final = re.compile(r"last message repeated ([0-9]{1,9}) times?(?: ---)?\s*\Z")


class Peeled(NamedTuple):
    """A line without what tools put around it.

    Attributes:
        stamp: in a form that `parse_stamp` reads; with an offset from UTC if any stamp of the line has one, so that a
            container's clock without a zone is not taken for the reader's; empty if the line has no stamp.
        host: the word before the tag; "-" if the line does not name the host.
        tag: the whole syslog tag, such as "postfix/smtp".
        pid: the process number as printed, if there is one.
        body: severity label and text.
        form: what differs from a plain syslog line, as text for people; empty if nothing does.
    """

    stamp: str
    host: str
    tag: str
    pid: str | None
    body: str
    form: str


class _Stamp(NamedTuple):
    text: str
    start: int
    end: int


def begins_with_stamp(text: str) -> bool:
    """Whether a text begins as a log line of any program does."""
    return _STAMP.match(text) is not None


def has_header(line: str) -> bool:
    """Whether a line begins a log line, of whatever program, and does not continue the one before."""
    return begins_with_stamp(line.lstrip()) or line.startswith("{") or peel(line) is not None


def repeats_of(line: str) -> int:
    """Return N of "last message repeated N times", which stands for the line before; 0 for any other line."""
    match = _REPEATED.search(line) if "last message repeated " in line else None
    return int(match[1]) if match is not None and _TAG.search(line, 0, match.start()) is None else 0


def peel(line: str) -> Peeled | None:
    """Return the innermost header and its text, or None if no tag of Postfix has a header before it."""
    if _DAEMON.search(line) is None and _COMMAND.search(line) is None:
        return None
    line = _COLOUR.sub("", line) if "\x1b" in line else line
    return _peel(line.lstrip(" \t\ufeff"), _MAX_DEPTH)  # forums indent, Windows adds a byte order mark


def _peel(line: str, depth: int) -> Peeled | None:
    found = _header(line)
    if found is None or depth == 0:
        return found
    daemon = found.tag.rpartition("/")[2]
    if "/" in found.tag and daemon in DAEMONS:
        return found
    if found.tag == "postfix" and found.body.startswith("postfix/"):  # postfix[1]: postfix/postlog: …
        inner = _header(found.body)
        return found if inner is None else inner._replace(stamp=found.stamp, host=found.host, pid=found.pid)
    # The text of another program's line, or of the command "postfix", may be a whole line.
    inner = _peel(found.body, depth - 1) if begins_with_stamp(found.body) else None
    return found if inner is None else _within(found, inner)


def _within(outer: Peeled, inner: Peeled) -> Peeled:
    """Return the inner line; its stamp is the outer one's if only that has an offset from UTC."""
    stamp = inner.stamp if _has_offset(inner.stamp) or not _has_offset(outer.stamp) else outer.stamp
    form = f"inside lines of {outer.tag}"
    return inner._replace(stamp=stamp, form=f"{form}, {inner.form}" if inner.form else form)


def _header(line: str) -> Peeled | None:
    """Read the header before the line's first tag."""
    start = 0
    while (tag := _TAG.search(line, start, _MAX_HEADER)) is not None and _LEVEL.fullmatch(tag[0]):
        start = tag.end()
    if tag is None:
        return None
    before = line[: tag.start()]
    stamps = [stamp for match in _STAMP.finditer(before) if (stamp := _stamp(match)) is not None]
    prefix, between = _around(before, stamps)
    words = between.split()
    if max(len(prefix.split()) if stamps else 0, len(words)) > _MAX_WORDS:
        return None
    if not stamps and not (prefix or _QUOTING.fullmatch(between) or _LEVEL.fullmatch(between.strip())):
        return None
    body = line[tag.end() + 1 :]
    quote = before[: stamps[0].start if stamps else None].rstrip()[-1:]
    if quote and quote in _QUOTES:
        body = body.rstrip().removesuffix(quote)
    hosts = [word for word in words if _HOST.fullmatch(word) and not _LEVEL.fullmatch(word)]
    host = hosts[-1] if hosts else "-"
    exact = [stamp for stamp in stamps if _has_offset(stamp.text)] or stamps
    return Peeled(
        exact[-1].text if exact else "",
        host,
        tag["bracketed"] or tag["tag"],
        tag["pid"],
        body,
        _form(prefix, stamps, host),
    )


def _around(before: str, stamps: Sequence[_Stamp]) -> tuple[str, str]:
    """Return what stands before the first stamp, and between the last stamp and the tag."""
    if stamps:
        return before[: stamps[0].start], before[stamps[-1].end :]
    if (prefix := _TOOL.match(before)) is not None:
        return prefix[0], before[prefix.end() :]
    return "", before


def _stamp(match: re.Match[str]) -> _Stamp | None:
    """Return a stamp in a form that `parse_stamp` reads; None if it names no month."""
    text = _text_of(match)
    return None if text is None else _Stamp(text, match.start(), match.end())


def _text_of(match: re.Match[str]) -> str | None:
    if match["date"]:
        return f"{match['date']}T{match['time']}{(match['zone'] or '').strip()}".replace(",", ".")
    if match["seconds"]:
        return match["seconds"] + (match["fraction"] or "").ljust(6, "0")
    if match["milliseconds"]:
        return match["milliseconds"] + "000"
    if match["number"]:  # Sophos UTM: 2024:11:20-18:19:12
        return f"{match['year']}-{match['number']}-{match['mday']}T{match['clock3']}"
    number = month_number(match["month1"] or match["month2"])
    if number is None:
        return None
    month = ENGLISH[number]
    year = match["year1"] or match["year2"] or match["year3"] or match["year4"]
    day = (match["day1"] or match["day2"]).rjust(2)
    clock = (match["clock1"] or match["clock2"]).replace(",", ".")
    return f"{year} {month} {day} {clock}" if year else f"{month} {day} {clock}"


def _has_offset(stamp: str) -> bool:
    return stamp.isdigit() or _OFFSET.search(stamp) is not None


def _form(prefix: str, stamps: Sequence[_Stamp], host: str) -> str:
    """Return what differs from a plain syslog line."""
    parts = []
    if prefix.strip():
        parts.append(f"behind {' '.join(prefix.split())}")
    if len(stamps) > 1:
        parts.append("behind a stamp of a tool")
    if not stamps:
        parts.append("without a stamp")
    if host == "-":
        parts.append("without a host")
    return ", ".join(parts)

"""Which log to read: what the settings name, or the one that Postfix's lines go to; and opening it.

`auto` is decided by what is written to, not by what exists: an upgrade to Debian 12 leaves a mail.log behind that
nobody writes any more, and a rotation without `create` takes the name away for a while.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from postward.agent.logs import journal, stdin
from postward.agent.logs.journal import JournalSource
from postward.agent.logs.rotation import rotated_files
from postward.agent.logs.segment import FilePosition
from postward.agent.logs.source import Source
from postward.agent.logs.stdin import StandardInput
from postward.agent.logs.tail import FileSource
from postward.agent.postfix.commands import Postfix, PostfixError

AUTO = "auto"
_USUAL = (Path("/var/log/maillog"), Path("/var/log/mail.log"))
_JOURNALD = Path("/run/systemd/journal/socket")
_LEFT_BEHIND = 3600.0  # seconds; a syslog daemon that has stopped for so long is not the way any more


class NoLogError(Exception):
    """There is no mail log to read; the text says what to do."""


def find_log(
    source: str | Sequence[str],
    postfix: Postfix,
    usual: Sequence[Path] = _USUAL,
    newest_in_journal: Callable[[], float | None] = journal.last_mail,
) -> tuple[list[str], str]:
    """The names of the sources, and why it is these.

    Args:
        source: log.source of the settings.
        postfix: asked for its maillog_file.
        usual: where syslog daemons put the log.
        newest_in_journal: when the journal last got a line of mail, in seconds since the epoch.

    Raises:
        NoLogError: none was found.
    """
    if source != AUTO:
        return [source] if isinstance(source, str) else list(source), "log.source of the settings"
    if file := _maillog_file(postfix):
        return [file], "maillog_file of Postfix"
    last = {path: written for path in usual if (written := _last_written(path)) is not None}
    has_journal = _JOURNALD.exists()
    if last:
        path = max(last, key=lambda path: last[path])
        in_journal = newest_in_journal() if has_journal else None
        if in_journal is None or in_journal - last[path] < _LEFT_BEHIND:
            return [str(path)], "where syslog puts it"
        return [journal.NAME], f"{path} is not written any more, and the journal gets mail's lines"
    if has_journal:
        return [journal.NAME], f"there is no {' and no '.join(map(str, usual))}"
    raise NoLogError(
        f"log.source: no mail log was found (looked at maillog_file of Postfix, {', '.join(map(str, usual))}, and for "
        "systemd's journal); install rsyslog, or set maillog_file in Postfix, or write the log's path"
    )


def open_source(name: str, position: Any = None) -> Source:
    """A source by its name, from a position that it had, or from now."""
    if name == journal.NAME:
        return JournalSource(position)
    if name == stdin.NAME:
        return StandardInput()
    return FileSource(Path(name), None if position is None else [FilePosition(**mark) for mark in position])


def open_sources(names: Sequence[str], positions: Mapping[str, Any]) -> list[Source]:
    """Sources by their names, each from its position."""
    return [open_source(name, positions.get(name)) for name in names]


def _maillog_file(postfix: Postfix) -> str:
    try:
        file = postfix.expanded("maillog_file")
    except PostfixError:
        return ""  # its configuration is broken: the log may still be where syslog puts it
    if file == "/dev/stdout":
        raise NoLogError(
            'log.source: Postfix writes its log to standard output (maillog_file); pipe it into this command and write "-", '
            "or set maillog_file to a file"
        )
    return file


def _last_written(path: Path) -> float | None:
    """When a log or what it has become was last written to; None if there is none to see."""
    try:
        return max((entry.changed / 1e9 for entry in rotated_files(path)), default=None)
    except OSError:
        return None

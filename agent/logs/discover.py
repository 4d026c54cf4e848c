"""Find the log that Postfix writes, or the sources that the settings name, and open them.

`auto` chooses the log that is written to, not one that merely exists. An upgrade to Debian 12 leaves a mail.log behind
that is not written any more, and a rotation without `create` removes the name for a while.

How it fails: `NoLogError` if no log is found; its text gives the remedy.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from postward.agent.logs import journal, stdin
from postward.agent.logs.journal import JournalSource
from postward.agent.logs.journal_directory import JournalDirectory
from postward.agent.logs.rotation import rotated_files
from postward.agent.logs.segment import FilePosition
from postward.agent.logs.source import Source
from postward.agent.logs.stdin import StandardInput
from postward.agent.logs.tail import FileSource
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.agent.stored import Form

AUTO = "auto"
_POSITIONS: Form[list[FilePosition]] = Form(list[FilePosition])
_CURSOR: Form[str | None] = Form(str | None)
_CURSORS: Form[dict[str, str | None]] = Form(dict[str, str | None])
_USUAL = (Path("/var/log/maillog"), Path("/var/log/mail.log"))
_JOURNALD = Path("/run/systemd/journal/socket")
# Seconds. A file that is so much older than the journal's newest mail entry is not the log.
_LEFT_BEHIND = 3600.0


class NoLogError(Exception):
    """No mail log was found; the text gives the remedy."""


def find_log(
    source: str | Sequence[str],
    postfix: Postfix,
    usual: Sequence[Path] = _USUAL,
    newest_in_journal: Callable[[], float | None] = journal.last_mail,
    journal_socket: Path = _JOURNALD,
) -> tuple[list[str], str]:
    """Return the names of the sources and the reason for the choice.

    Args:
        source: log.source of the settings.
        postfix: the instance whose maillog_file is read.
        usual: the files that syslog daemons write by default.
        newest_in_journal: returns the time of the journal's newest mail entry, in seconds since the epoch, or None.
        journal_socket: the socket of journald, which exists if it runs.

    Raises:
        NoLogError: no log was found.
    """
    if source != AUTO:
        return [source] if isinstance(source, str) else list(source), "log.source of the settings"
    if file := _maillog_file(postfix):
        return [file], "maillog_file of Postfix"
    last = {path: written for path in usual if (written := _last_written(path)) is not None}
    has_journal = journal_socket.exists()
    if last:
        path = max(last, key=lambda path: last[path])
        in_journal = newest_in_journal() if has_journal else None
        if in_journal is None or in_journal - last[path] < _LEFT_BEHIND:
            return [str(path)], "written by syslog"
        return [journal.NAME], f"{path} is not written any more, and the journal has newer mail entries"
    if has_journal:
        return [journal.NAME], f"{' and '.join(map(str, usual))} do not exist"
    raise NoLogError(
        f"log.source: no mail log was found in Postfix's maillog_file, {', '.join(map(str, usual))} and the systemd "
        "journal; install rsyslog, or set maillog_file in main.cf, or set log.source to the path of the log"
    )


def open_source(name: str, position: Any = None) -> Source:
    """Open a source by its name, at a saved position; None starts at the end of the log.

    Raises ValueError for a position of another form.
    """
    if name == journal.NAME:
        return JournalSource(_CURSOR.check(position))
    if name.startswith(journal.PREFIX):
        cursors = None if position is None else _CURSORS.check(position)
        return JournalDirectory(Path(name.removeprefix(journal.PREFIX)), cursors)
    if name == stdin.NAME:
        return StandardInput()
    return FileSource(Path(name), None if position is None else _POSITIONS.check(position))


def open_sources(names: Sequence[str], positions: Mapping[str, Any]) -> list[Source]:
    """Open sources by their names, each at its saved position."""
    return [open_source(name, positions.get(name)) for name in names]


def _maillog_file(postfix: Postfix) -> str:
    try:
        file = postfix.expanded("maillog_file")
    except PostfixError:
        return ""  # the configuration is broken, but syslog may still write the log
    if file == "/dev/stdout":
        raise NoLogError(
            "log.source: Postfix writes its log to standard output (maillog_file = /dev/stdout); pipe it into this "
            'command and set log.source to "-", or set maillog_file to a file'
        )
    return file


def _last_written(path: Path) -> float | None:
    """Return the last change of a log or its rotated files, in seconds since the epoch; None if there is none."""
    try:
        return max((entry.changed / 1e9 for entry in rotated_files(path)), default=None)
    except OSError:
        return None

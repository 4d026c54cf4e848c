"""Which log to read: the settings' file, or the one that Postfix writes."""

from pathlib import Path

from agent.postfix import Postfix, PostfixError

_USUAL = (Path("/var/log/maillog"), Path("/var/log/mail.log"))


class NoLogError(Exception):
    """There is no mail log to read; the text says what to do."""


def find_log(source: str, postfix: Postfix) -> tuple[Path, str]:
    """The log file, and why it is that one.

    Args:
        source: log.source of the settings.
        postfix: asked for its maillog_file.

    Raises:
        NoLogError: none was found.
    """
    if source != "auto":
        return Path(source), "log.source of the settings"
    try:
        if file := postfix.expanded("maillog_file"):
            return Path(file), "maillog_file of Postfix"
    except PostfixError:
        pass  # its configuration is broken: the log may still be where syslog puts it
    for path in _USUAL:
        if path.exists():
            return path, "where syslog puts it"
    raise NoLogError(
        f"log.source: no mail log was found (looked at maillog_file of Postfix, {', '.join(map(str, _USUAL))}); "
        "install rsyslog, or set maillog_file in Postfix, or write the log's path"
    )

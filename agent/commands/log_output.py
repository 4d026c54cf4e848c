"""The log of a command that keeps running: `--log.level` and `--log.format`, named as those of Prometheus's exporters.

Promise: no line has a password that this process knows. Under systemd, a line has its priority in front and no time,
which the journal adds itself. Levels hold for Postward's own messages; other libraries never log below info.
"""

import functools
import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from postward.agent.systemd import JournalFields
from postward.parsers.scrub import hidden

_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_NAMES: Final = {level: name for name, level in _LEVELS.items()}
# Level → the priority that systemd reads in front of a line (sd-daemon(3)), so that `journalctl -p` works.
_PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


def log_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--log.level` and `--log.format`, and log to standard error while the command runs."""

    @click.option(
        "--log.level",
        "log_level",
        type=click.Choice(list(_LEVELS)),
        default="info",
        show_default=True,
        envvar="POSTWARD_LOG_LEVEL",
        show_envvar=True,
        help="Log messages of this severity and above.",
    )
    @click.option(
        "--log.format",
        "log_format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        envvar="POSTWARD_LOG_FORMAT",
        show_envvar=True,
        help="Format of log messages; json: one object a line.",
    )
    @functools.wraps(function)
    def with_log(*arguments: Any, log_level: str, log_format: str, **options: Any) -> Any:
        log_to_stderr(log_level, log_format)
        return function(*arguments, **options)

    return with_log


def log_to_stderr(level: str = "info", form: str = "text") -> None:
    """Log to standard error; under systemd, that is the journal."""
    handler: logging.Handler = logging.StreamHandler()
    is_journal = bool(os.environ.get("JOURNAL_STREAM"))
    line = _JsonLine() if form == "json" else _TerseLine() if is_journal else _TextLine()
    handler.setFormatter(_WithPriority(line) if is_journal else line)
    if is_journal and form == "text":
        handler = JournalFields(handler, _PRIORITIES)
    logging.basicConfig(level=max(_LEVELS[level], logging.INFO), handlers=[handler])
    logging.getLogger("postward").setLevel(_LEVELS[level])


class _TextLine(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return hidden(super().format(record))


class _TerseLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return hidden(record.getMessage())


class _JsonLine(logging.Formatter):
    """An object with `time` (RFC 3339, UTC), `level`, `logger`, `msg`, the fields of an incident, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        texts = {
            "time": moment.replace("+00:00", "Z"),
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "logger": record.name,
            "msg": record.getMessage(),
            **{name.lower(): value for name, value in getattr(record, "fields", {}).items()},
        }
        if record.exc_info:
            texts["traceback"] = self.formatException(record.exc_info)
        # A password is hidden before its quotes and backslashes are escaped.
        return json.dumps({name: hidden(text) for name, text in texts.items()}, ensure_ascii=False)


class _WithPriority(logging.Formatter):
    def __init__(self, line: logging.Formatter) -> None:
        super().__init__()
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{self._line.format(record)}"

"""What the commands share: the settings option, exit statuses, and how errors and logs reach the admin."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from postward.agent.enforce.errors import ApplyError
from postward.agent.logs.discover import NoLogError
from postward.agent.postfix.commands import PostfixError
from postward.agent.systemd import JournalFields
from postward.config.desired import UnsupportedMapTypeError
from postward.config.errors import SettingsError
from postward.config.settings import DEFAULT_FILE, Settings, load_settings

FAILED, DRIFT, BAD_SETTINGS = 1, 3, 78


def settings_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--config FILE`, handed to the command as `settings_file`."""
    return click.option(
        "--config",
        "settings_file",
        type=click.Path(dir_okay=False, path_type=Path),
        default=DEFAULT_FILE,
        show_default=True,
        envvar="POSTWARD_CONFIG",
        help="The settings file.",
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, handed to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)


@contextmanager
def told() -> Iterator[None]:
    """Errors that an admin can remedy end the command with words and a status, not with a traceback."""
    try:
        yield
    except SettingsError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(BAD_SETTINGS)
    except (ApplyError, PostfixError, NoLogError, UnsupportedMapTypeError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def fail(words: str) -> NoReturn:
    """End with status 1."""
    click.echo(f"postward: {words}", err=True)
    sys.exit(FAILED)


def load(settings_file: Path) -> Settings:
    """The settings; call it inside `told`."""
    return load_settings(settings_file)


def require_root() -> None:
    """Postfix's configuration is root's."""
    if os.geteuid() != 0:
        fail("this changes Postfix's configuration and needs root; call it with sudo")


def echo_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))


# systemd reads a level in front of a line (sd-daemon(3)), so that the journal can be searched by it.
_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"<{_LEVELS.get(record.levelno, 6)}>{record.getMessage()}"


def log_to_stderr() -> None:
    """The agent's own log: to the journal under systemd, else with time and level for a human."""
    handler: logging.Handler = logging.StreamHandler()
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter())
        handler = JournalFields(handler, _LEVELS)
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])

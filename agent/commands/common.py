"""Shared by commands: the settings option, and the output of errors."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from postward.agent.commands.exit_status import BAD_SETTINGS, FAILED
from postward.agent.enforce.state import ApplyError
from postward.agent.fsutil import write_atomically
from postward.agent.logs.discover import NoLogError
from postward.agent.postfix.commands import PostfixError
from postward.config.beside import SharedHopError
from postward.config.consequences import Effect
from postward.config.desired import UnsupportedError
from postward.config.errors import SettingsError
from postward.config.relay import hide_passwords
from postward.config.settings import DEFAULT_FILE, Settings, load_settings


def settings_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE`, which the command gets as `settings_file`."""
    return click.option(
        "--config",
        "settings_file",
        type=click.Path(dir_okay=False, readable=False, path_type=Path),
        default=DEFAULT_FILE,
        show_default=True,
        envvar="POSTWARD_CONFIG",
        help="Settings file.",
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json`, which the command gets as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)


def allow_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--allow EFFECT`, which the command gets as `allow`, a tuple of names."""
    return click.option(
        "--allow",
        multiple=True,
        type=click.Choice([str(effect) for effect in Effect]),
        help="Agree to changes that end inbound mail, or that let more clients relay. On a terminal, apply asks.",
    )(function)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End the command with a message and a status, instead of a traceback, for errors that an admin can fix."""
    try:
        yield
    except SettingsError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(BAD_SETTINGS)
    except (ApplyError, PostfixError, NoLogError, SharedHopError, UnsupportedError) as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Print an error and exit with status 1."""
    click.echo(f"postward: {message}", err=True)
    sys.exit(FAILED)


def fail_without(packages: str, error: ImportError) -> NoReturn:
    """Exit because optional Python packages are missing, and name the command that installs them here."""
    fail(
        f"{error}; install it for Postward's Python: python3 -m pip --python {sys.executable} install {packages}"
    )


def load(settings_file: Path) -> Settings:
    """Load the settings, and mask their passwords in all output of log lines. Call it inside `exit_on_error`."""
    settings = load_settings(settings_file)
    hide_passwords(settings.relay)
    return settings


def require_root() -> None:
    """Exit unless the user is root, who alone can read and change Postfix's configuration with its secrets."""
    if os.geteuid() != 0:
        fail("this needs root; run it with sudo")


def echo_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))


def write_settings(settings_file: Path, text: str, secrets: Mapping[Path, str]) -> None:
    """Write the files of secrets, readable by root only, then the settings, so that they never name a missing file."""
    for path, secret in secrets.items():
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        write_atomically(path, f"{secret}\n".encode(), mode=0o600, owner=(0, 0))
        click.echo(f"written: {path} (readable by root only)", err=True)
    settings_file.parent.mkdir(parents=True, exist_ok=True)
    # The settings contain no secret, and the unprivileged agent reads them.
    write_atomically(settings_file, text.encode(), mode=0o644, owner=(0, 0))
    click.echo(f"written: {settings_file}", err=True)

"""What the shell completes besides commands, options and files: relays, senders, generations, statuses.

The settings are read as they are, without validation. Unreadable files complete nothing. Importing this module
loads no settings, so that short logs are read at once.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def completing(values: Callable[[click.Context], Iterable[str]]) -> Complete:
    """Return a callback for click that completes with those values that fit."""

    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            return [value for value in values(context) if value.startswith(incomplete)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # unreadable or malformed settings
            return []

    return complete


def relays(context: click.Context) -> list[str]:
    """Return the names of the relays."""
    return [relay["name"] for relay in _settings(context)["relay"]]


def senders(context: click.Context) -> list[str]:
    """Return the senders that have a relay of their own."""
    return [sender for relay in _settings(context)["relay"] for sender in relay.get("senders", ())]


def generations(context: click.Context) -> list[str]:
    """Return the numbers of the former configurations."""
    from postward.config.sections import Enforce

    directory = _settings(context).get("enforce", {}).get("directory", Enforce().directory)
    return sorted(path.name for path in Path(directory, "generations").iterdir() if path.name.isdecimal())


def _settings(context: click.Context) -> dict[str, Any]:
    from postward.config.settings import DEFAULT_FILE, read_valid

    return read_valid(context.params.get("settings_file") or DEFAULT_FILE)

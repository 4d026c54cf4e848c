"""What commands that read logs share: their FILE argument, this host's logs, moments, relays' names, progress bars.

Importing this module loads neither the settings nor rich, so that short logs are read at once.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from postward.agent.report.period import Period
    from postward.config.settings import Settings

# Reading reports a file that is missing or not readable, with the remedy.
LOG_FILE: Final = click.Path(readable=False, path_type=Path)
_DAY: Final = 86400  # seconds
_QUEUE_LIFETIME: Final = 6 * _DAY  # maximal_queue_lifetime is 5 days by default
_MIN_BAR: Final = 8 << 20  # bytes on disk; shorter logs are read before a bar helps


def relays_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config FILE` for `relays_of`; the command gets it as `settings_file`, None if it is not given."""
    return click.option(
        "--config",
        "settings_file",
        type=LOG_FILE,
        help="Settings file with the names of the relays.",
    )(function)


def relays_of(settings_file: Path | None) -> tuple[tuple[str, int, str], ...]:
    """Return (host, port, name) of each relay in the settings; nothing without settings."""
    if settings_file is None:
        return ()
    from postward.agent.metrics.labels import rows_of

    return rows_of(settings_of(settings_file).relay)


def settings_of(settings_file: Path) -> "Settings":
    """Return the settings; end the command if they are bad."""
    from postward.agent.commands.common import exit_on_error, load  # only settings need all that

    with exit_on_error():
        return load(settings_file)
    raise AssertionError("exit_on_error() ends the command")


def moment_of(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    """Return the moment that an option names: so long ago, or a date, or a date and time of the host's local time."""
    if value is None:
        return None
    from postward.agent.text import local_now, parse_duration

    if (seconds := parse_duration(value)) is not None:
        return local_now() - timedelta(seconds=seconds)
    try:
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(f'{value} is not a time; write 30m, 2h, 3d, or "2026-11-24 09:00"') from None


def settings_file_of(given: Path | None) -> Path:
    """Return the settings file for what needs one, where `--config` has no default."""
    from postward.config.settings import DEFAULT_FILE

    return given or Path(os.environ.get("POSTWARD_CONFIG") or DEFAULT_FILE)


def logs_of_this_host(settings: "Settings") -> list[Path]:
    """Return the log of the settings with its rotated files, oldest first, or the journal; without one, end the command."""
    from postward.agent.commands.common import exit_on_error, fail
    from postward.agent.logs.archive import is_journal
    from postward.agent.logs.discover import find_log
    from postward.agent.logs.rotation import rotated_files
    from postward.agent.postfix.commands import Postfix

    names: list[str] = []
    with exit_on_error():
        names, _ = find_log(settings.log.source, Postfix(Path(settings.postfix.config_directory)))
    try:
        paths = [entry.path for name in names if name.startswith("/") for entry in rotated_files(Path(name))]
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}; run this with sudo, or as a member of the log's group")
    paths += filter(is_journal, map(Path, names))
    if not paths:
        fail("log.source is standard input, which cannot be read again; name the files that it came from")
    return paths


def written_since(paths: Iterable[Path], period: "Period", *, whole_mails: bool = False) -> list[Path]:
    """Return the logs that may have lines of a period: rotation and compression keep the time of the last line.

    Args:
        paths: logs of this host.
        period: the time that is asked for.
        whole_mails: also logs with the earlier lines of mails that were in the queue then.
    """
    from postward.agent.logs.archive import last_written
    from postward.agent.report.period import second_of

    if period.since is None:
        return [*paths]
    # A day more, as a clock can be set, and has summer time.
    first = period.since - (_QUEUE_LIFETIME if whole_mails else _DAY)
    return [path for path in paths if second_of(last_written(path)) >= first]


def in_order(files: Iterable[Path]) -> list[Path]:
    """Return the files in the order of their first stamps; those without a stamp come last.

    Raises:
        LogFileError: a file cannot be read.
    """
    from postward.agent.logs.archive import first_moment

    def first(path: Path) -> float:
        moment = first_moment(path)
        return moment.timestamp() if moment else float("inf")

    unique = list(dict.fromkeys(files))
    return sorted(unique, key=first) if len(unique) > 1 else unique


@contextmanager
def progress_bar(
    paths: Iterable[Path], *, wanted: bool = True
) -> Iterator[Callable[[Path], Callable[[int], object]]]:
    """Show a progress bar while files are read.

    Yields:
        A function that maps a file to its callback; the callback takes the number of its bytes read so far.
    """
    read: Counter[Path] = Counter()
    with size_bar(sum(map(_size, paths)), wanted=wanted) as advance:

        def note(path: Path, done: int) -> None:
            advance(done - read[path])
            read[path] = done

        yield lambda path: partial(note, path)


@contextmanager
def size_bar(size: int | None, *, wanted: bool = True) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on standard error, if that is a terminal and the logs have at least 8 MiB.

    Args:
        size: bytes on disk; None: unknown.
        wanted: False shows none.

    Yields:
        A function that takes the number of further bytes that were read.
    """
    if not wanted or not sys.stderr.isatty() or (size is not None and size < _MIN_BAR):
        yield lambda _more: None
        return
    from rich.console import Console  # loaded for a terminal only
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=size)
        yield lambda more: bar.update(task, advance=more)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading the file reports the error

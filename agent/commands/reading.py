"""What commands that read logs share: their FILE argument, the relays' names, and progress bars.

Importing this module loads neither the settings nor rich, so that short logs are read at once.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

# Reading reports a file that is missing or not readable, with the remedy.
LOG_FILE: Final = click.Path(readable=False, path_type=Path)
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
    from postward.agent.commands.common import exit_on_error, load  # only settings need all that

    with exit_on_error():
        from postward.agent.metrics.labels import rows_of

        return rows_of(load(settings_file).relay)
    raise AssertionError("exit_on_error() ends the command")


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

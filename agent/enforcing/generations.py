"""Former configurations, kept before a new one is put into force, so that it can be taken back.

A generation is a folder with main.cf, master.cf and the tables that the change replaced. Tables hold secrets, so
all of it is for root alone. Folders are numbered; the highest number is the newest. One with which a probe was accepted
says so: it is what a failed change goes back to.
"""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.files import write_atomically, write_new
from agent.postfix import Postfix, let_rest
from config.plan import Activation, Plan

_MOST = 10
_ACTIVATION = "activation"  # what the change needed, and so what its return needs
_PROVEN = "proven"  # the name of the state (`verdicts`), if a probe was accepted with it
_NOTES = (_ACTIVATION, _PROVEN)
_ROOT = (0, 0)
# Read last: the tables and services that they name are there when Postfix reads them.
_READ_LAST = ("master.cf", "main.cf")


class NoGenerationError(Exception):
    """There is no such former configuration."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A former configuration: its number, when it was replaced, its files, and its state's name if that was proven."""

    number: int
    replaced: datetime
    files: tuple[str, ...]
    proven: str


def list_generations(directory: Path) -> list[Generation]:
    """All that are kept, newest first."""
    folder = directory / "generations"
    numbers = (
        [int(path.name) for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    )
    return [_describe(folder / str(number)) for number in sorted(numbers, reverse=True)]


def _describe(generation: Path) -> Generation:
    names = sorted(path.name for path in generation.iterdir())
    files = tuple(name for name in names if name not in _NOTES)
    replaced = datetime.fromtimestamp(generation.stat().st_mtime, UTC)
    proven = (generation / _PROVEN).read_text() if _PROVEN in names else ""
    return Generation(int(generation.name), replaced, files, proven)


def keep_generation(plan: Plan, postfix: Postfix, directory: Path, proven: str) -> None:
    """Keep what is in force now: of the state that is known by `proven`, or not proven if that is empty. Raises OSError."""
    folder = directory / "generations"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = list_generations(directory)
    generation = folder / str(kept[0].number + 1 if kept else 1)
    # Filled under another name: a generation is whole, or it is not there.
    beside = folder / "new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    names = [*_READ_LAST, *(name for table in plan.tables for name in (table.name, table.index_name) if name)]
    for name in names:
        path = postfix.config_directory / name
        if path.exists():
            write_new(beside / name, path.read_bytes(), mode=0o600, owner=_ROOT)
    write_new(beside / _ACTIVATION, plan.activation.name.encode(), mode=0o600, owner=_ROOT)
    if proven:
        write_new(beside / _PROVEN, proven.encode(), mode=0o600, owner=_ROOT)
    beside.rename(generation)
    last_proven = None if proven else newest_proven(directory)
    for old in kept[_MOST - 1 :]:
        if old.number != last_proven:
            shutil.rmtree(folder / str(old.number))


def newest_proven(directory: Path) -> int | None:
    """The number of the last configuration with which a probe was accepted."""
    return next((one.number for one in list_generations(directory) if one.proven), None)


def choose_generation(directory: Path, number: int | None) -> tuple[Generation, Activation]:
    """The generation of this number (the newest for None), and what its return needs to come into force.

    Raises:
        NoGenerationError: it is not there, or not whole.
    """
    kept = {generation.number: generation for generation in list_generations(directory)}
    if not kept:
        raise NoGenerationError(
            f"there is no former configuration in {directory}/generations; nothing was changed"
        )
    number = max(kept) if number is None else number
    if number not in kept:
        raise NoGenerationError(f"there is no generation {number}; there are: {', '.join(map(str, kept))}")
    try:
        return kept[number], Activation[(directory / "generations" / str(number) / _ACTIVATION).read_text()]
    except (OSError, KeyError):
        raise NoGenerationError(
            f"generation {number} is damaged; choose another: postward generations"
        ) from None


def restore_generation(postfix: Postfix, directory: Path, number: int) -> None:
    """Put the files of a generation back in place. Raises OSError."""
    generation = directory / "generations" / str(number)
    tables = sorted(path.name for path in generation.iterdir() if path.name not in (*_READ_LAST, *_NOTES))
    for name in [*tables, *_READ_LAST]:
        target = postfix.config_directory / name
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o600
        write_atomically(target, (generation / name).read_bytes(), mode=mode, owner=_ROOT)
    let_rest(postfix.main_cf)


def forget_generation(directory: Path, number: int) -> None:
    """Drop a generation that is in force again."""
    shutil.rmtree(directory / "generations" / str(number))

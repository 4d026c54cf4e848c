"""Former configurations, kept before a new one is put into force, so that it can be taken back.

A generation is a folder with main.cf, master.cf and the tables that the change replaced, and the names of what it
changed: taking it back sets these as they were, and leaves alone what others have edited since. Tables hold secrets, so
all of it is for root alone. Folders are numbered; the highest number is the newest. One with which a probe was accepted
says so: it is what a failed change goes back to.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from postward.agent.fsutil import write_atomically, write_new
from postward.agent.postfix.commands import Postfix
from postward.config.plan import Activation, Plan

_MOST = 10
_NOTES = "notes.json"
_ROOT = (0, 0)
_FILES = ("main.cf", "master.cf")


class NoGenerationError(Exception):
    """There is no such former configuration."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A former configuration.

    Attributes:
        number: the higher, the newer.
        replaced: when.
        files: those that are kept.
        confirmed: its state's name (`verdicts`) if a probe was accepted with it, else empty.
        activation: what its return needs to come into force.
        parameters: names of main.cf that its return sets or removes.
        services: names of master.cf, of type unix, that its return sets or removes.
    """

    number: int
    replaced: datetime
    files: tuple[str, ...]
    confirmed: str
    activation: Activation
    parameters: frozenset[str]
    services: frozenset[str]


def folder_of(directory: Path, number: int) -> Path:
    """Where a generation's files are."""
    return directory / "generations" / str(number)


def list_generations(directory: Path) -> list[Generation]:
    """All that are whole, newest first."""
    folder = directory / "generations"
    numbers = (
        [int(path.name) for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    )
    described = (_describe(directory, number) for number in sorted(numbers, reverse=True))
    return [generation for generation in described if generation]


def _describe(directory: Path, number: int) -> Generation | None:
    folder = folder_of(directory, number)
    try:
        notes = json.loads((folder / _NOTES).read_bytes())
        files = tuple(sorted(path.name for path in folder.iterdir() if path.name != _NOTES))
        return Generation(
            number,
            datetime.fromtimestamp(folder.stat().st_mtime, UTC),
            files,
            notes["confirmed"],
            Activation[notes["activation"]],
            frozenset(notes["parameters"]),
            frozenset(notes["services"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_generation(
    plan: Plan, postfix: Postfix, directory: Path, *, confirmed: str = "", half_done: bool = False
) -> None:
    """Keep what is in force now, once, however often a change is tried.

    Args:
        plan: the change.
        postfix: what is changed.
        directory: enforce.directory.
        confirmed: the name of the state in force, if a probe was accepted with it.
        half_done: a change was begun and not ended: what is in force is a mixture.

    Raises:
        OSError: it is not kept.
    """
    folder = directory / "generations"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = [*_FILES, *(name for table in plan.tables for name in (table.name, table.index_name) if name)]
    paths = (postfix.config_directory / name for name in names)
    contents = {path.name: path.read_bytes() for path in paths if path.exists()}
    kept = list_generations(directory)
    last = kept[0] if kept else None
    now = Generation(
        last.number + 1 if last else 1,
        datetime.now(UTC),
        tuple(contents),
        confirmed,
        plan.activation,
        frozenset(plan.parameters),
        frozenset((*plan.services, *plan.stale_services)),
    )
    if last and _is_tried_again(contents, last, folder_of(directory, last.number), half_done=half_done):
        now = _both(replace(now, number=last.number, confirmed=confirmed or last.confirmed), last)
        # Tables that the first try has changed already are kept as they were before it.
        contents |= {name: (folder_of(directory, last.number) / name).read_bytes() for name in last.files}
    _write(now, contents, folder)
    last_proven = newest_proven(directory)
    for old in kept[_MOST - 1 :]:
        if old.number not in (last_proven, now.number):
            shutil.rmtree(folder_of(directory, old.number))


def _is_tried_again(contents: dict[str, bytes], last: Generation, folder: Path, *, half_done: bool) -> bool:
    """True if what is in force is what the last generation holds, but for tables that a first try has changed already."""
    names = _FILES if half_done else contents.keys()
    return all(name in last.files and (folder / name).read_bytes() == contents[name] for name in names)


def _both(this: Generation, other: Generation) -> Generation:
    """The first, whose return also takes back what the other's would."""
    stronger = max(this.activation, other.activation, key=list(Activation).index)
    return replace(
        this,
        activation=stronger,
        parameters=this.parameters | other.parameters,
        services=this.services | other.services,
    )


def _write(generation: Generation, contents: dict[str, bytes], folder: Path) -> None:
    # Filled under another name: a generation is whole, or it is not there.
    beside = folder / "new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    for name, content in contents.items():
        write_new(beside / name, content, mode=0o600, owner=_ROOT)
    notes = {
        "confirmed": generation.confirmed,
        "activation": generation.activation.name,
        "parameters": sorted(generation.parameters),
        "services": sorted(generation.services),
    }
    write_new(beside / _NOTES, json.dumps(notes).encode(), mode=0o600, owner=_ROOT)
    place = folder / str(generation.number)
    shutil.rmtree(place, ignore_errors=True)
    beside.rename(place)


def newest_proven(directory: Path) -> int | None:
    """The number of the last configuration with which a probe was accepted."""
    return next((one.number for one in list_generations(directory) if one.confirmed), None)


def choose_generation(directory: Path, number: int | None) -> Generation:
    """The generation of this number (the newest for None), whose return takes back all that was changed since.

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
        raise NoGenerationError(
            f"there is no whole generation {number}; there are: {', '.join(map(str, kept))}"
        )
    chosen = kept[number]
    for later in kept.values():
        if later.number > number:
            chosen = _both(chosen, later)
    return chosen


def edit_back(copy: Postfix, former: Postfix, generation: Generation) -> None:
    """Edit a copy of what is in force: what was changed since the generation is as it was then. Raises PostfixError."""
    explicit, services = former.explicit(), former.services()
    _set_or_remove(generation.parameters, explicit, copy.set_parameters, copy.remove_parameters)
    _set_or_remove(generation.services, services, copy.set_services, copy.remove_services)


def _set_or_remove(
    names: Iterable[str],
    former: Mapping[str, str],
    set_all: Callable[[Mapping[str, str]], None],
    remove: Callable[[list[str]], None],
) -> None:
    if there := {name: former[name] for name in names if name in former}:
        set_all(there)
    if gone := sorted(set(names) - former.keys()):
        remove(gone)


def restore_tables(postfix: Postfix, directory: Path, generation: Generation) -> None:
    """Put the tables of a generation back in place. Raises OSError."""
    for name in generation.files:
        if name not in _FILES:
            target = postfix.config_directory / name
            mode = target.stat().st_mode & 0o7777 if target.exists() else 0o600
            content = (folder_of(directory, generation.number) / name).read_bytes()
            write_atomically(target, content, mode=mode, owner=_ROOT)


def forget_generation(directory: Path, number: int) -> None:
    """Drop a generation that is in force again."""
    shutil.rmtree(folder_of(directory, number))

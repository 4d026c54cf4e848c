"""Former configurations: generations to roll back to, and the last configuration that Postfix could read.

A generation is a directory with main.cf, master.cf and the tables that a change replaced, and with the names of what it
changed. Rolling back puts the kept files back. Where other programs have edited main.cf or master.cf since, it sets only
what was changed as it was, and leaves their edits alone. Generations are numbered; the highest number is the newest, and
0 is what was there before Postward. Each records whether a probe was accepted with it: a failed change is rolled back to
the newest that was confirmed, or to generation 0 if none ever was.

The last readable main.cf and master.cf are for files that cannot be edited: a line without `=`, or a bad number, stops
every command of Postfix, including postconf(1).

Tables contain secrets, so everything here is readable only by root.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from postward.agent.enforce.state import ApplyError
from postward.agent.enforce.tables import read_entries, with_former_entries, write_table
from postward.agent.enforce.unmanaged import unmanaged
from postward.agent.fsutil import write_atomically, write_new
from postward.agent.postfix.config import NAMES, PostfixConfig, StagedConfig, backdate
from postward.agent.postfix.host_files import index_type
from postward.agent.postfix.run import PostfixError
from postward.config.plan import Activation, Plan
from postward.config.resources import INDEX_SUFFIX, LookupTable

_MAX_KEPT = 10
_NOTES = "notes.json"
_ROOT = (0, 0)
_KIND_OF_SUFFIX = {suffix: kind for kind, suffix in reversed(list(INDEX_SUFFIX.items())) if suffix}


@dataclass(frozen=True, slots=True)
class Generation:
    """A former configuration.

    Attributes:
        number: the higher, the newer.
        replaced: when it was replaced.
        files: the files that are kept.
        confirmed: the hash of its state (`AppliedState`) if a probe was accepted with it, else "".
        activation: how a roll-back to it comes into force.
        parameters: parameters of main.cf that a roll-back sets or removes.
        services: services of master.cf, of type unix, that a roll-back sets or removes.
        made: files that the change made, and that a roll-back removes.
        access: name of a table's file → its mode, user and group.
    """

    number: int
    replaced: datetime
    files: tuple[str, ...]
    confirmed: str
    activation: Activation
    parameters: frozenset[str]
    services: frozenset[str]
    made: frozenset[str] = frozenset()
    access: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    @property
    def notes(self) -> bytes:
        """The contents of `notes.json`."""
        notes = {
            "confirmed": self.confirmed,
            "activation": self.activation.name,
            "parameters": sorted(self.parameters),
            "services": sorted(self.services),
            "made": sorted(self.made),
            "access": self.access,
        }
        return json.dumps(notes).encode()

    def extended(self, plan: Plan) -> "Generation":
        """Return this generation, extended by the names that a plan sets."""
        return replace(
            self,
            activation=_stronger(self.activation, plan.activation),
            parameters=self.parameters | plan.parameters.keys(),
            services=self.services | {*plan.services, *plan.stale_services},
        )

    def merged(self, other: "Generation") -> "Generation":
        """Return this generation, extended by the names that a roll-back to the other would set."""
        return replace(
            self,
            activation=_stronger(self.activation, other.activation),
            parameters=self.parameters | other.parameters,
            services=self.services | other.services,
            made=(self.made | other.made) - set(self.files),
        )


def _stronger(*activations: Activation) -> Activation:
    return max(activations, key=list(Activation).index)


def folder_of(directory: Path, number: int) -> Path:
    """Return the directory of a generation's files."""
    return directory / "generations" / str(number)


def list_generations(directory: Path) -> list[Generation]:
    """Return all complete generations, newest first."""
    folder = directory / "generations"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    numbers = sorted((int(name) for name in names if name.isdecimal()), reverse=True)
    generations = (_read(directory, number) for number in numbers)
    return [generation for generation in generations if generation]


def _read(directory: Path, number: int) -> Generation | None:
    folder = folder_of(directory, number)
    try:
        notes = json.loads((folder / _NOTES).read_bytes())
        return Generation(
            number,
            replaced=datetime.fromtimestamp(folder.stat().st_mtime, UTC),
            files=tuple(sorted(path.name for path in folder.iterdir() if path.name != _NOTES)),
            confirmed=notes["confirmed"],
            activation=Activation[notes["activation"]],
            parameters=frozenset(notes["parameters"]),
            services=frozenset(notes["services"]),
            made=frozenset(notes.get("made", ())),
            access={name: (mode, uid, gid) for name, (mode, uid, gid) in notes.get("access", {}).items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep_generation(
    plan: Plan, config: PostfixConfig, directory: Path, *, confirmed: str = "", half_done: bool = False
) -> int:
    """Keep the configuration in force as a generation, once, however often a change is tried. Return its number.

    Args:
        plan: the change that will replace it.
        config: the configuration.
        directory: enforce.directory.
        confirmed: the hash of the state in force, if a probe was accepted with it.
        half_done: an earlier change was begun and not completed, so the files in force are a mixture.

    Raises:
        OSError: it is not kept.
    """
    kept = list_generations(directory)
    contents = _contents(plan, config)
    generation = Generation(
        kept[0].number + 1 if kept else 0,
        replaced=datetime.now(UTC),
        files=tuple(contents),
        confirmed=confirmed,
        activation=plan.activation,
        parameters=frozenset(plan.parameters),
        services=frozenset((*plan.services, *plan.stale_services)),
        made=frozenset(_names_of_tables(plan)) - contents.keys(),
        access={name: _access(config.config_directory / name) for name in contents if name not in NAMES},
    )
    if kept and _is_retry(contents, kept[0], directory, half_done=half_done):
        last = kept[0]
        generation = replace(
            generation,
            number=last.number,
            files=tuple({*last.files, *contents}),
            confirmed=confirmed or last.confirmed,
            access={**generation.access, **last.access},
        )
        generation = generation.merged(last)
        # Tables that the first try has already changed are kept as they were before it.
        folder = folder_of(directory, last.number)
        contents |= {name: (folder / name).read_bytes() for name in last.files}
    _write(generation, contents, directory)
    protected = {0, newest_confirmed(directory), generation.number}
    for old in kept[_MAX_KEPT - 1 :]:
        if old.number not in protected:
            shutil.rmtree(folder_of(directory, old.number))
    return generation.number


def _names_of_tables(plan: Plan) -> tuple[str, ...]:
    names = (name for table in plan.tables for name in (table.name, table.index_name) if name)
    return (*names, *plan.stale_tables)


def _access(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mode & 0o7777, status.st_uid, status.st_gid


def _contents(plan: Plan, config: PostfixConfig) -> dict[str, bytes]:
    """Return the files that a change replaces, by name, as they are now."""
    paths = (config.config_directory / name for name in (*NAMES, *_names_of_tables(plan)))
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def _is_retry(contents: Mapping[str, bytes], last: Generation, directory: Path, *, half_done: bool) -> bool:
    """Return True if the files in force are those of the last generation, or those that a first try left half done."""
    managed = {"main.cf": last.parameters, "master.cf": last.services} if half_done else {}

    def is_kept(name: str) -> bool:
        if name not in last.files:
            return False
        kept, ours = (folder_of(directory, last.number) / name).read_bytes(), managed.get(name, frozenset())
        return kept == contents[name] or (
            half_done and unmanaged(kept, ours) == unmanaged(contents[name], ours)
        )

    return all(map(is_kept, NAMES if half_done else contents))


def _write(generation: Generation, contents: Mapping[str, bytes], directory: Path) -> None:
    folder = folder_of(directory, generation.number)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Filled under another name, so that a generation is complete or absent.
    new = folder.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    for name, content in contents.items():
        write_new(new / name, content, mode=0o600, owner=_ROOT)
    write_new(new / _NOTES, generation.notes, mode=0o600, owner=_ROOT)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def note_repair(plan: Plan, directory: Path) -> None:
    """Add what a repair sets to the newest generation, so that a roll-back undoes it too. Raises OSError."""
    if newest := next(iter(list_generations(directory)), None):
        folder = folder_of(directory, newest.number)
        times = folder.stat()
        write_atomically(folder / _NOTES, newest.extended(plan).notes, mode=0o600)
        os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))


def newest_confirmed(directory: Path) -> int | None:
    """Return the number of the newest generation with which a probe was accepted."""
    return next(
        (generation.number for generation in list_generations(directory) if generation.confirmed), None
    )


def is_kept(directory: Path, number: int) -> bool:
    """Return True if a generation is kept, complete."""
    return any(generation.number == number for generation in list_generations(directory))


def choose_generation(directory: Path, number: int | None) -> Generation:
    """Return a generation (the newest for None), merged with all newer ones, since a roll-back undoes them too.

    Raises:
        ApplyError: it is missing or incomplete.
    """
    kept = {generation.number: generation for generation in list_generations(directory)}
    if not kept:
        raise ApplyError(f"no former configuration is kept in {directory}/generations; nothing was changed")
    number = max(kept) if number is None else number
    if number not in kept:
        raise ApplyError(
            f"generation {number} is missing or incomplete; these are kept: {', '.join(map(str, kept))}"
        )
    chosen = kept[number]
    for newer in (generation for generation in kept.values() if generation.number > number):
        chosen = chosen.merged(newer)
    return chosen


def edit_back(copy: StagedConfig, directory: Path, generation: Generation) -> None:
    """Undo in a copy of the present configuration what was changed since the generation. Raises PostfixError, OSError."""
    former = PostfixConfig(folder_of(directory, generation.number))
    if not _put_back(copy.main_cf, former.main_cf, generation.parameters):
        explicit = former.explicit()
        _set_or_remove(generation.parameters, explicit, copy.set_parameters, copy.remove_parameters)
    if not _put_back(copy.master_cf, former.master_cf, generation.services):
        services = former.services()
        _set_or_remove(generation.services, services, copy.set_services, copy.remove_services)


def former_services(config: PostfixConfig, directory: Path, generation: Generation) -> dict[str, str]:
    """Return the services of a generation that a roll-back sets, and that are missing or different now.

    main.cf must not name them before. Raises PostfixError.
    """
    if not generation.services:
        return {}
    former, present = PostfixConfig(folder_of(directory, generation.number)).services(), config.services()
    return {
        name: former[name]
        for name in generation.services
        if name in former and former[name] != present.get(name)
    }


def _put_back(copy: Path, former: Path, managed: frozenset[str]) -> bool:
    """Put a kept file into the copy if they differ in managed entries alone. Return True if that was done."""
    content = former.read_bytes()
    if unmanaged(copy.read_bytes(), managed) != unmanaged(content, managed):
        return False
    copy.write_bytes(content)
    return True


def _set_or_remove(
    names: Iterable[str],
    former: Mapping[str, str],
    set_all: Callable[[Mapping[str, str]], None],
    remove: Callable[[list[str]], None],
) -> None:
    if present := {name: former[name] for name in names if name in former}:
        set_all(present)
    if absent := sorted(set(names) - former.keys()):
        remove(absent)


def restore_tables(config: PostfixConfig, directory: Path, generation: Generation) -> None:
    """Move the tables of a generation back into place, a source before its index. Raises OSError."""
    for name in generation.files:
        if name not in NAMES:
            content = (folder_of(directory, generation.number) / name).read_bytes()
            mode, *owner = generation.access.get(name, (0o600, *_ROOT))
            write_atomically(config.config_directory / name, content, mode=mode, owner=(owner[0], owner[1]))


def extend_tables(config: PostfixConfig, directory: Path, generation: Generation) -> None:
    """Add a generation's entries to the tables in use, for as long as either main.cf may be in force.

    Without the login of the next hop in force, the relay would answer with 530, and Postfix would bounce the mail.
    Raises PostfixError, OSError.
    """
    folder = folder_of(directory, generation.number)
    for name in generation.files:
        if name in NAMES or Path(name).suffix in _KIND_OF_SUFFIX:
            continue
        suffix = next((one for one in _KIND_OF_SUFFIX if f"{name}{one}" in generation.files), "")
        kind = (index_type(folder / f"{name}{suffix}") or _KIND_OF_SUFFIX[suffix]) if suffix else "texthash"
        table = LookupTable(name, kind, read_entries(folder / name), secret=True)
        if kind in INDEX_SUFFIX:
            write_table(config, with_former_entries(config, table))


def remove_made(config: PostfixConfig, generation: Generation) -> None:
    """Remove the tables that Postward made since the generation. Raises OSError."""
    for name in generation.made:
        (config.config_directory / name).unlink(missing_ok=True)


def forget_generation(directory: Path, number: int) -> None:
    """Remove a generation that is in force again, and all others if no probe was ever accepted. Raises OSError."""
    shutil.rmtree(folder_of(directory, number))
    if number == 0 and newest_confirmed(directory) is None:
        shutil.rmtree(directory / "generations")


# The last configuration that Postfix could read


def keep_readable(config: PostfixConfig, directory: Path) -> None:
    """Keep main.cf and master.cf, which Postfix has just read. Raises OSError."""
    folder = directory / "last-readable"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in NAMES:
        content = (config.config_directory / name).read_bytes()
        kept = folder / name
        if not kept.exists() or kept.read_bytes() != content:
            write_atomically(kept, content, mode=0o600)


def restore_readable(config: PostfixConfig, directory: Path) -> Path | None:
    """Replace main.cf and master.cf, which Postfix cannot read, by the last readable ones.

    Returns:
        where the first broken file was saved; None if nothing was done, because no readable one is kept or the files
        are not to blame.

    Raises:
        OSError: a file could not be restored.
    """
    folder = directory / "last-readable"
    if not _is_readable(folder):
        return None
    saved = None
    for name in NAMES:
        current, good = config.config_directory / name, folder / name
        if not good.exists() or (current.exists() and current.read_bytes() == good.read_bytes()):
            continue
        mode = 0o644
        if current.exists():
            mode = current.stat().st_mode & 0o7777
            broken = directory / f"{name}.unreadable"
            write_atomically(broken, current.read_bytes(), mode=0o600)
            saved = saved or broken
        write_atomically(current, good.read_bytes(), mode=mode, owner=_ROOT)
        saved = saved or current
    if saved is not None:
        backdate(config.main_cf)
    return saved


def _is_readable(folder: Path) -> bool:
    """Return True if Postfix can read these files; otherwise the files in use are not to blame."""
    try:
        return bool(PostfixConfig(folder).parameters(["mail_version"]))
    except PostfixError:
        return False

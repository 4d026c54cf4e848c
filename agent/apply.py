"""A plan → the host. Everything that changes Postfix's configuration is in this module.

Promise: at every instant Postfix sees a whole configuration, the old or the new. The edit is made on a staged
copy with Postfix's own tools, `postfix check` judges it, and what postconf reads back must be what was
wanted; only then are files renamed into place: tables before the main.cf that names them. What was there
before is kept as a generation. A failure before the first rename leaves everything as it was.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agent.files import sync_directory, write_atomically, write_new
from agent.postfix import Postfix, PostfixError, let_rest
from config.desired import DesiredState, LookupTable
from config.drift import ActualState, TableState
from config.plan import Activation, Plan
from parsers.postconf import split_list

_KEPT_GENERATIONS = 10
_ACTIVATION = "activation"  # in a generation: what its change needed, and so what its return needs
_ROOT = (0, 0)


class ApplyError(Exception):
    """The configuration could not be changed; the text says why, and that the old one is in force."""


@contextmanager
def exclusively(directory: Path) -> Iterator[None]:
    """Hold the lock of the configuration: two processes never change it at once. Raises ApplyError."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "apply.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ApplyError(
                "another Postward process is changing the configuration; wait for it, or stop it"
            ) from None
        yield
    finally:
        os.close(descriptor)


def read_actual(postfix: Postfix, desired: DesiredState) -> ActualState:
    """What Postfix has of what is desired. Raises PostfixError, OSError."""
    tables = {table.name: _read_table(postfix, table) for table in desired.tables}
    return ActualState(postfix.parameters(desired.parameters), tables)


def _read_table(postfix: Postfix, table: LookupTable) -> TableState:
    source = postfix.config_directory / table.name
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
        status = source.stat()
    except FileNotFoundError:
        return TableState()
    state = TableState(text, status.st_mode & 0o7777, (status.st_uid, status.st_gid))
    index = table.index_name and postfix.config_directory / table.index_name
    if not index or not index.exists():
        return state
    built = index.stat()
    current = built.st_mtime_ns >= status.st_mtime_ns and _holds(postfix, table, source)
    return TableState(
        state.text, state.mode, state.owner, built.st_mode & 0o7777, (built.st_uid, built.st_gid), current
    )


def _holds(postfix: Postfix, table: LookupTable, source: Path) -> bool:
    """True if the index answers every key as the table says. A damaged index is one that does not."""
    try:
        # postmap folds keys to lower case, as Postfix does when it looks them up.
        found = postfix.look_up(table.type, source, [key for key, _ in table.entries])
    except PostfixError:
        return False
    return {key.lower(): value for key, value in found.items()} == {
        key.lower(): value for key, value in table.entries
    }


def apply(plan: Plan, postfix: Postfix, directory: Path, *, keep: bool) -> None:
    """Carry out a plan. The caller holds the lock.

    Args:
        plan: what to do.
        postfix: where.
        directory: enforce.directory, where the candidate is staged and generations are kept.
        keep: keep what is in force now as a generation, for `roll_back`.

    Raises:
        ApplyError: what went wrong; before anything was moved into place unless the text says otherwise.
    """
    try:
        staged = _stage(plan, postfix, directory)
        if keep:
            keep_generation(plan, postfix, directory)
        for table in plan.tables:
            _write_table(postfix, table)
        if staged is not None:
            _replace_main_cf(postfix, staged)
    except (PostfixError, OSError) as error:
        raise ApplyError(f"{error}; the configuration in force was left as it is") from error
    activate(plan.activation, postfix)


def _stage(plan: Plan, postfix: Postfix, directory: Path) -> Path | None:
    """Edit a copy and let Postfix judge it. The folder of the copy; None if main.cf stays as it is."""
    if not plan.parameters:
        return None
    directory = directory / "candidate"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
    for name in ("main.cf", "master.cf"):
        shutil.copyfile(postfix.config_directory / name, directory / name)
    candidate = Postfix(directory)
    candidate.set_parameters(plan.parameters)
    _read_back(candidate, plan.parameters)
    candidate.check()
    return directory


def _read_back(candidate: Postfix, parameters: Mapping[str, str]) -> None:
    """Postconf takes any name and joins lines: what it reads back must be what was written."""
    read = candidate.parameters(parameters)
    for name, value in parameters.items():
        if name not in read:
            raise ApplyError(
                f"main_cf.{name}: this Postfix knows no such parameter; remove it or correct its name"
            )
        if split_list(read[name]) != split_list(value):
            raise ApplyError(
                f"{name} = {value} is read back as {read[name]}; the configuration in force was left as it is"
            )


def _replace_main_cf(postfix: Postfix, staged: Path) -> None:
    """Move the edited copy into place with the owner and mode that main.cf has (postconf -e would reset them)."""
    status = postfix.main_cf.stat()
    data = (staged / "main.cf").read_bytes()
    write_atomically(
        postfix.main_cf, data, mode=status.st_mode & 0o7777, owner=(status.st_uid, status.st_gid)
    )
    let_rest(postfix.main_cf)
    shutil.rmtree(staged)


def _write_table(postfix: Postfix, table: LookupTable) -> None:
    """Build source and index beside their places, then rename the index first: Postfix reads only the index."""
    source = postfix.config_directory / table.name
    beside = postfix.config_directory / f".{table.name}.postward"
    write_new(beside, table.text.encode(), mode=table.mode, owner=_ROOT)
    if table.index_name:
        index = postfix.config_directory / table.index_name
        built = beside.with_name(index.name.replace(table.name, beside.name, 1))
        built.unlink(missing_ok=True)
        postfix.build_index(table.type, beside)
        built.chmod(table.mode)
        built.replace(index)
    beside.replace(source)
    sync_directory(postfix.config_directory)


def activate(activation: Activation, postfix: Postfix) -> None:
    """Bring changed files into force. A Postfix that does not run reads them when it is started. Raises ApplyError.

    The queue is flushed: qmgr forgets which destinations failed under the former configuration, and mail that
    waited for this change goes out at once.
    """
    if not postfix.is_running():
        return
    try:
        if activation is Activation.RESTART:
            postfix.restart()
        elif activation is Activation.RELOAD:
            postfix.reload()
        postfix.flush()
    except PostfixError as error:
        raise ApplyError(f"the files are changed, but Postfix did not take them: {error}") from error


def keep_generation(plan: Plan, postfix: Postfix, directory: Path) -> None:
    """Keep what is in force now, for `roll_back`. For root alone: tables hold secrets."""
    directory = directory / "generations"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    numbers = _generations(directory)
    generation = directory / str(max(numbers, default=0) + 1)
    generation.mkdir(mode=0o700)
    names = ["main.cf", *(name for table in plan.tables for name in (table.name, table.index_name) if name)]
    for name in names:
        path = postfix.config_directory / name
        if path.exists():
            write_new(generation / name, path.read_bytes(), mode=0o600, owner=_ROOT)
    write_new(generation / _ACTIVATION, plan.activation.name.encode(), mode=0o600, owner=_ROOT)
    for number in sorted(numbers)[: -(_KEPT_GENERATIONS - 1)]:
        shutil.rmtree(directory / str(number))


def roll_back(postfix: Postfix, directory: Path) -> int:
    """Put the newest kept generation back and bring it into force. The caller holds the lock.

    Returns:
        its number.

    Raises:
        ApplyError: there is none, or it cannot be put back.
    """
    directory = directory / "generations"
    numbers = _generations(directory) if directory.is_dir() else []
    if not numbers:
        raise ApplyError(f"there is no former configuration in {directory}; nothing was changed")
    generation = directory / str(max(numbers))
    try:
        activation = Activation[(generation / _ACTIVATION).read_text()]
        # main.cf last: the tables that it names are there when Postfix reads it.
        files = [path for path in generation.iterdir() if path.name != _ACTIVATION]
        for path in sorted(files, key=lambda path: (path.name == "main.cf", path.name)):
            target = postfix.config_directory / path.name
            mode = target.stat().st_mode & 0o7777 if target.exists() else 0o600
            write_atomically(target, path.read_bytes(), mode=mode, owner=_ROOT)
    except (OSError, KeyError) as error:
        raise ApplyError(f"generation {generation.name} could not be put back: {error}") from error
    activate(activation, postfix)
    shutil.rmtree(generation)
    return int(generation.name)


def _generations(directory: Path) -> list[int]:
    return [int(path.name) for path in directory.iterdir() if path.name.isdecimal()]

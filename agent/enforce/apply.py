"""Carries out a plan. Every change of Postfix's configuration starts here.

Promise: at every instant Postfix sees a complete configuration, the old or the new one. The edit is made on a copy with
Postfix's own tools, `postfix check` must accept it, and postconf(1) must read back what was written. Only then are
files renamed into place, in an order in which none names another that is missing. The configuration in force before is
kept as a generation.

How it fails: an error before the first rename leaves everything unchanged. After an error later, or a kill at any
point, `complete` and the next convergence finish the change.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from postward.agent.enforce.history import (
    Generation,
    choose_generation,
    edit_back,
    extend_tables,
    former_services,
    keep_generation,
    note_repair,
    remove_made,
    restore_tables,
)
from postward.agent.enforce.state import ApplyError, HalfDoneError, RefusedError, restart_announced
from postward.agent.enforce.tables import (
    exposed_logins,
    read_table,
    stale_tables,
    with_former_entries,
    write_table,
)
from postward.agent.fsutil import wait_until, write_atomically
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.config import (
    Candidate,
    EditRefusedError,
    PostfixConfig,
    StagedConfig,
    unix_services,
)
from postward.agent.postfix.run import PostfixError
from postward.config.bridge import PARAMETERS as BRIDGED
from postward.config.bridge import bridge
from postward.config.consequences import PARAMETERS as CONSEQUENTIAL
from postward.config.desired import DesiredState
from postward.config.drift import READABLE, ActualState, Kind, differing
from postward.config.plan import RESTART_PARAMETERS, Activation, Plan
from postward.config.resources import OWN_SERVICE
from postward.parsers.postconf import Service, split_list

LOCK_TIMEOUT = 30.0  # seconds; a change takes a few
_CLOCK_TICK = 0.02  # seconds: the resolution of a process's start
_PENDING = "pending"  # names the activation that the files in place, or about to be, still need


@contextmanager
def exclusively(directory: Path, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the lock under which Postward changes the configuration, waiting up to `timeout` seconds. Raises ApplyError."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "apply.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not wait_until(lambda: _lock(descriptor), timeout):
            raise ApplyError(
                f"another Postward process has been changing the configuration for {timeout:.0f} s; "
                "wait for it, or stop it"
            )
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_actual(postfix: Postfix, desired: DesiredState) -> ActualState:
    """Read the actual state of everything that is desired. Raises PostfixError, OSError.

    The files' times are read first. Otherwise an edit during this call would look like one that only lacks a reload,
    and would be brought into force. The next call sees it.
    """
    changed = postfix.last_changed()
    master = postfix.master()
    own = {name: line for name, line in unix_services(master).items() if name.startswith(OWN_SERVICE)}
    tables = {table.name: read_table(postfix, table) for table in desired.tables}
    parameters = postfix.parameters(desired.parameters)
    expanded, wanted = _meanings(postfix, differing(desired.parameters, parameters))
    return ActualState(
        parameters,
        tables,
        own,
        stat.S_IMODE(postfix.main_cf.stat().st_mode),
        _unloaded(postfix, changed),
        expanded,
        wanted,
        stale_tables=tuple(stale_tables(postfix, desired, master)),
        listeners=tuple(name for name in map(_listener, master.services.values()) if name),
        exposed=tuple(exposed_logins(postfix, parameters, desired)),
    )


def _listener(service: Service) -> str:
    """Return the name of a service that listens at inet_interfaces; "" for others and those with their own address."""
    return service.name if service.type == "inet" and ":" not in service.name else ""


def _meanings(postfix: Postfix, values: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the actual and the desired values of parameters, expanded; empty if Postfix cannot expand them."""
    if not values:
        return {}, {}
    names = dict.fromkeys([*values, *CONSEQUENTIAL])
    try:
        before, after = postfix.meanings(names), postfix.meanings(names, values)
    except PostfixError:  # Postfix refuses a desired value, and the check of the copy says why
        return {}, {}
    for expanded in (before, after):
        expanded["myorigin"] = _content(expanded["myorigin"])
    return before, after


def _content(value: str) -> str:
    """Return a value, or the first word of the file that it names, as in Debian's `myorigin = /etc/mailname`."""
    if not value.startswith("/"):
        return value
    try:
        return next(iter(Path(value).read_text(errors="replace").split()), value)
    except OSError:
        return value


def _unloaded(postfix: Postfix, changed: float) -> str | None:
    """Return when the files were changed, if the running Postfix has not read them since."""
    read = postfix.last_read()
    if read is None or changed <= read + _CLOCK_TICK:
        return None
    return datetime.fromtimestamp(changed).astimezone().strftime("%H:%M:%S")


def apply(
    plan: Plan, postfix: Postfix, directory: Path, *, keep: bool, confirmed: str = "", half_done: bool = False
) -> None:
    """Carry out a plan. The caller holds the lock.

    Args:
        plan: the changes.
        postfix: the instance to change.
        directory: enforce.directory, where the copy is edited and generations are kept.
        keep: keep the configuration in force as a generation; False for a repair.
        confirmed: the hash of the state in force, if a probe was accepted with it.
        half_done: an earlier change was begun and not completed.

    Raises:
        RefusedError: Postfix refuses the new configuration; nothing was changed.
        HalfDoneError: an error after files had been changed.
        ApplyError: another error, before any file was changed.
    """
    with _change(postfix, directory) as change:
        if plan.main_cf_readable:
            postfix.main_cf.chmod(stat.S_IMODE(postfix.main_cf.stat().st_mode) | READABLE)
        if all(drift.kind is Kind.MODE for drift in plan.drifts):
            return
        _require_restartable(plan, postfix)
        edit = partial(_edit, plan=plan)
        candidate = Candidate(postfix, directory / "candidate", edit)
        bridges = _bridges(postfix, directory, edit, plan.parameters)
        if keep:
            keep_generation(plan, postfix, directory, confirmed=confirmed, half_done=half_done)
        else:
            note_repair(plan, directory)
        change.begin(plan.activation)
        _move(plan, candidate, bridges, postfix, directory, change)
        candidate.discard()
    complete(postfix, directory)
    _drop_former_entries(plan, postfix)
    for name in plan.stale_tables:
        (postfix.config_directory / name).unlink(missing_ok=True)


def _require_restartable(plan: Plan, postfix: Postfix) -> None:
    """Refuse a restart of a Postfix in the foreground: its container would end. Raises PostfixError."""
    if plan.activation is Activation.RESTART and not postfix.can_restart():
        names = ", ".join(name for name in plan.parameters if name in RESTART_PARAMETERS)
        raise PostfixError(
            f"{names}: takes effect only when Postfix starts, and this Postfix runs in the foreground (postfix start-fg), "
            "where a restart would end it and its container; run `postward apply --no-verify` before `postfix start-fg`, "
            "or leave the key out of the settings"
        )


def roll_back(postfix: Postfix, directory: Path, number: int | None = None) -> Generation:
    """Restore a generation (the newest for None) and bring it into force. The caller holds the lock.

    Everything that Postward changed since is set as it was. Edits of other programs stay. The generation is still kept.
    Until the former main.cf is in force, the tables hold the entries of both.

    Raises:
        HalfDoneError: an error after files had been changed.
        ApplyError: the generation is missing, or it cannot be restored.
    """
    with _change(postfix, directory) as change:
        generation = choose_generation(directory, number)
        edit = partial(edit_back, directory=directory, generation=generation)
        candidate = Candidate(postfix, directory / "candidate", edit)
        bridges = _bridges(postfix, directory, edit, generation.parameters)
        change.begin(generation.activation)
        change.moved = True
        extend_tables(postfix, directory, generation)
        if services := former_services(postfix, directory, generation):
            _move_services(lambda copy: copy.set_services(services), postfix, directory, change)
        _move_main_cf(candidate, bridges, postfix, change)
        change.move(candidate, "master.cf")
        candidate.discard()
    complete(postfix, directory)
    try:
        restore_tables(postfix, directory, generation)
        remove_made(postfix, generation)
    except OSError as error:
        raise HalfDoneError(f"{error}; the configuration is back, but not all tables are") from error
    return generation


@dataclass(slots=True)
class _Change:
    """A change under way.

    Attributes:
        directory: enforce.directory.
        moved: True as soon as a file in use may have been replaced.
    """

    directory: Path
    moved: bool = False

    def move(self, candidate: Candidate, name: str) -> None:
        """Move an edited file into place. Raises PostfixError, OSError."""
        candidate.move(name)
        self.moved = True

    def begin(self, activation: Activation) -> None:
        """Record how the files that are about to be moved come into force, for `complete`."""
        write_atomically(self.directory / _PENDING, activation.name.encode(), mode=0o600)


@contextmanager
def _change(postfix: Postfix, directory: Path) -> Iterator[_Change]:
    """Turn errors into ApplyErrors that say whether files in use have been replaced."""
    change = _Change(directory)
    try:
        yield change
    except (PostfixError, OSError) as error:
        if not change.moved or _is_loaded(postfix):
            # Postfix has read main.cf and master.cf as they are: there is nothing to bring into force.
            with contextlib.suppress(OSError):
                (directory / _PENDING).unlink(missing_ok=True)
        if change.moved:
            raise HalfDoneError(
                f"{error}; some files are changed already, and the next look continues"
            ) from error
        if isinstance(error, EditRefusedError):
            raise RefusedError(str(error)) from error
        raise ApplyError(f"{error}; the configuration in force is unchanged") from error


def _is_loaded(postfix: Postfix) -> bool:
    try:
        return _unloaded(postfix, postfix.last_changed()) is None
    except (PostfixError, OSError):
        return False


def _move(
    plan: Plan,
    candidate: Candidate,
    bridges: Sequence[Candidate],
    postfix: Postfix,
    directory: Path,
    change: _Change,
) -> None:
    """Move all files into place. A service exists before main.cf names it, and until main.cf no longer names it."""
    for table in plan.tables:
        change.moved = True
        write_table(postfix, with_former_entries(postfix, table))
    if plan.services:
        change.move(candidate, "master.cf")
    if plan.parameters:
        _move_main_cf(candidate, bridges, postfix, change)
    if stale := plan.stale_services:
        _move_services(lambda copy: copy.remove_services(stale), postfix, directory, change)


def _move_services(
    edit: Callable[[StagedConfig], None], postfix: Postfix, directory: Path, change: _Change
) -> None:
    """Edit the services of master.cf alone."""
    try:
        candidate = Candidate(postfix, directory / "services", edit)
    except EditRefusedError as error:  # not the fault of the settings, which are in place
        raise PostfixError(str(error)) from error
    change.move(candidate, "master.cf")
    candidate.discard()


def _bridges(
    postfix: Postfix, directory: Path, edit: Callable[[StagedConfig], None], changed: Iterable[str]
) -> list[Candidate]:
    """Return the main.cf to load in between: the former one with all logins, and then the new one, as far as they lack some."""
    if not set(changed) & set(BRIDGED):
        return []
    former, new = (_login_values(config) for config in (postfix, PostfixConfig(directory / "candidate")))
    begin, end = bridge(new, former), bridge(former, new)
    if not (begin or end) or not postfix.is_running():
        return []

    def begun(copy: StagedConfig) -> None:
        copy.set_parameters(begin)

    def ended(copy: StagedConfig) -> None:
        edit(copy)
        copy.set_parameters(end)

    steps = (("begin", begun, begin), ("end", ended, end))
    return [Candidate(postfix, directory / name, step) for name, step, parameters in steps if parameters]


def _login_values(config: PostfixConfig) -> dict[str, str]:
    written = config.parameters(BRIDGED)
    expanded = config.meanings(BRIDGED)
    return {name: value if name.endswith("_maps") else expanded[name] for name, value in written.items()}


def _move_main_cf(
    candidate: Candidate, bridges: Iterable[Candidate], postfix: Postfix, change: _Change
) -> None:
    """Move main.cf into place, by way of bridges that are in force one after the other."""
    for bridging in bridges:
        change.move(bridging, "main.cf")
        postfix.reload()
        bridging.discard()
    change.move(candidate, "main.cf")


def _drop_former_entries(plan: Plan, postfix: Postfix) -> None:
    """Rewrite tables without the former entries, which the configuration no longer refers to."""
    try:
        for table in plan.tables:
            if with_former_entries(postfix, table) != table:
                write_table(postfix, table)
    except (PostfixError, OSError) as error:
        raise HalfDoneError(
            f"{error}; the new configuration is in force, former entries are still in the tables"
        ) from error


def _edit(copy: StagedConfig, plan: Plan) -> None:
    if plan.services:
        copy.set_services(plan.services)
        _compare(plan.services, copy.services())
    if plan.parameters:
        copy.set_parameters(plan.parameters)
        _compare(plan.parameters, copy.parameters(plan.parameters))


def _compare(written: Mapping[str, str], read: Mapping[str, str]) -> None:
    """Require that postconf(1), which accepts any value and joins lines, reads back what was written."""
    for name, value in written.items():
        if split_list(read.get(name, "")) != split_list(value):
            raise EditRefusedError(
                f"{name} = {value} is read back as {read.get(name, 'nothing')}; write it as Postfix has it"
            )


def complete(postfix: Postfix, directory: Path) -> None:
    """Bring changed files into force, including those of a process that was killed. Raises HalfDoneError.

    A Postfix that is not running reads them when it starts. The queue is flushed: qmgr(8) forgets which destinations
    failed under the former configuration, and mail that waited for this change is sent at once.
    """
    pending = directory / _PENDING
    if not pending.exists():
        return
    try:
        activation = Activation.__members__.get(pending.read_text(), Activation.RESTART)
        if postfix.is_running():
            _activate(activation, postfix, directory)
        pending.unlink()
    except (PostfixError, OSError) as error:
        raise HalfDoneError(f"the files are changed, but Postfix did not load them: {error}") from error


def _activate(activation: Activation, postfix: Postfix, directory: Path) -> None:
    if activation is Activation.RESTART and postfix.can_restart():
        with restart_announced(directory):
            postfix.restart()
    elif activation is not Activation.NONE:
        postfix.reload()
    postfix.flush()

"""A plan → the host. Everything that changes Postfix's configuration starts here.

Promise: at every instant Postfix sees a whole configuration, the old or the new. The edit is made on a copy
with Postfix's own tools, `postfix check` judges it (`candidate`), and what postconf reads back must be what was
wanted; only then are files renamed into place, in an order in which none names what is not there. What was there
before is kept as a generation. A failure before the first rename leaves everything as it was; after a kill at
any point, `complete` and the next look bring the rest.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from postward.agent.enforce.errors import ApplyError, HalfDoneError, RefusedError
from postward.agent.enforce.history import (
    Generation,
    NoGenerationError,
    choose_generation,
    edit_back,
    folder_of,
    keep_generation,
    restore_tables,
)
from postward.agent.enforce.tables import read_table, with_former_entries, write_table
from postward.agent.fsutil import wait_until, write_atomically
from postward.agent.postfix.candidate import Candidate
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.config.desired import OWN_SERVICE, DesiredState
from postward.config.drift import ActualState
from postward.config.plan import Activation, Plan
from postward.parsers.postconf import split_list

_TICK = 0.02  # seconds to which the start of a process is known
_LOCK_TAKES = 30.0  # seconds at the most; a change takes a few
_PENDING = "pending"  # names the activation that files already moved, or about to be, still need


@contextmanager
def exclusively(directory: Path) -> Iterator[None]:
    """Hold the lock of the configuration, which is waited for: two processes never change it at once. Raises ApplyError."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "apply.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not wait_until(lambda: _lock(descriptor), _LOCK_TAKES):
            raise ApplyError(
                f"another Postward process has been changing the configuration for {_LOCK_TAKES:.0f} s; "
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
    """What Postfix has of what is desired. Raises PostfixError, OSError.

    The files' times come first: an edit in the middle of this look is not taken for one that was looked at and only
    lacks a reload, which would bring it into force. It is the next look's.
    """
    changed = postfix.last_changed()
    own = {name: line for name, line in postfix.services().items() if name.startswith(OWN_SERVICE)}
    tables = {table.name: read_table(postfix, table) for table in desired.tables}
    return ActualState(postfix.parameters(desired.parameters), tables, own, _unloaded(postfix, changed))


def _unloaded(postfix: Postfix, changed: float) -> str | None:
    """When the files were changed, if that was after the running Postfix last read them."""
    read = postfix.last_read()
    if read is None or changed <= read + _TICK:
        return None
    return datetime.fromtimestamp(changed).astimezone().strftime("%H:%M:%S")


def apply(
    plan: Plan, postfix: Postfix, directory: Path, *, keep: bool, confirmed: str = "", half_done: bool = False
) -> None:
    """Carry out a plan. The caller holds the lock.

    Args:
        plan: what to do.
        postfix: where.
        directory: enforce.directory, where the copy is edited and generations are kept.
        keep: keep what is in force now as a generation, for `roll_back`.
        confirmed: the name of the state in force, if a probe was accepted with it.
        half_done: a change was begun and not ended.

    Raises:
        RefusedError: Postfix judges it wrong; nothing was changed.
        HalfDoneError: it went wrong when files had been changed.
        ApplyError: it went wrong before.
    """
    moved = False
    try:
        candidate = Candidate(postfix, directory / "candidate", lambda copy: _edit(copy, plan))
        if keep:
            keep_generation(plan, postfix, directory, confirmed=confirmed, half_done=half_done)
        _note_pending(directory, plan.activation)
        for table in plan.tables:
            moved = True
            write_table(postfix, with_former_entries(postfix, table))
        # A service is there before main.cf names it, and goes when main.cf does not name it any more.
        if plan.services:
            candidate.move("master.cf")
            moved = True
        if plan.parameters:
            candidate.move("main.cf")
            moved = True
        if plan.stale_services:
            _remove_services(plan.stale_services, postfix, directory)
        candidate.discard()
    except (PostfixError, OSError) as error:
        raise _not_applied(error, postfix, directory, moved=moved) from error
    complete(postfix, directory)
    _drop_former_entries(plan, postfix)


def _note_pending(directory: Path, activation: Activation) -> None:
    write_atomically(directory / _PENDING, activation.name.encode(), mode=0o600)


def _not_applied(error: Exception, postfix: Postfix, directory: Path, *, moved: bool) -> ApplyError:
    """What to tell. While main.cf and master.cf are what Postfix has read, there is nothing to bring into force."""
    with contextlib.suppress(PostfixError, OSError):
        if not moved or _unloaded(postfix, postfix.last_changed()) is None:
            (directory / _PENDING).unlink(missing_ok=True)
    if moved:
        return HalfDoneError(f"{error}; some files are changed already: the next look goes on")
    return ApplyError(f"{error}; the configuration in force was left as it is")


def _remove_services(names: Iterable[str], postfix: Postfix, directory: Path) -> None:
    try:
        candidate = Candidate(postfix, directory / "candidate", lambda copy: copy.remove_services(names))
    except RefusedError as error:
        raise PostfixError(str(error)) from error
    candidate.move("master.cf")


def _drop_former_entries(plan: Plan, postfix: Postfix) -> None:
    """Now that nothing asks for them any more, the tables become what they should be."""
    try:
        for table in plan.tables:
            if with_former_entries(postfix, table) != table:
                write_table(postfix, table)
    except (PostfixError, OSError) as error:
        raise HalfDoneError(
            f"{error}; the new configuration is in force, former entries are still in the tables"
        ) from error


def _edit(copy: Postfix, plan: Plan) -> None:
    if plan.services:
        copy.set_services(plan.services)
    if plan.parameters:
        copy.set_parameters(plan.parameters)
    _read_back(copy, plan)


def _read_back(copy: Postfix, plan: Plan) -> None:
    """Postconf takes any value and joins lines: what it reads back must be what was written."""
    _compare(plan.parameters, copy.parameters(plan.parameters) if plan.parameters else {})
    _compare(plan.services, copy.services() if plan.services else {})


def _compare(written: Mapping[str, str], read: Mapping[str, str]) -> None:
    for name, value in written.items():
        if split_list(read.get(name, "")) != split_list(value):
            raise RefusedError(
                f"{name} = {value} is read back as {read.get(name, 'nothing')}; write it as Postfix has it"
            )


def complete(postfix: Postfix, directory: Path) -> None:
    """Bring changed files into force; also those of a process that was killed before it could. Raises HalfDoneError.

    A Postfix that does not run reads them when it is started. The queue is flushed: qmgr(8) forgets which destinations
    failed under the former configuration, and mail that waited for this change goes out at once.
    """
    pending = directory / _PENDING
    if not pending.exists():
        return
    try:
        activation = Activation.__members__.get(pending.read_text(), Activation.RESTART)
        if postfix.is_running():
            _activate(activation, postfix)
        pending.unlink()
    except (PostfixError, OSError) as error:
        raise HalfDoneError(f"the files are changed, but Postfix did not take them: {error}") from error


def _activate(activation: Activation, postfix: Postfix) -> None:
    if activation is Activation.RESTART:
        postfix.restart()
    elif activation is Activation.RELOAD:
        postfix.reload()
    postfix.flush()


def roll_back(postfix: Postfix, directory: Path, number: int | None = None) -> Generation:
    """Put a kept generation (the newest for None) back and bring it into force. The caller holds the lock.

    What was changed since is as it was then; what others have edited since stays. The generation is still kept.

    Raises:
        ApplyError: there is none, or it cannot be put back.
    """
    moved = False
    try:
        chosen = choose_generation(directory, number)
        former = Postfix(folder_of(directory, chosen.number))
        candidate = Candidate(postfix, directory / "candidate", lambda copy: edit_back(copy, former, chosen))
        _note_pending(directory, chosen.activation)
        moved = True
        restore_tables(postfix, directory, chosen)
        for name in ("master.cf", "main.cf"):
            candidate.move(name)
        candidate.discard()
    except NoGenerationError as error:
        raise ApplyError(str(error)) from error
    except (PostfixError, OSError) as error:
        raise _not_applied(error, postfix, directory, moved=moved) from error
    complete(postfix, directory)
    return chosen

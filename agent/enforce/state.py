"""The state of enforcement: what everybody may read of it, and what only the enforcer knows.

`enforcement.json` is the only thing between the enforcer, which is root, and the agent, which need not be: the enforcer
writes it, the agent reads it at each scrape. It holds names and numbers, never a secret. `docs/enforcement.md`
describes it. `applied.json` is readable only by root: it identifies desired states, which contain passwords, by a keyed
hash.
"""

import contextlib
import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from postward.agent.fsutil import free_bytes, stat_identity, write_atomically
from postward.agent.parts import Gauges, Part
from postward.agent.stored import MAX_MOMENT, Form, parse_json, printable_values, read_regular
from postward.agent.text import clock_time
from postward.config.desired import DesiredState

VERSION = 1
RESULTS = ("applied", "failed", "refused", "confirmed", "rolled_back")
_HOUR = 3600.0
_MAX_RESTART = 60.0  # seconds until a Postfix that Postward has stopped counts as down
# Seconds that a look may take, with its commands, or the probe that confirms new settings.
_MAX_LOOK = 90.0
_AFTER_RESTART = 5.0  # seconds in which an earlier look at Postfix's processes may still be evaluated

_Moment = Annotated[float, Field(ge=0, le=MAX_MOMENT)]
_log = logging.getLogger("postward.enforce")


class ApplyError(Exception):
    """The configuration could not be changed, and the one in force is unchanged. The text says why."""


class RefusedError(ApplyError):
    """Postfix or a relay refuses the new configuration: it would do so again."""


class HalfDoneError(ApplyError):
    """Some files are changed, but not all of them, or Postfix did not load them. The next convergence continues."""


@dataclass(slots=True)
class Enforcement:
    """The contents of `enforcement.json`.

    Attributes:
        in_sync: Postfix has the configuration that the settings ask for; None before the first look.
        drift: names of parameters and files that differ now.
        unknown: parameters that this release of Postfix does not know, and that were not written.
        conflicts: names that another tool keeps changing, and that are left alone.
        repairs: how often each name was repaired.
        repaired_at: when each name was repaired in the last hour, in seconds since the epoch.
        applies: number of changes by result.
        permissions: owners and modes of Postfix's own files that are wrong, as only root sees all of them.
        problem: why the last look or change failed.
        restarting_until: until when Postfix may be down because Postward restarts it, in seconds since the epoch.
        looked_at: when Postfix's configuration was last compared with the settings, in seconds since the epoch.
        last_look: the same on the monotonic clock, in seconds. It has no steps, and all processes of a host share it.
        next_look: when the enforcer compares them again, on that clock; None if no enforcer ever ran.
    """

    in_sync: bool | None = None
    drift: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)
    repaired_at: dict[str, list[float]] = field(default_factory=dict)
    applies: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RESULTS, 0))
    permissions: list[str] = field(default_factory=list)
    problem: str | None = None
    restarting_until: float = 0.0
    looked_at: _Moment = 0.0
    last_look: _Moment = 0.0
    next_look: _Moment | None = None

    def is_current(self, now: float) -> bool:
        """Return True if the rest of the state still holds: the next look is not overdue at `now`, a monotonic time.

        After a reboot the clock begins at 0, and the enforcer has time for its first look.
        """
        if self.last_look > now:
            return now <= _MAX_LOOK
        return now <= (self.last_look if self.next_look is None else self.next_look) + _MAX_LOOK

    def note_look(self, moment: float, now: float, interval: float | None) -> None:
        """Record a look.

        Args:
            moment: seconds since the epoch.
            now: monotonic time.
            interval: seconds until the next look; None if the caller does not look again.
        """
        if interval is not None:
            self.next_look = now + interval
        elif self.next_look is not None and self.last_look > now:
            self.next_look = 0.0  # it was before a reboot
        self.looked_at, self.last_look = moment, now

    def gauges(self, now: float) -> Gauges:
        """Return the metrics of enforcement. A state that is out of date at `now` does not say what is in sync."""
        gauges: dict[str, Mapping[tuple[str, ...], float]] = {
            "postward_config_repairs_total": {
                (name,): float(number) for name, number in self.repairs.items()
            },
            "postward_config_applies_total": {
                (result,): float(number) for result, number in self.applies.items()
            },
        }
        if self.looked_at:
            gauges["postward_config_check_timestamp_seconds"] = {(): self.looked_at}
        if self.next_look is not None:
            gauges["postward_enforcer_up"] = {(): float(self.is_current(now))}
        if self.is_current(now) and self.in_sync is not None:
            gauges["postward_config_in_sync"] = {(): float(self.in_sync)}
            gauges["postward_config_drift"] = {(name,): 1.0 for name in self.drift}
            gauges["postward_config_conflict"] = {(name,): 1.0 for name in self.conflicts}
        return gauges

    def conditions(self) -> dict[str, str | None]:
        """Return what the last look found wrong. A conflict is not reported as drift a second time."""
        if self.in_sync is None:
            return {}
        names = ", ".join(name for name in self.drift if name not in self.conflicts)
        is_drift = not self.in_sync and (names or not self.conflicts)
        why = f": {self.problem}" if self.problem else ""
        return {
            "config-conflict": (self.problem or ", ".join(self.conflicts)) if self.conflicts else None,
            "config-drift": f"drift in {names or 'the configuration'}{why}" if is_drift else None,
        }

    def count(self, result: str) -> None:
        """Count a change by its result."""
        self.applies[result] = self.applies.get(result, 0) + 1

    def count_repairs(self, names: list[str], now: float) -> None:
        """Count repairs."""
        for name in names:
            self.repairs[name] = self.repairs.get(name, 0) + 1
            self.repaired_at.setdefault(name, []).append(now)

    def note_drift(self, names: list[str], now: float, max_repairs: int) -> None:
        """Record the present drift. A name that was repaired `max_repairs` times within the last hour is a conflict."""
        self.in_sync, self.drift = not names, names
        recent = {
            name: [moment for moment in moments if moment > now - _HOUR]
            for name, moments in self.repaired_at.items()
        }
        self.repaired_at = {name: moments for name, moments in recent.items() if moments}
        self.conflicts = [name for name in names if len(self.repaired_at.get(name, [])) >= max_repairs]


_FORM: Form[Enforcement] = Form(Enforcement)


def enforcement_file(directory: Path) -> Path:
    """Return the path of `enforcement.json` in enforce.directory."""
    return directory / "enforcement.json"


def write_enforcement(path: Path, state: Enforcement) -> None:
    """Replace the file. Raises OSError; then the former one is still there."""
    write_atomically(path, json.dumps({"version": VERSION, **asdict(state)}).encode())


def read_enforcement(path: Path) -> Enforcement | None:
    """Read the file; None if it is missing, unreadable, damaged, or not of this version."""
    try:
        data = parse_json(read_regular(path))
        if data.pop("version") != VERSION:
            return None
        return _FORM.check(asdict(Enforcement(**printable_values(data))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def enforcement_as_shown(directory: Path) -> Enforcement | None:
    """Return the state for those who only read it; None if Postward never changed Postfix on this host.

    A file that is there and cannot be used is an enforcer that was never seen to look.
    """
    file = enforcement_file(directory)
    state = read_enforcement(file)
    if state is None and (stat_identity(file) or (directory.is_dir() and not os.access(directory, os.X_OK))):
        return Enforcement(next_look=0.0)
    return state


def known_drift(directory: Path, now: float) -> tuple[str, ...]:
    """Return the names that differ, as the enforcer last saw them; empty if its state is out of date at `now`."""
    state = enforcement_as_shown(directory)
    return (
        tuple(state.drift) if state is not None and state.is_current(now) and state.in_sync is False else ()
    )


def is_in_sync(directory: Path, now: float) -> bool:
    """Return True if the enforcer, which may read everything, has just found all as the settings say."""
    state = enforcement_as_shown(directory)
    return state is not None and state.is_current(now) and state.in_sync is True


class EnforcementState(Part):
    """Exports the state of enforcement, whichever process enforces."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock

    def gauges(self) -> Gauges:
        """Return the metrics of enforcement; empty if Postward never changed Postfix on this host."""
        state = enforcement_as_shown(self._directory)
        return state.gauges(self._clock()) if state else {}

    def permissions(self) -> list[str]:
        """Return wrong owners and modes of Postfix's own files, as the enforcer sees them."""
        state = enforcement_as_shown(self._directory)
        return state.permissions if state and state.is_current(self._clock()) else []

    def conditions(self) -> Mapping[str, str | None]:
        """Return an enforcer that does not look, and the drift that is not repaired."""
        state = enforcement_as_shown(self._directory)
        if state is None:
            return {}
        silent: dict[str, str | None] = {}
        if state.next_look is not None:
            silent = {"enforcer-silent": None if state.is_current(self._clock()) else self._silence(state)}
        return silent | (state.conditions() if state.is_current(self._clock()) else {})

    def _silence(self, state: Enforcement) -> str:
        since = clock_time(state.looked_at) if state.looked_at else "an unknown time"
        full = "; its file system has no free space" if free_bytes(self._directory) == 0 else ""
        return f"{enforcement_file(self._directory)}: the enforcer has not compared the configuration since {since}{full}"


# Restarts


@contextmanager
def restart_announced(directory: Path, clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Announce in `enforcement.json` that Postward restarts Postfix.

    If this process is killed in between, the announcement expires after a minute. If the restart fails, it ends at once.
    """
    _announce(directory, clock() + _MAX_RESTART)
    try:
        yield
    except BaseException:
        _announce(directory, 0.0)
        raise
    _announce(directory, clock() + _AFTER_RESTART)


def _announce(directory: Path, until: float) -> None:
    file = enforcement_file(directory)
    state = read_enforcement(file) or Enforcement()
    with contextlib.suppress(OSError):  # a full disk must not keep Postfix from being restarted
        write_enforcement(file, replace(state, restarting_until=until))


def restart_under_way(directory: Path, now: float) -> bool:
    """Return True if Postfix may be down at `now` because Postward restarts it. Call it after looking at Postfix."""
    state = read_enforcement(enforcement_file(directory))
    # A clock that was set back must not extend the announcement.
    return state is not None and now < state.restarting_until <= now + _MAX_RESTART


# Only for the enforcer


@dataclass(frozen=True, slots=True)
class AppliedState:
    """The last desired state of each kind, by its keyed hash; "" if there is none. The contents of `applied.json`.

    Attributes:
        key: the key, in hexadecimal.
        applied: the one that was last brought into force; "" while files are being replaced.
        confirmed: the one with which a probe was last accepted.
        refused: the one that must not be applied.
        reason: why it is refused.
    """

    key: str = field(default_factory=lambda: secrets.token_hex(32))
    applied: str = ""
    confirmed: str = ""
    refused: str = ""
    reason: str = ""

    @property
    def confirmed_in_force(self) -> str:
        """The hash of the state in force if it is confirmed, else ""."""
        return self.applied if self.applied == self.confirmed else ""

    def is_applied(self, desired: DesiredState) -> bool:
        """Return True if this state was last brought into force."""
        return self.applied == self._digest(desired)

    def is_confirmed(self, desired: DesiredState) -> bool:
        """Return True if a probe was accepted with this state."""
        return self.confirmed == self._digest(desired)

    def refusal(self, desired: DesiredState) -> str | None:
        """Return why this state must not be applied; None if it may."""
        return self.reason if self.refused == self._digest(desired) else None

    def with_applied(self, desired: DesiredState) -> "AppliedState":
        """Return the state after `desired` came into force. Settings that were refused may be tried again."""
        return replace(self, applied=self._digest(desired), refused="", reason="")

    def with_confirmed(self, desired: DesiredState) -> "AppliedState":
        """Return the state after a probe was accepted with `desired`."""
        return replace(self, confirmed=self._digest(desired))

    def with_refused(self, desired: DesiredState, reason: str) -> "AppliedState":
        """Return the state after `desired` was refused."""
        return replace(self, refused=self._digest(desired), reason=reason)

    def with_restored(self, confirmed: str) -> "AppliedState":
        """Return the state after a former one came back: the one with the hash `confirmed`, or an unconfirmed one for ""."""
        return replace(self, applied=confirmed, confirmed=confirmed or self.confirmed)

    def _digest(self, desired: DesiredState) -> str:
        tables = [(table.name, table.type, table.lasting) for table in desired.tables]
        services = [transport.definition for transport in desired.transports]
        content = json.dumps([sorted(desired.parameters.items()), tables, services]).encode()
        return hmac.new(bytes.fromhex(self.key), content, hashlib.sha256).hexdigest()


def read_applied(directory: Path) -> AppliedState:
    """Read `applied.json` in enforce.directory; an empty state if it is missing or damaged."""
    try:
        state = AppliedState(**json.loads((directory / "applied.json").read_bytes()))
        bytes.fromhex(state.key)
    except (OSError, ValueError, TypeError):
        return AppliedState()
    return state


def write_applied(directory: Path, state: AppliedState) -> None:
    """Replace `applied.json`. Raises OSError."""
    write_atomically(directory / "applied.json", json.dumps(asdict(state)).encode(), mode=0o600)


class StateStore:
    """Both states, as an enforcer works on them.

    Other Postward processes write the same files: call `load` after the lock is taken and `save` before it is released.

    Attributes:
        enforcement: what others may read.
        applied: what only the enforcer knows.
        failed: the last look or change failed for a reason that may pass.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = enforcement_file(directory)
        self._saved = True  # on a full disk the file is older than `enforcement`
        self.enforcement = read_enforcement(self._file) or Enforcement()
        self.applied = read_applied(directory)
        self.failed = False

    def load(self) -> None:
        """Read both files."""
        self.applied = read_applied(self._directory)
        if self._saved:
            self.enforcement = read_enforcement(self._file) or self.enforcement

    def save(self) -> None:
        """Write `enforcement.json`. A failure is logged."""
        if on_disk := read_enforcement(self._file):
            self.enforcement.restarting_until = on_disk.restarting_until  # of `restart_announced`
        try:
            write_enforcement(self._file, self.enforcement)
            self._saved = True
        except OSError as error:
            self._saved = False
            _log.error(
                "%s: %s; the state of enforcement shown is out of date", self._directory, error.strerror
            )

    def set_applied(self, applied: AppliedState) -> None:
        """Write `applied.json` if it changes. Raises OSError."""
        if applied != self.applied:
            write_applied(self._directory, applied)
            self.applied = applied

    @contextmanager
    def replacing(self) -> Iterator[bool]:
        """Mark the state in force as unknown while files are replaced. Yields True if it was unknown before."""
        former = self.applied.applied
        self.set_applied(replace(self.applied, applied=""))
        try:
            yield not former
        except HalfDoneError:
            raise
        except ApplyError:
            self.set_applied(replace(self.applied, applied=former))
            raise

    def note_unknown(self, names: list[str]) -> None:
        """Record the parameters that this release of Postfix does not know. A change is logged."""
        if names and names != self.enforcement.unknown:
            _log.warning(
                "not written, because this release of Postfix does not know them: %s", ", ".join(names)
            )
        self.enforcement.unknown = names

    def report(self, problem: str) -> None:
        """Record a problem. It is logged if it differs from the last one."""
        if problem != self.enforcement.problem:
            _log.error("%s", problem)
        self.enforcement.problem = problem

    def fail(self, problem: str) -> None:
        """Record a failure. One that repeats is counted once."""
        self.failed = True
        if problem != self.enforcement.problem:
            self.enforcement.count("failed")
        self.report(problem)
        self.enforcement.in_sync = False

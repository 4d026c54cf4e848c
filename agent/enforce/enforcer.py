"""Keeps Postfix's configuration what the settings say: look, plan, apply, and confirm by a probe.

Promise: a departure is put right at once and counted once; a new configuration that no probe confirms gives way
to the last one that was confirmed, and is not tried again until the settings change; what another tool keeps
changing back is left alone after a while, and told.

How it fails: a change that cannot be made is told with its reason and counted, and the configuration in force
stays. Settings that Postfix itself refuses are not tried again until they change.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from postward.agent.enforce.apply import apply, complete, exclusively, read_actual, roll_back
from postward.agent.enforce.errors import ApplyError, HalfDoneError, RefusedError
from postward.agent.enforce.history import forget_generation, newest_proven
from postward.agent.enforce.last_good import keep_last_good, restore_readable
from postward.agent.enforce.preflight import preflight
from postward.agent.enforce.state import Enforcement, enforcement_file, read_enforcement, write_enforcement
from postward.agent.enforce.verdicts import AppliedState
from postward.agent.fsutil import wait_for_writers
from postward.agent.postfix.commands import Postfix, PostfixError
from postward.config.desired import DesiredState, PostfixFacts, UnsupportedMapTypeError, desired_state
from postward.config.drift import ActualState, drift, unknown_parameters
from postward.config.errors import SettingsError
from postward.config.plan import Plan, plan
from postward.config.relay import read_passwords
from postward.config.settings import Settings

T = TypeVar("T")

_SETTLE = 0.2  # seconds that a change in Postfix's folder may take: editors write in several steps
_AFTER_FAILURE = 5.0  # seconds: what failed may have changed files by itself, and is not tried again at once

_log = logging.getLogger("postward.enforce")


def is_config_file(name: str) -> bool:
    """True if the change of a file of this name in Postfix's folder calls for a look: files on their way do not."""
    return not name.startswith(".") and not name.endswith(".tmp")


class Enforcer:
    """Converges one Postfix instance to the settings.

    Args:
        settings: what it should be.
        postfix: the instance.
        clock: seconds since the epoch.

    Attributes:
        state: what is known, as the agent exports it.
        applied_at: when what is in force came into force, or was put right before it was confirmed; 0 if it was in force
            when this started.
        failed: the last look or change did not work for a reason that may pass.
    """

    def __init__(self, settings: Settings, postfix: Postfix, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._postfix = postfix
        self._clock = clock
        self._directory = Path(settings.enforce.directory)
        self._facts: PostfixFacts | None = None
        self._verdicts = self._read_verdicts()
        self._in_force: DesiredState | None = None  # what this has seen to be so
        self._file = enforcement_file(self._directory)
        self.state = read_enforcement(self._file) or Enforcement()
        self._written = True  # on a full disk the file is older than what is known here
        self.applied_at = 0.0
        self.failed = False
        self._retired = False
        self._at_work = threading.Lock()  # looking and confirming come from different tasks of one process

    def look(self) -> tuple[Plan, list[str]]:
        """What would put right what differs, and which settings this release of Postfix does not know.

        Raises:
            SettingsError: a password cannot be had.
            PostfixError, OSError: Postfix cannot be asked.
            UnsupportedMapTypeError: postfix.map_type does not exist here.
        """
        desired = self._desired()
        actual = read_actual(self._postfix, desired)
        return plan(drift(desired, actual)), unknown_parameters(desired, actual)

    def converge(self) -> bool:
        """Look, and put right what differs. True if a probe is to say how that works: other settings came into force, or
        those that still wait for a probe's word were put right.
        """
        return bool(self._exclusively(self._converge))

    @property
    def pending_confirmation(self) -> bool:
        """True if the configuration in force waits for a probe's word (`confirm`)."""
        in_force = self._in_force  # another thread may be at work
        return in_force is not None and not self._verdicts.is_confirmed(in_force)

    @property
    def pause(self) -> float:
        """Seconds from a change in Postfix's folder to the next look."""
        return _AFTER_FAILURE if self.failed else _SETTLE

    def retire(self) -> None:
        """Another one takes over: what still waits here for its turn is not done any more."""
        self._retired = True

    def confirm(self, *, accepted: bool, reason: str = "", applied_at: float | None = None) -> None:
        """Take a probe's word on the configuration in force: keep it, or go back to one that worked.

        Args:
            accepted: its word.
            reason: why not.
            applied_at: `applied_at` when it was sent, if others may have come into force since: then it says nothing of them.
        """

        def take() -> None:
            if applied_at in (None, self.applied_at):
                self._confirm(accepted, reason)

        self._exclusively(take)

    def try_again(self) -> None:
        """Let refused settings, and what another tool fought over, be tried again."""

        def forget() -> None:
            self._verdicts.forget_refusal()
            self.state.repaired_at.clear()

        self._exclusively(forget)

    def _exclusively(self, job: Callable[[], T]) -> T | None:
        """Do a job alone, here and among processes; what goes wrong becomes a state, and the state is told."""
        try:
            with self._at_work, exclusively(self._directory):
                if self._retired:
                    return None
                self.failed = False
                # `postward apply` and a running enforcer write the same files.
                self._verdicts = self._read_verdicts()
                if self._written:
                    self.state = read_enforcement(self._file) or self.state
                try:
                    return job()
                except (ApplyError, PostfixError, SettingsError, UnsupportedMapTypeError, OSError) as error:
                    self._failed(str(error))
                finally:
                    self._write_state()
        except (ApplyError, OSError) as error:  # the lock cannot be had: the file is its holder's
            self._tell_once(str(error))
            self.state.in_sync = False
            self.failed = True
        return None

    def _converge(self) -> bool:
        if not self._only_observes:
            complete(self._postfix, self._directory)  # of a process that was killed half-way
        desired = self._desired()
        actual = self._read_actual(desired)
        planned = plan(drift(desired, actual))
        in_sync_before = bool(self.state.in_sync)
        # What another tool fought over was left as it was: such files were not what a probe was accepted with.
        confirmed = "" if self.state.conflicts else self._verdicts.confirmed
        self._note(desired, actual, planned)
        if not planned:
            self.state.problem = None
            self._note_in_force(desired)
            if in_sync_before and confirmed:  # other settings, the same files
                self._verdicts.confirm(desired)
            keep_last_good(self._postfix, self._directory)
        elif reason := self._hindrance(desired):
            self._tell_once(reason)
        else:
            return self._put_right(planned, desired, confirmed)
        return False

    @property
    def _only_observes(self) -> bool:
        return self._settings.enforce.mode == "observe"

    def _read_actual(self, desired: DesiredState) -> ActualState:
        """What Postfix has. Where its files cannot even be read, the last ones that could are put back first."""
        wait_for_writers(self._postfix.main_cf)
        try:
            return read_actual(self._postfix, desired)
        except PostfixError as error:
            if self._only_observes:
                raise
            aside = restore_readable(self._postfix, self._directory)
            if aside is None:
                raise
            self.state.count_repairs([aside.name], self._clock())
            _log.error(
                "%s: the last configuration that Postfix could read is back; the other one is %s",
                error,
                aside,
            )
            return read_actual(self._postfix, desired)

    def _note(self, desired: DesiredState, actual: ActualState, planned: Plan) -> None:
        names = [drift.name for drift in planned.drifts]
        unknown = unknown_parameters(desired, actual)
        if unknown != self.state.unknown and unknown:
            _log.warning(
                "not written, because this release of Postfix does not know them: %s", ", ".join(unknown)
            )
        self.state.in_sync, self.state.drift, self.state.unknown = not planned, names, unknown
        self.state.find_fights(names, self._clock(), self._settings.enforce.max_repairs_per_hour)

    def _hindrance(self, desired: DesiredState) -> str | None:
        """Why departures are left as they are."""
        names = ", ".join(self.state.drift)
        if self._only_observes:
            return f"differs from the settings: {names}; mode = observe, so nothing is changed"
        if reason := self._verdicts.refusal(desired):
            return (
                f"these settings are not applied: {reason}; correct them, or try again with: postward apply"
            )
        if self.state.conflicts:
            return self._fight()
        return None

    def _fight(self) -> str:
        first = min(self.state.repaired_at[self.state.conflicts[0]])
        since = datetime.fromtimestamp(first).astimezone().strftime("%H:%M:%S")
        return (
            f"another tool keeps changing {', '.join(self.state.conflicts)} in {self._postfix.config_directory} "
            f"(put right {self._settings.enforce.max_repairs_per_hour} times since {since}): left as it is; "
            "stop that tool (cron, configuration management), then: postward apply"
        )

    def _put_right(self, planned: Plan, desired: DesiredState, confirmed: str) -> bool:
        """Apply. A repair keeps no generation: what it replaces is the departure, not a former configuration."""
        new = not self._verdicts.is_applied(desired)
        try:
            if new and self._settings.enforce.preflight:
                self._preflight()
            self._apply(planned, keep=new, confirmed=confirmed)
        except RefusedError as error:
            if not new:
                raise ApplyError(f"a departure cannot be put right: {error}") from error
            self._verdicts.refuse(desired, str(error))
            self.state.count("refused")
            self._tell_once(f"these settings are not applied: {error}")
            return False
        self._note_in_force(desired)
        self.state.count("applied")
        if not new:  # else the settings have changed, and not what another tool may fight over
            self.state.count_repairs(self.state.drift, self._clock())
        if to_prove := new or self.pending_confirmation:
            self.applied_at = self._clock()
        self.state.in_sync, self.state.drift, self.state.problem = True, [], None
        keep_last_good(self._postfix, self._directory)
        for departure in planned.drifts:
            _log.log(
                logging.INFO if new else logging.WARNING,
                "%s %s: %s -> %s",
                "set" if new else "put right",
                departure.name,
                departure.actual or "empty",
                departure.desired or "empty",
            )
        _log.info("the configuration is what the settings say (%s)", planned.activation.value)
        return to_prove

    def _apply(self, planned: Plan, *, keep: bool, confirmed: str) -> None:
        """Raises RefusedError, HalfDoneError, ApplyError."""
        former = self._verdicts.changing()
        try:
            half_done = not former
            apply(
                planned, self._postfix, self._directory, keep=keep, confirmed=confirmed, half_done=half_done
            )
        except HalfDoneError:
            raise
        except ApplyError:
            self._verdicts.unchanged(former)
            raise

    def _note_in_force(self, desired: DesiredState) -> None:
        if self._in_force not in (None, desired):
            self.applied_at = self._clock()
        self._in_force = desired
        self._verdicts.applied(desired)

    def _read_verdicts(self) -> AppliedState:
        return AppliedState(self._directory / "verdicts.json")

    def _preflight(self) -> None:
        """Try new settings on the relays. Raises RefusedError, or ApplyError for what may pass."""
        fault = preflight(self._settings, read_passwords(self._settings.relay))
        if fault is None:
            return
        if fault.may_pass:
            raise ApplyError(f"new settings wait, and the configuration in force stays: {fault.words}")
        raise RefusedError(fault.words)

    def _confirm(self, accepted: bool, reason: str) -> None:
        """The word is on what is in force, which the settings may have left behind: a password file changes at any time."""
        tried = self._in_force
        if tried is None or not self.pending_confirmation or self._only_observes:
            return
        if self._departures(tried):
            _log.info(
                "a probe came back while Postfix had not what the settings say: it says nothing of them"
            )
        elif accepted:
            self._verdicts.confirm(tried)
            self.state.count("confirmed")
            _log.info("confirmed by a probe: the configuration works")
        elif (number := newest_proven(self._directory)) is not None:
            self._roll_back(number, tried, reason)
        # else nothing better is known, and a later probe may still be accepted

    def _departures(self, tried: DesiredState) -> list[str]:
        """What is not as it was to be tried, but for what another tool does not let be."""
        departures = drift(tried, read_actual(self._postfix, tried))
        return [departure.name for departure in departures if departure.name not in self.state.conflicts]

    def _roll_back(self, number: int, tried: DesiredState, reason: str) -> None:
        former = roll_back(self._postfix, self._directory, number)
        self._in_force = None
        self._verdicts.restored(former.confirmed)
        self._verdicts.refuse(tried, f"no probe was accepted with them ({reason})")
        forget_generation(self._directory, number)
        self.state.count("rolled_back")
        self.state.in_sync = False
        self.state.problem = f"rolled back to generation {number}: {reason}"
        keep_last_good(self._postfix, self._directory)
        _log.error(
            "no probe was accepted with the new settings (%s): generation %d is back in force", reason, number
        )

    def _desired(self) -> DesiredState:
        if self._facts is None:
            self._facts = self._postfix.facts()
        return desired_state(self._settings, self._facts, read_passwords(self._settings.relay))

    def _failed(self, problem: str) -> None:
        """A failure that repeats itself is one failure."""
        self.failed = True
        if problem != self.state.problem:
            self.state.count("failed")
        self._tell_once(problem)
        self.state.in_sync = False

    def _tell_once(self, problem: str) -> None:
        if problem != self.state.problem:
            _log.error("%s", problem)
        self.state.problem = problem

    def _write_state(self) -> None:
        try:
            write_enforcement(self._file, self.state)
            self._written = True
        except OSError as error:
            self._written = False
            _log.error("%s: %s; the state of enforcement is not told", self._directory, error.strerror)

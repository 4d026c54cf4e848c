"""Keeps Postfix's configuration equal to the settings: drift, plan, apply, and confirmation by a probe.

Promise: drift is repaired at once and counted once. A new configuration that no probe confirms is rolled back to the
last confirmed one, and not tried again until the settings change. A parameter that another tool keeps changing is left
alone after a while, and reported as a conflict.

How it fails: a change that cannot be made is reported with its reason and counted, and the configuration in force
stays. Settings that Postfix refuses are not tried again until they change.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from postward.agent.enforce.apply import LOCK_TIMEOUT, apply, complete, exclusively, read_actual, roll_back
from postward.agent.enforce.confirm import Decision
from postward.agent.enforce.history import (
    forget_generation,
    is_kept,
    keep_readable,
    newest_confirmed,
    restore_readable,
)
from postward.agent.enforce.neighbours import read_neighbours
from postward.agent.enforce.preflight import preflight
from postward.agent.enforce.routes import read_ineffective, read_plan, read_route_changes
from postward.agent.enforce.state import ApplyError, Enforcement, RefusedError, StateStore
from postward.agent.enforce.tables import renew_logins
from postward.agent.fsutil import wait_for_writers
from postward.agent.postfix.commands import Postfix
from postward.agent.postfix.permissions import Permissions
from postward.agent.postfix.run import PostfixError
from postward.config.beside import SharedHopError
from postward.config.consequences import Effect
from postward.config.desired import DesiredState, PostfixFacts, UnsupportedError, desired_state
from postward.config.drift import ActualState, unknown_parameters
from postward.config.errors import SettingsError
from postward.config.plan import Plan
from postward.config.relay import read_passwords
from postward.config.routing.changes import RouteChange
from postward.config.settings import Settings

_SETTLE_TIME = 0.2  # seconds: editors write a file in several steps
_RETRY_TIME = 5.0  # seconds: a failed attempt may have changed files itself, and must not trigger the next
# Errors of a comparison of Postfix's configuration with the settings.
LOOK_ERRORS = (PostfixError, SettingsError, SharedHopError, UnsupportedError, OSError)

_log = logging.getLogger("postward.enforce")


class Enforcer:
    """Converges one Postfix instance to the settings.

    `converge` and `confirm` may be called from different threads, and beside other Postward processes.

    Args:
        settings: the configuration that Postfix should have.
        postfix: the instance.
        clock: the time in seconds since the epoch.
        lock_timeout: seconds to wait for another Postward process.

    Attributes:
        applied_at: when the configuration in force came into force, or was repaired before it was confirmed; 0 if it
            was in force when this enforcer started.
        interval: seconds between two calls of `converge`; None if it is called once.
    """

    def __init__(
        self,
        settings: Settings,
        postfix: Postfix,
        clock: Callable[[], float] = time.time,
        lock_timeout: float = LOCK_TIMEOUT,
    ) -> None:
        self._settings = settings
        self._postfix = postfix
        self._clock = clock
        self._lock_timeout = lock_timeout
        self._directory = Path(settings.enforce.directory)
        self._observes = settings.enforce.mode == "observe"
        self._store = StateStore(self._directory)
        self._facts: PostfixFacts | None = None
        self._in_force: DesiredState | None = None  # as this enforcer last saw it
        self._busy = threading.Lock()
        self._retired = False
        self._allowed: frozenset[Effect] = frozenset()
        self.applied_at = 0.0
        self.interval: float | None = None

    @property
    def state(self) -> Enforcement:
        """The state of enforcement, as the agent exports it."""
        return self._store.enforcement

    @property
    def pending_confirmation(self) -> bool:
        """True if the configuration in force waits for a probe (`confirm`)."""
        in_force = self._in_force  # another thread may change it
        return in_force is not None and not self._store.applied.is_confirmed(in_force)

    @property
    def pause(self) -> float:
        """Seconds to wait after a change in Postfix's directory before the next convergence."""
        return _RETRY_TIME if self._store.failed else _SETTLE_TIME

    def look(self) -> tuple[Plan, list[str]]:
        """Return the plan that would repair all drift, and the parameters that this release of Postfix does not know.

        Raises:
            SettingsError: a password cannot be read.
            PostfixError, OSError: Postfix's configuration cannot be read.
            UnsupportedError: Postfix does not support postfix.map_type, or user names with a colon.
            SharedHopError: the relays' wishes cannot be met without changing other hops.
        """
        desired, actual = self._states()
        return self._planned(desired, actual), unknown_parameters(desired, actual)

    def allow(self, effects: frozenset[Effect]) -> None:
        """Agree to effects of other settings. Without that, settings with such an effect are not applied."""
        self._allowed = effects

    def route_changes(self) -> list[RouteChange]:
        """Return the routes of mail that the plan changes. Raises as `look`."""
        senders = {sender for relay in self._settings.relay for sender in relay.senders if sender[0] != "@"}
        desired, actual = self._states()
        planned = self._planned(desired, actual)
        return read_route_changes(
            self._postfix, desired, planned, sorted({self._settings.probe_sender, *senders})
        )

    def ineffective(self) -> dict[str, str]:
        """Return relay name → what would decide in its place, although the settings were applied. Raises as `look`."""
        passwords = read_passwords(self._settings.relay)
        return read_ineffective(self._postfix, self._settings, self._desired(), passwords)

    def converge(self, *, on_request: bool = False) -> bool:
        """Repair drift. Return True if the result needs confirming by a probe.

        That is the case if other settings came into force, or if settings that are not confirmed yet were repaired.

        Args:
            on_request: a user asks for it. It is not counted as a repair, since it does not show that another tool changed files.
        """
        with self._exclusively() as active:
            if active:
                self.state.note_look(self._clock(), time.monotonic(), self.interval)
                try:
                    return self._converge(on_request=on_request)
                finally:
                    self.state.permissions = self._permissions()
        return False

    def confirm(self, decision: Decision, reason: str = "", applied_at: float | None = None) -> None:
        """Keep the configuration in force, or roll it back to one that was confirmed.

        Args:
            decision: the decision after a probe.
            reason: why the probe was not accepted.
            applied_at: `applied_at` when the probe was sent. If it has changed since, the probe tested another
                configuration, and the decision is ignored. None: it is never ignored.
        """
        with self._exclusively() as active:
            if active and applied_at in (None, self.applied_at):
                self._confirm(decision, reason)

    def forget_failures(self) -> None:
        """Let refused settings and conflicts be tried again."""
        with self._exclusively() as active:
            if active:
                self._store.set_applied(replace(self._store.applied, refused="", reason=""))
                self.state.repaired_at.clear()

    def retire(self) -> None:
        """Stop, because another enforcer takes over. Calls that wait for the lock do nothing."""
        self._retired = True

    @contextmanager
    def _exclusively(self) -> Iterator[bool]:
        """Hold the lock, with the state loaded before and saved after. Errors become part of the state.

        Yields:
            False if this enforcer is retired, or the lock cannot be taken.
        """
        store = self._store
        with ExitStack() as locks:
            active = False
            try:
                locks.enter_context(self._busy)
                locks.enter_context(exclusively(self._directory, self._lock_timeout))
                active = not self._retired
            except (ApplyError, OSError) as error:
                # The state is not saved: the file belongs to the process that has the lock.
                store.report(str(error))
                store.enforcement.in_sync, store.failed = False, True
            if not active:
                yield False
                return
            store.failed = False
            store.load()
            try:
                yield True
            except (ApplyError, *LOOK_ERRORS) as error:
                store.fail(str(error))
            finally:
                store.save()

    def _permissions(self) -> list[str]:
        """Return wrong owners and modes of Postfix's own files; nothing if its main.cf cannot be read."""
        with suppress(PostfixError):
            return Permissions(self._postfix).faults()
        return []

    def _desired(self) -> DesiredState:
        if self._facts is None:
            self._facts = self._postfix.facts()
        others = read_neighbours(self._postfix, self._settings)
        passwords = read_passwords(self._settings.relay)
        try:
            return desired_state(self._settings, self._facts, passwords, others)
        except SharedHopError:
            # Nothing has to be met if the admin's configuration does already as the settings say.
            alone = desired_state(self._settings, self._facts, passwords, replace(others, hops=()))
            if self._planned(alone, read_actual(self._postfix, alone)):
                raise
            return alone

    def _converge(self, *, on_request: bool) -> bool:
        if not self._observes:
            complete(self._postfix, self._directory)  # a change that a killed process began
        desired, actual = self._read()
        if not self._observes and renew_logins(self._postfix, desired, actual):
            actual = read_actual(self._postfix, desired)
        planned = self._planned(desired, actual)
        was_in_sync = bool(self.state.in_sync)
        # With a conflict, the files are not those with which a probe was accepted.
        confirmed = "" if self.state.conflicts else self._store.applied.confirmed_in_force
        self._store.note_unknown(unknown_parameters(desired, actual))
        names = [drift.name for drift in planned.drifts]
        self.state.note_drift(names, self._clock(), self._settings.enforce.max_repairs_per_hour)
        if planned and (
            reason := _blocked_reason(self._settings, self._store, desired)
            or (not self._store.applied.is_applied(desired) and _disagreement(planned, self._allowed))
        ):
            self._store.report(reason)
            return False
        if planned:
            return self._repair(planned, desired, confirmed, on_request=on_request)
        self.state.problem = None
        self._set_in_force(desired)
        if was_in_sync and confirmed:  # other settings that result in the same files
            self._store.set_applied(self._store.applied.with_confirmed(desired))
        keep_readable(self._postfix, self._directory)
        return False

    def _read(self) -> tuple[DesiredState, ActualState]:
        """Return the desired and the actual state. If Postfix cannot read its files, the last readable ones are restored first."""
        wait_for_writers(self._postfix.main_cf)
        try:
            return self._states()
        except PostfixError as error:
            if self._observes or (broken := restore_readable(self._postfix, self._directory)) is None:
                raise
            self.state.count_repairs([broken.name], self._clock())
            _log.error(
                "%s: restored the last configuration that Postfix could read; the broken one is %s",
                error,
                broken,
            )
            return self._states()

    def _states(self) -> tuple[DesiredState, ActualState]:
        desired = self._desired()
        return desired, read_actual(self._postfix, desired)

    def _planned(self, desired: DesiredState, actual: ActualState) -> Plan:
        return read_plan(self._postfix, self._settings, desired, actual)

    def _repair(self, planned: Plan, desired: DesiredState, confirmed: str, *, on_request: bool) -> bool:
        """Apply a plan. A repair keeps no generation, because it replaces drift and not a former configuration."""
        new = not self._store.applied.is_applied(desired)
        try:
            if new and self._settings.enforce.preflight:
                _require_preflight(self._settings, self._postfix)
            with self._store.replacing() as half_done:
                apply(
                    planned,
                    self._postfix,
                    self._directory,
                    keep=new,
                    confirmed=confirmed,
                    half_done=half_done,
                )
        except RefusedError as error:
            if not new:
                raise ApplyError(f"drift cannot be repaired: {error}") from error
            self._store.set_applied(self._store.applied.with_refused(desired, str(error)))
            self.state.count("refused")
            self._store.report(f"these settings are not applied: {error}")
            return False
        self._set_in_force(desired)
        self.state.count("applied")
        # A change of the settings is none, and no sign of a conflict; what a user asks for is neither.
        is_repair = not new and not on_request
        if is_repair:
            self.state.count_repairs(self.state.drift, self._clock())
        if needs_confirming := new or self.pending_confirmation:
            self.applied_at = self._clock()
        self.state.in_sync, self.state.drift, self.state.problem = True, [], None
        keep_readable(self._postfix, self._directory)
        _log_changes(planned, is_repair=is_repair)
        return needs_confirming

    def _set_in_force(self, desired: DesiredState) -> None:
        if self._in_force not in (None, desired):
            self.applied_at = self._clock()
        self._in_force = desired
        self._store.set_applied(self._store.applied.with_applied(desired))

    def _confirm(self, decision: Decision, reason: str) -> None:
        """Confirm or roll back the configuration in force.

        It may be older than the settings: a password file can change at any time.
        """
        tried = self._in_force
        if tried is None or not self.pending_confirmation or self._observes:
            return
        planned = self._planned(tried, read_actual(self._postfix, tried))
        if any(drift.name not in self.state.conflicts for drift in planned.drifts):
            _log.info(
                "ignoring the result of a probe: the configuration has drifted since the probe was sent"
            )
        elif decision is Decision.KEEP:
            self._store.set_applied(self._store.applied.with_confirmed(tried))
            self.state.count("confirmed")
            _log.info("confirmed by a probe: the configuration works")
        elif decision is Decision.ROLL_BACK and (number := self._better()) is not None:
            self._roll_back(number, tried, reason)
        # Otherwise no better configuration is known, and a later probe may still be accepted.

    def _better(self) -> int | None:
        """Return the generation to restore after a failed probe: the newest confirmed one, else generation 0."""
        number = newest_confirmed(self._directory)
        if number is None and not self._store.applied.confirmed and is_kept(self._directory, 0):
            return 0
        return number

    def _roll_back(self, number: int, tried: DesiredState, reason: str) -> None:
        former = roll_back(self._postfix, self._directory, number)
        self._in_force = None
        restored = self._store.applied.with_restored(former.confirmed)
        self._store.set_applied(restored.with_refused(tried, f"no probe was accepted with them ({reason})"))
        forget_generation(self._directory, number)
        self.state.count("rolled_back")
        self.state.in_sync = False
        self.state.problem = f"rolled back to generation {number}: {reason}"
        keep_readable(self._postfix, self._directory)
        _log.error(
            "no probe was accepted with the new settings (%s): rolled back to generation %d", reason, number
        )


def _blocked_reason(settings: Settings, store: StateStore, desired: DesiredState) -> str | None:
    """Return why drift is not repaired; None if it is."""
    state = store.enforcement
    if settings.enforce.mode == "observe":
        return f"differs from the settings: {', '.join(state.drift)}; mode = observe, so nothing is changed"
    if reason := store.applied.refusal(desired):
        return f"these settings are not applied: {reason}; correct them, or try again with: postward apply"
    if not state.conflicts:
        return None
    first = min(state.repaired_at[state.conflicts[0]])
    since = datetime.fromtimestamp(first).astimezone().strftime("%H:%M:%S")
    return (
        f"another tool keeps changing {', '.join(state.conflicts)} in {settings.postfix.config_directory} "
        f"(repaired {settings.enforce.max_repairs_per_hour} times since {since}): not repaired any more; "
        "stop that tool (cron, configuration management), then: postward apply"
    )


def _disagreement(planned: Plan, allowed: frozenset[Effect]) -> str:
    """Return why a plan with effects that were not agreed to is not carried out; "" for another."""
    missing = [effect for effect in planned.effects if effect not in allowed]
    if not missing:
        return ""
    what = " and ".join(effect.description for effect in missing)
    texts = "; ".join(one.text for one in planned.consequences if one.effect in missing)
    options = " ".join(f"--allow {effect}" for effect in missing)
    return f"these settings are not applied, because they {what}: {texts}. To agree: postward apply {options}"


def _require_preflight(settings: Settings, postfix: Postfix) -> None:
    """Try new settings on the relays. Raises RefusedError, or ApplyError for a fault that may pass."""
    fault = preflight(settings, read_passwords(settings.relay), postfix)
    if fault is None:
        return
    if fault.transient:
        raise ApplyError(f"the new settings are not applied yet: {fault.text}")
    raise RefusedError(fault.text)


def _log_changes(planned: Plan, *, is_repair: bool) -> None:
    for change in planned.drifts:
        _log.log(
            logging.WARNING if is_repair else logging.INFO,
            "%s %s: %s -> %s",
            "repaired" if is_repair else "set",
            change.name,
            change.actual or "empty",
            change.shown or "empty",
        )
    _log.info("in sync with the settings (%s)", planned.activation.value)

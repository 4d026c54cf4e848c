"""Keeps Postfix's configuration what the settings say: look, plan, apply, and confirm by a probe.

Promise: a departure is put right at once and counted once; a new configuration that no probe confirms gives way
to the last one that was confirmed, and is not tried again until the settings change.

How it fails: a change that cannot be made is told with its reason and counted, the configuration in force stays,
and the next look tries again only if something changed.
"""

import hashlib
import hmac
import json
import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.apply import ApplyError, apply, exclusively, read_actual, roll_back
from agent.enforcement import Enforcement, enforcement_file, read_enforcement, write_enforcement
from agent.files import write_atomically
from agent.postfix import Postfix, PostfixError
from config.desired import DesiredState, PostfixFacts, UnsupportedMapTypeError, desired_state
from config.drift import drift
from config.errors import SettingsError
from config.plan import Plan, plan
from config.settings import Settings

_log = logging.getLogger("postward.enforce")


class Enforcer:
    """Converges one Postfix instance to the settings.

    Args:
        settings: what it should be.
        postfix: the instance.

    Attributes:
        state: what is known, as the agent exports it.
        unconfirmed: the configuration in force waits for a probe's word (`confirm`).
    """

    def __init__(self, settings: Settings, postfix: Postfix) -> None:
        self._settings = settings
        self._postfix = postfix
        self._directory = Path(settings.enforce.directory)
        self._facts: PostfixFacts | None = None
        self._verdicts = _Verdicts(self._directory / "verdicts.json")
        self.state = read_enforcement(enforcement_file(self._directory)) or Enforcement()
        self.unconfirmed = False
        self._at_work = threading.Lock()  # looking and confirming come from different tasks of one process

    def look(self) -> Plan:
        """What differs, and what would put it right.

        Raises:
            SettingsError: a password cannot be had.
            PostfixError, OSError: Postfix cannot be asked.
            UnsupportedMapTypeError: postfix.map_type does not exist here.
        """
        desired = self._desired()
        return plan(drift(desired, read_actual(self._postfix, desired)))

    def converge(self) -> bool:
        """Look, and put right what differs. True if that brought other settings into force than before."""
        with self._exclusively():
            return self._converge()
        return False

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Alone, here and among processes; what goes wrong becomes a state, and the state is told."""
        with self._at_work:
            try:
                with exclusively(self._directory):
                    yield
            except (ApplyError, PostfixError, SettingsError, UnsupportedMapTypeError, OSError) as error:
                self._failed(str(error))
            finally:
                self._write_state()

    def _converge(self) -> bool:
        desired = self._desired()
        planned = plan(drift(desired, read_actual(self._postfix, desired)))
        names = [drift.name for drift in planned.drifts]
        self.state.in_sync, self.state.drift = not planned, names
        verdict = self._verdicts.of(desired)
        if not planned:
            self.state.problem = None
        elif self._settings.enforce.mode == "observe":
            self._tell_once(
                f"differs from the settings: {', '.join(names)}; mode = observe, so nothing is changed"
            )
        elif verdict == "refused":
            self._tell_once(
                "these settings were rolled back, because no probe was accepted with them; "
                "correct them, or try again with: postward apply"
            )
        else:
            return self._put_right(planned, names, desired)
        self.unconfirmed = not planned and verdict is None
        return False

    def _put_right(self, planned: Plan, names: list[str], desired: DesiredState) -> bool:
        """Apply. A repair keeps no generation: what it replaces is the departure, not a former configuration."""
        new = not self._verdicts.is_applied(desired)
        apply(planned, self._postfix, self._directory, keep=new)
        self._verdicts.give(desired, "applied")
        self.state.count("applied")
        self.state.count_repairs(names)
        self.state.in_sync, self.state.drift, self.state.problem = True, [], None
        self.unconfirmed = self._verdicts.of(desired) is None
        for departure in planned.drifts:
            _log.warning(
                "put right %s: %s -> %s",
                departure.name,
                departure.actual or "empty",
                departure.desired or "empty",
            )
        _log.info("the configuration is what the settings say (%s)", planned.activation.value)
        return new

    def confirm(self, *, accepted: bool, reason: str = "") -> None:
        """Take a probe's word on the configuration in force: keep it, or go back to one that worked."""
        with self._exclusively():
            self._confirm(accepted, reason)

    def _confirm(self, accepted: bool, reason: str) -> None:
        desired = self._desired()
        self.unconfirmed = False
        if self._verdicts.of(desired) is not None:
            return
        if accepted:
            self._verdicts.give(desired, "confirmed")
            self.state.count("confirmed")
            _log.info("confirmed by a probe: the configuration works")
        elif self._verdicts.any_confirmed():
            number = roll_back(self._postfix, self._directory)
            self._verdicts.give(desired, "refused")
            self.state.count("rolled_back")
            self.state.in_sync = False
            self.state.problem = f"rolled back to generation {number}: {reason}"
            _log.error(
                "no probe was accepted with the new settings (%s): generation %d is back in force",
                reason,
                number,
            )

    def forget_verdict(self) -> None:
        """Let refused settings be tried again."""
        self._verdicts.forget()

    def _desired(self) -> DesiredState:
        if self._facts is None:
            self._facts = self._postfix.facts()
        passwords = {relay.name: relay.read_password() for relay in self._settings.relay if relay.username}
        return desired_state(self._settings, self._facts, passwords)

    def _failed(self, problem: str) -> None:
        """A failure that repeats itself is one failure."""
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
            write_enforcement(enforcement_file(self._directory), self.state)
        except OSError as error:
            _log.error("%s: %s; the state of enforcement is not told", self._directory, error.strerror)


class _Verdicts:
    """Which desired states a probe has confirmed or refused, across restarts.

    A desired state is known by a keyed hash, for root alone: it covers passwords, which must not be guessed from it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._data = json.loads(path.read_bytes())
            self._key = bytes.fromhex(self._data["key"])
        except (OSError, ValueError, KeyError, TypeError):
            self._key = secrets.token_bytes(32)
            self._data = {"key": self._key.hex(), "applied": "", "confirmed": "", "refused": ""}

    def of(self, desired: DesiredState) -> str | None:
        """A probe's word on a desired state, "confirmed" or "refused"; None if no probe has tried it."""
        digest = self._digest(desired)
        return next((verdict for verdict in ("confirmed", "refused") if self._data[verdict] == digest), None)

    def is_applied(self, desired: DesiredState) -> bool:
        """True if this is what was last applied."""
        return bool(self._data["applied"] == self._digest(desired))

    def any_confirmed(self) -> bool:
        """True if there is a configuration that worked."""
        return bool(self._data["confirmed"])

    def give(self, desired: DesiredState, verdict: str) -> None:
        """Remember a probe's word, or that a desired state was applied."""
        self._data[verdict] = self._digest(desired)
        self._save()

    def forget(self) -> None:
        """Let refused settings be tried again."""
        if self._data["refused"]:
            self._data["refused"] = ""
            self._save()

    def _save(self) -> None:
        write_atomically(self._path, json.dumps(self._data).encode(), mode=0o600)

    def _digest(self, desired: DesiredState) -> str:
        tables = [(table.name, table.type, table.entries) for table in desired.tables]
        content = json.dumps([sorted(desired.parameters.items()), tables]).encode()
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()

"""Which desired state is in force, was last confirmed by a probe, or refused, across restarts.

A desired state is known by a keyed hash, for root alone: it covers passwords, which must not be guessed from it.
"""

import hashlib
import hmac
import json
import secrets
from pathlib import Path

from postward.agent.fsutil import write_atomically
from postward.config.desired import DesiredState


class AppliedState:
    """The words on desired states; the last one of each kind is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._data = json.loads(path.read_bytes())
            self._key = bytes.fromhex(self._data["key"])
        except (OSError, ValueError, KeyError, TypeError):
            self._key = secrets.token_bytes(32)
            self._data = {"key": self._key.hex(), "applied": "", "confirmed": "", "refused": "", "reason": ""}

    def is_applied(self, desired: DesiredState) -> bool:
        """True if this is what was last brought into force."""
        return self._is("applied", desired)

    @property
    def confirmed(self) -> str:
        """By what name the state in force is known, if a probe was accepted with it; else empty."""
        return str(self._data["applied"]) if self._data["applied"] == self._data["confirmed"] else ""

    def is_confirmed(self, desired: DesiredState) -> bool:
        """True if a probe was accepted with this."""
        return self._is("confirmed", desired)

    def refusal(self, desired: DesiredState) -> str | None:
        """Why this must not be applied; None if it may."""
        return str(self._data["reason"]) if self._is("refused", desired) else None

    def changing(self) -> str:
        """Nobody knows what is in force while files are moved. The name of what was, for `unchanged`."""
        former = str(self._data["applied"])
        self._set(applied="")
        return former

    def unchanged(self, former: str) -> None:
        """What was in force still is."""
        self._set(applied=former)

    def applied(self, desired: DesiredState) -> None:
        """Remember that this is in force. Other settings that were refused may be tried again when somebody returns to them."""
        if not self.is_applied(desired) or self._data["refused"]:
            self._set(applied=self._digest(desired), refused="", reason="")

    def restored(self, confirmed: str) -> None:
        """Remember that a former state is in force again, one that was `confirmed` or, for an empty name, was not."""
        self._set(applied=confirmed, **({"confirmed": confirmed} if confirmed else {}))

    def confirm(self, desired: DesiredState) -> None:
        """Remember that a probe was accepted with this."""
        if not self.is_confirmed(desired):
            self._set(confirmed=self._digest(desired))

    def refuse(self, desired: DesiredState, reason: str) -> None:
        """Remember that this must not be applied, and why."""
        self._set(refused=self._digest(desired), reason=reason)

    def forget_refusal(self) -> None:
        """Let refused settings be tried again."""
        if self._data["refused"]:
            self._set(refused="", reason="")

    def _is(self, verdict: str, desired: DesiredState) -> bool:
        return bool(self._data[verdict] == self._digest(desired))

    def _set(self, **words: str) -> None:
        self._data |= words
        write_atomically(self._path, json.dumps(self._data).encode(), mode=0o600)

    def _digest(self, desired: DesiredState) -> str:
        tables = [(table.name, table.type, table.entries) for table in desired.tables]
        services = [transport.definition for transport in desired.transports]
        content = json.dumps([sorted(desired.parameters.items()), tables, services]).encode()
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()

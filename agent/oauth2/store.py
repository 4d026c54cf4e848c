"""The files of a relay's tokens: NAME.grant (refresh token), NAME.token (access token), NAME.state (neither).

Promise: a file is replaced atomically and is on disk before the function returns. NAME.grant is readable by its owner
only, NAME.token by its group too, which is the agent's. Root leaves the files to the owner of the directory.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from postward.agent.fsutil import open_lock, replace_owned, stat_identity, wait_until
from postward.config.relay import Relay

_MAX_WAIT = 60.0  # seconds for the lock; a request to the server takes up to 30
OUTCOMES = ("renewed", "refused", "failed")


@dataclass(frozen=True, slots=True)
class Grant:
    """A refresh token.

    Attributes:
        refresh_token: the token.
        since: when `postward login` stored it, or the first one of its line, in seconds since the epoch.
        expires: when it ends, if the server says that it does.
    """

    refresh_token: str = field(repr=False)
    since: float
    expires: float | None = None


@dataclass(slots=True)
class TokenState:
    """The state of a relay's tokens, without a secret. Times are in seconds since the epoch.

    Attributes:
        expires: when the access token ends; None without one.
        received: when it was received.
        asked: when one was asked for last.
        due: when the next one is asked for.
        failures: attempts since the last success.
        problem: why the last attempt failed; None if it did not.
        fault: its kind, see `refusals.Fault`; None without a problem.
        inputs: identities of the files on which the last attempt depended, and of the settings.
        outcomes: attempts by outcome, one of OUTCOMES.
        grant_since: of the refresh token; None without one.
        credential_expires: when the first of secret, certificate and refresh token ends; None if none does.
    """

    expires: float | None = None
    received: float | None = None
    asked: float = 0.0
    due: float = 0.0
    failures: int = 0
    problem: str | None = None
    fault: str | None = None
    inputs: list[Any] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    grant_since: float | None = None
    credential_expires: float | None = None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class TokenStore:
    """The files of one relay with `[relay.oauth2]`."""

    def __init__(self, relay: Relay) -> None:
        assert relay.oauth2 is not None  # noqa: S101 -- created for relays with tokens only
        self.directory = Path(relay.oauth2.directory)
        self.grant_file = self.directory / f"{relay.name}.grant"
        self.token_file = relay.oauth2.token_file(relay.name)
        self._state_file = self.directory / f"{relay.name}.state"
        self._lock_file = self.directory / f"{relay.name}.lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock under which the refresh token is used and replaced. Raises OSError."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = open_lock(self._lock_file)
        try:
            # The service's user must not hold up root by keeping the lock.
            if not wait_until(lambda: _is_locked(descriptor), _MAX_WAIT):
                raise OSError(errno.EWOULDBLOCK, f"{self._lock_file} is held by another process")
            yield
        finally:
            os.close(descriptor)

    def read_grant(self) -> Grant | None:
        """Return the refresh token; None without one, or if the file is damaged. Raises OSError."""
        try:
            return Grant(**json.loads(self.grant_file.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_grant(self, grant: Grant) -> None:
        """Replace the refresh token. Raises OSError."""
        replace_owned(self.grant_file, json.dumps(asdict(grant)).encode(), mode=0o600)

    def write_token(self, token: str) -> None:
        """Replace the access token. Raises OSError."""
        replace_owned(self.token_file, token.encode(), mode=0o640)

    def read_state(self) -> TokenState:
        """Return the state; an empty one if it is missing or damaged."""
        try:
            return TokenState(**json.loads(self._state_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return TokenState()

    def write_state(self, state: TokenState) -> None:
        """Replace the state. Raises OSError."""
        replace_owned(self._state_file, json.dumps(asdict(state)).encode(), mode=0o644)

    def inputs(self, relay: Relay) -> list[Any]:
        """Return identities that change when an attempt may have another outcome."""
        assert relay.oauth2 is not None  # noqa: S101 -- as in __init__
        files = [self.grant_file, *map(Path, relay.oauth2.secret_files)]
        settings: Mapping[str, Any] = relay.oauth2.model_dump(mode="json")
        return [relay.username, dict(settings), *(list(stat_identity(path) or ()) for path in files)]

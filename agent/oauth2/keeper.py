"""Keeps each relay's token fresh: renewed at two thirds of its life, and stored for Postfix.

Promise: a new refresh token is on disk before the access token that came with it is used, so that a kill at any moment
loses no grant. A server is asked with back-off and jitter, and at most once an hour after a refusal, until a secret, a
grant or the settings change. Nothing that is logged or stored in NAME.state holds a secret.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from postward.agent.logs.watcher import Watcher, wake_up
from postward.agent.oauth2.client import certificate_of
from postward.agent.oauth2.request import Answer, TokenError, fetch
from postward.agent.oauth2.store import OUTCOMES, Grant, TokenState, TokenStore
from postward.agent.parts import Gauges, Labels, Part, Problem
from postward.agent.relay.x509 import parse_certificate
from postward.config.errors import SettingsError
from postward.config.oauth2 import STORED_GRANTS
from postward.config.passwords import is_newer_than_service
from postward.config.relay import Relay
from postward.config.settings import Settings

_FIRST_RETRY = 30.0  # seconds
_MAX_RETRY = 900.0
_AFTER_REFUSAL = 3600.0
_POLL_INTERVAL = 60.0  # seconds between two looks at secrets, whose folder the service cannot watch
_MAX_DELAY = 120.0  # seconds after which a renewal that is due has not happened
_log = logging.getLogger("postward.token")


class OutdatedSecretError(Exception):
    """A secret is newer than this service, which must be started again so that systemd passes a copy of it."""


def relays_with_tokens(settings: Settings) -> list[Relay]:
    """Return the relays that take tokens."""
    return [relay for relay in settings.relay if relay.oauth2]


class TokenKeeper(Part):
    """Renews the tokens of all relays.

    Args:
        settings: the relays.
        watcher: reports a new grant; entered before `run`.
    """

    def __init__(self, settings: Settings, watcher: Watcher) -> None:
        self._relays = relays_with_tokens(settings)
        self._watcher = watcher

    async def run(self) -> None:
        """Renew until cancelled; a request that has begun is completed in its thread. Raises OutdatedSecretError."""
        try:
            async with asyncio.TaskGroup() as group:
                for relay in self._relays:
                    group.create_task(self._keep(relay))
        except* OutdatedSecretError as error:
            raise error.exceptions[0] from None

    async def _keep(self, relay: Relay) -> None:
        store = TokenStore(relay)
        wake = self._watcher.watch(store.directory, {store.grant_file.name}.__contains__)
        problem = Problem(_log, f"relay {relay.name}: no new token", f"relay {relay.name}: a new token")
        while True:
            renewal = asyncio.to_thread(renew, relay, store, time.time(), random.uniform(0.9, 1.0))  # noqa: S311
            state = await asyncio.shield(renewal)
            problem.note(state.problem)
            await wake_up(wake, min(_POLL_INTERVAL, max(1.0, state.due - time.time())))


def renew(
    relay: Relay, store: TokenStore, now: float, jitter: float, ask: Callable[[Relay, str], Answer] = fetch
) -> TokenState:
    """Renew a relay's token if it is time, or if a grant, a secret or the settings have changed. Blocks.

    Args:
        relay: the relay.
        store: its files.
        now: in seconds since the epoch.
        jitter: factor of all times until the next attempt, at most 1.
        ask: asks the authorization server for a token.

    Raises:
        OutdatedSecretError: see there.
    """
    _require_current_secrets(relay)
    state, inputs = store.read_state(), store.inputs(relay)
    unchanged = inputs == state.inputs and (state.problem is not None or store.token_file.exists())
    if unchanged and state.asked <= now < state.due:  # a clock that was set back makes `asked` later than now
        return state
    state.asked = now
    try:
        with store.locked():
            answer = _obtain(relay, store, now, ask)
        _note_success(state, now, answer.expires_in, jitter)
    except (TokenError, SettingsError, OSError) as error:
        _note_failure(state, now, error, jitter)
    state.inputs = store.inputs(relay)
    _note_ends(state, relay, store)
    try:
        store.write_state(state)
    except OSError as error:
        state.problem, state.fault = f"{store.directory}: {error.strerror}", "host"
    return state


def _require_current_secrets(relay: Relay) -> None:
    assert relay.oauth2 is not None  # noqa: S101 -- called for relays with tokens only
    if any(is_newer_than_service(Path(path)) for path in relay.oauth2.secret_files):
        raise OutdatedSecretError


def _obtain(relay: Relay, store: TokenStore, now: float, ask: Callable[[Relay, str], Answer]) -> Answer:
    assert relay.oauth2 is not None  # noqa: S101 -- as above
    if relay.oauth2.grant not in STORED_GRANTS:
        answer = ask(relay, "")
    else:
        grant = store.read_grant()
        if grant is None:
            raise TokenError(
                f"no refresh token is stored; postward login {relay.name}", lasting=True, fault="sign-in"
            )
        store.write_grant(grant)  # on a full disk this fails before the server replaces the refresh token
        answer = ask(relay, grant.refresh_token)
        keep_grant(store, grant, answer, now)
    store.write_token(answer.access_token)
    return answer


def keep_grant(store: TokenStore, former: Grant, answer: Answer, now: float) -> None:
    """Store the refresh token of an answer, if it has one. Raises OSError."""
    lifetime = answer.refresh_token_expires_in
    expires = now + lifetime if lifetime else former.expires
    grant = Grant(answer.refresh_token or former.refresh_token, former.since, expires)
    if grant != former:
        store.write_grant(grant)


def _note_success(state: TokenState, now: float, lifetime: float, jitter: float) -> None:
    state.received, state.expires, state.due = now, now + lifetime, now + lifetime * 2 / 3 * jitter
    state.failures, state.problem, state.fault = 0, None, None
    state.outcomes["renewed"] += 1


def _note_failure(state: TokenState, now: float, error: Exception, jitter: float) -> None:
    lasting = isinstance(error, SettingsError) or (isinstance(error, TokenError) and error.lasting)
    pause = _AFTER_REFUSAL if lasting else min(_FIRST_RETRY * 2**state.failures, _MAX_RETRY)
    state.due = now + pause * jitter
    state.failures = min(state.failures + 1, 10)
    state.problem = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    state.fault = error.fault if isinstance(error, TokenError) else "host"
    state.outcomes["refused" if lasting else "failed"] += 1


def _note_ends(state: TokenState, relay: Relay, store: TokenStore) -> None:
    """Note the age of the grant, and when the first credential ends. Unreadable ones are left out."""
    assert relay.oauth2 is not None  # noqa: S101 -- as above
    grant, ends = None, []
    try:
        if relay.oauth2.grant in STORED_GRANTS:
            grant = store.read_grant()
        if relay.oauth2.certificate_file:
            ends.append(parse_certificate(certificate_of(relay, relay.oauth2)).not_after)
    except (OSError, ValueError, SettingsError):
        ends = []
    if relay.oauth2.secret_expires:
        day = datetime.fromisoformat(relay.oauth2.secret_expires).replace(tzinfo=UTC)
        ends.append(day.timestamp())
    if grant and grant.expires:
        ends.append(grant.expires)
    state.grant_since = grant.since if grant else None
    state.credential_expires = min(ends, default=None)


class TokenMetrics(Part):
    """Gauges and conditions of the tokens, from the files of the token service.

    Args:
        settings: the relays.
        clock: returns seconds since the epoch.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._since = clock()
        self._stores = {relay.name: TokenStore(relay) for relay in relays_with_tokens(settings)}

    def gauges(self) -> Gauges:
        """Return the ends of tokens and credentials, the age of grants, and the renewals by outcome."""
        states = {name: store.read_state() for name, store in self._stores.items()}
        times = partial(_times, states)
        return {
            "postward_token_expiry_timestamp_seconds": times("expires"),
            "postward_token_received_timestamp_seconds": times("received"),
            "postward_token_grant_timestamp_seconds": times("grant_since"),
            "postward_token_credential_expiry_timestamp_seconds": times("credential_expires"),
            "postward_token_renewals_total": {
                (name, outcome): float(state.outcomes.get(outcome, 0))
                for name, state in states.items()
                for outcome in OUTCOMES
            },
        }

    def conditions(self) -> Mapping[str, str | None]:
        """Return why relays get no new token."""
        problems = [
            f"relay {name}: no new token ({fault}): {text}"
            for name, store in self._stores.items()
            for fault, text in self._faults(store.read_state())
        ]
        return {"token-not-renewed": "; ".join(problems) or None} if self._stores else {}

    def _faults(self, state: TokenState) -> Iterator[tuple[str, str]]:
        if state.problem:
            yield state.fault or "unknown", state.problem
        elif self._clock() - max(state.due, self._since) > _MAX_DELAY:
            yield "service", "the token service has not asked for one in time"


def _times(states: Mapping[str, TokenState], field: str) -> dict[Labels, float]:
    values = {name: getattr(state, field) for name, state in states.items()}
    return {(name,): value for name, value in values.items() if value is not None}

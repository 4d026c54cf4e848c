"""`postward init` asks on a terminal, at a real Postfix and real relays. `tools/conversations` holds all sessions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.sessions import SESSIONS, faults_of, hold, network
from tests.support import Relay
from tests.support.require import require_postfix

_QUICK = (
    "a misspelt provider",
    "a region that does not exist",
    "a provider's port that is blocked, and a malformed recipient",
    "no kind of TLS",
    "other senders than the login",
    "three wrong passwords",
)


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Relay]]:
    """Give the relays of the sessions, in a network of their own."""
    require_postfix()
    with network(tmp_path_factory.mktemp("network")) as running:
        yield running


@pytest.mark.parametrize(
    "session", [session for session in SESSIONS if session.name in _QUICK], ids=lambda session: session.name
)
def test_wrong_answers_are_asked_for_again(session: object, relays: list[Relay], tmp_path: Path) -> None:
    """Each session ends with a delivered probe or a clear reason, and shows no password."""
    assert isinstance(session, type(SESSIONS[0]))
    outcome = hold(session, relays, tmp_path / "session")

    assert faults_of(session, outcome) == [], outcome.text

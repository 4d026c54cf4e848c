"""The login throttle: how often a rejected login is attempted, across processes and restarts."""

import json
from pathlib import Path

from postward.agent.relay.login_throttle import LoginThrottle
from postward.config.relay import Relay

HOUR = 3600.0
NO_PROCESS = 2**30


class Clock:
    """A clock that is set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def relay(password: str = "s3cret-Green", **changes: object) -> Relay:  # noqa: S107 -- not a secret
    """Return a relay with a login."""
    fields = {"name": "demo", "host": "r.test", "port": 587, "username": "u", "password": password} | changes
    return Relay.model_validate(fields, strict=False)


def throttle(folder: Path, clock: Clock, given: Relay | None = None, max_per_hour: int = 2) -> LoginThrottle:
    """Return a throttle as each start of the agent makes it."""
    return LoginThrottle(folder / "logins.json", [given or relay()], max_per_hour, clock)


def end_process(folder: Path) -> None:
    """Make the file say that the process of the last attempt has ended."""
    path = folder / "logins.json"
    data = json.loads(path.read_text())
    for entry in data["relays"].values():
        entry["process"] = NO_PROCESS
    path.write_text(json.dumps(data))


def test_a_day_of_rejections_with_restarts_keeps_to_the_limit(tmp_path: Path) -> None:
    """One attempt a minute for a day, by a new process every few hours: no hour has more than two."""
    clock, attempts = Clock(), []
    for minute in range(24 * 60):
        if minute % 280 == 0:
            current = throttle(tmp_path, clock)
        if current.acquire("demo"):
            attempts.append(clock.now)
            current.release("demo", accepted=False)
        clock.now += 60

    assert len(attempts) == 2 * 24
    assert all(later - earlier >= HOUR for earlier, later in zip(attempts, attempts[2:], strict=False))


def test_a_crash_during_an_attempt_counts_as_a_rejection(tmp_path: Path) -> None:
    """Processes that die during each attempt get no more attempts than others."""
    clock, attempts = Clock(), 0
    for _ in range(10):
        attempts += throttle(tmp_path, clock).acquire("demo")
        end_process(tmp_path)
        clock.now += 60

    assert attempts == 2


def test_accepted_logins_are_not_limited(tmp_path: Path) -> None:
    """Hundreds of accepted logins an hour are allowed; a rejection seen by another process holds for all."""
    current = throttle(tmp_path, Clock())
    for _ in range(100):
        assert current.acquire("demo")
        current.release("demo", accepted=True)
    other = throttle(tmp_path, Clock(), max_per_hour=1)
    other.acquire("demo")
    other.release("demo", accepted=False)
    assert not throttle(tmp_path, Clock(), max_per_hour=1).acquire("demo")


def test_a_rejection_after_an_accepted_login_is_recorded(tmp_path: Path) -> None:
    """Attempts that were not recorded are followed by a rejection, which is."""
    clock = Clock()
    current = throttle(tmp_path, clock)
    assert current.acquire("demo")
    current.release("demo", accepted=True)
    assert current.acquire("demo")
    assert current.acquire("demo")
    current.release("demo", accepted=False)
    current.release("demo", accepted=False)
    assert not throttle(tmp_path, clock).acquire("demo")
    assert not current.acquire("demo")


def test_a_changed_login_is_attempted_at_once(tmp_path: Path) -> None:
    """A change of password, username, host or port clears the record."""
    clock = Clock()
    spent = throttle(tmp_path, clock, max_per_hour=1)
    assert spent.acquire("demo")
    spent.release("demo", accepted=False)
    assert throttle(tmp_path, clock, max_per_hour=1).next_attempt_at("demo") == clock.now + HOUR

    for changed in (relay("0ther-Green"), relay(username="v"), relay(host="s.test"), relay(port=2525)):
        assert throttle(tmp_path, clock, changed, max_per_hour=1).next_attempt_at("demo") is None


def test_an_attempt_without_an_answer_does_not_count(tmp_path: Path) -> None:
    """A relay that cannot be reached rejected nothing."""
    current = throttle(tmp_path, Clock())
    assert current.acquire("demo")
    current.release("demo", accepted=False)
    for _ in range(10):
        assert current.acquire("demo")
        current.release("demo", accepted=None)


def test_the_file_holds_no_secret_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """Mode 0600, without the password; a damaged file is replaced."""
    current = throttle(tmp_path, Clock())
    current.acquire("demo")
    path = tmp_path / "logins.json"

    assert path.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in path.read_text()
    path.write_text("{broken")
    assert current.acquire("demo")


def test_without_a_file_the_record_lasts_as_long_as_the_process(tmp_path: Path) -> None:
    """A state directory that does not exist: the limit holds within the process."""
    current = throttle(tmp_path / "none", Clock())
    for _ in range(2):
        assert current.acquire("demo")
        current.release("demo", accepted=False)

    assert not current.acquire("demo")

"""The login throttle: how often a rejected login is attempted, across processes and restarts."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from postward.agent.relay.login_throttle import LoginThrottle
from postward.config.relay import Relay

HOUR = 3600.0
NO_PROCESS = 2**30


class Clock:
    """A clock that is set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def relay(password: str | None = "s3cret-Green", **changes: object) -> Relay:  # noqa: S107 -- not a secret
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
    for entry in data["accounts"].values():
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
    """Another password clears the record, and another user or host has its own; another port or name changes nothing."""
    clock = Clock()
    spent = throttle(tmp_path, clock, max_per_hour=1)
    assert spent.acquire("demo")
    spent.release("demo", accepted=False)
    assert throttle(tmp_path, clock, max_per_hour=1).next_attempt_at("demo") == clock.now + HOUR

    for same in (relay(port=2525), relay(host="R.test"), relay(tls="opportunistic")):
        assert throttle(tmp_path, clock, same, max_per_hour=1).next_attempt_at("demo") is not None
    for changed in (relay(username="v"), relay(host="s.test"), relay("0ther-Green")):
        assert throttle(tmp_path, clock, changed, max_per_hour=1).next_attempt_at("demo") is None


def with_file(path: Path) -> Relay:
    """Return a relay whose password stands in a file."""
    return relay(password=None, password_file=str(path))


def test_processes_with_and_without_the_password_share_the_limit(tmp_path: Path) -> None:
    """The agent and a command take turns; only the command may read the password file."""
    clock, attempts = Clock(), 0
    path = tmp_path / "password"
    path.write_text("s3cret-Green")
    for turn in range(20):
        current = throttle(tmp_path, clock, with_file(path if turn % 2 else tmp_path / "unreadable"))
        if current.acquire("demo"):
            attempts += 1
            current.release("demo", accepted=False)

    assert attempts == 2


def test_another_password_in_the_file_is_attempted_at_once(tmp_path: Path) -> None:
    """Its inode or time differs, so the record holds nothing that a password could be tried against."""
    clock = Clock()
    path = tmp_path / "password"
    path.write_text("s3cret-Green")
    for _ in range(2):
        current = throttle(tmp_path, clock, with_file(path))
        assert current.acquire("demo")
        current.release("demo", accepted=False)
    assert not throttle(tmp_path, clock, with_file(path)).acquire("demo")

    other = path.with_name("new")
    other.write_text("0ther-Green")
    other.replace(path)

    assert throttle(tmp_path, clock, with_file(path)).acquire("demo")


def test_two_relays_with_one_account_share_the_limit(tmp_path: Path) -> None:
    """The provider locks the account, however many relays of the settings use it."""
    both = [relay(name=name, port=port) for name, port in (("a", 587), ("b", 2525))]
    current = LoginThrottle(tmp_path / "logins.json", both, 2, Clock())
    for name in ("a", "b"):
        assert current.acquire(name)
        current.release(name, accepted=False)

    assert not current.acquire("a")
    assert not current.acquire("b")


def test_no_password_can_be_tried_against_the_record(tmp_path: Path) -> None:
    """With a password file the record is the same for any password in it."""
    path = tmp_path / "password"
    records = []
    for password in ("s3cret-Green", "0ther--Green"):
        path.write_text(password)
        os.utime(path, (1, 1))
        current = throttle(tmp_path, Clock(), with_file(path))
        current.acquire("demo")
        current.release("demo", accepted=False)
        records.append(((tmp_path / "logins.json").read_text(), current.digests()))
        (tmp_path / "logins.json").unlink()

    assert records[0] == records[1]


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        '{"accounts": []}',
        '{"accounts": {"u@r.test": {"attempts": [1e400]}}}',
        "null",
        "\x00",
        '{"salt": "x"}',
    ],
)
def test_a_record_of_another_form_is_replaced(tmp_path: Path, content: str) -> None:
    """Root reads what the agent's user wrote; nothing in it ends a command."""
    (tmp_path / "logins.json").write_text(content)

    assert throttle(tmp_path, Clock()).acquire("demo")


def test_a_fifo_in_the_place_of_the_record_holds_nothing_up(tmp_path: Path) -> None:
    """It is replaced like a damaged file."""
    os.mkfifo(tmp_path / "logins.json")

    assert throttle(tmp_path, Clock()).acquire("demo")
    assert (tmp_path / "logins.json").is_file()


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


def test_a_lock_that_is_kept_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's user owns the lock file; root goes on with a record of its own."""
    monkeypatch.setattr("postward.agent.relay.login_throttle._MAX_WAIT", 0.1)
    with (tmp_path / "logins.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = throttle(tmp_path, Clock())
        for _ in range(2):
            assert current.acquire("demo")
            current.release("demo", accepted=False)

        assert not current.acquire("demo")


def test_links_in_the_place_of_the_files_are_not_followed(tmp_path: Path) -> None:
    """Root writes into a folder of the agent's user, who could lead it to another file."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    folder = tmp_path / "state"
    folder.mkdir()
    for name in ("logins.json", "logins.lock", ".logins.json.new"):
        (folder / name).symlink_to(victim)
    current = throttle(folder, Clock())

    assert current.acquire("demo")
    assert victim.read_text() == "untouched"

"""The guard of logins: how often a refused login is tried, whatever restarts."""

from pathlib import Path

from postward.agent.relay.login_throttle import LoginThrottle
from postward.config.relay import Relay

HOUR = 3600.0


class Clock:
    """A clock that is set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def relay(password: str = "s3cret-Green", **changes: object) -> Relay:  # noqa: S107 - no secret
    """A relay with a login."""
    fields = {"name": "demo", "host": "r.test", "port": 587, "username": "u", "password": password} | changes
    return Relay.model_validate(fields, strict=False)


def guard(folder: Path, clock: Clock, given: Relay | None = None, most: int = 2) -> LoginThrottle:
    """A guard as each start of the agent makes it."""
    return LoginThrottle(folder / "logins.json", [given or relay()], most, clock)


def test_a_day_of_refusals_with_restarts_keeps_to_the_number(tmp_path: Path) -> None:
    """Tried every minute for a day, with a new process every few hours, no hour sees more than two tries."""
    clock, tries = Clock(), []
    for minute in range(24 * 60):
        if minute % 280 == 0:
            current = guard(tmp_path, clock)
        if current.begin("demo"):
            tries.append(clock.now)
            current.end("demo", accepted=False)
        clock.now += 60

    assert len(tries) == 2 * 24
    assert all(later - earlier >= HOUR for earlier, later in zip(tries, tries[2:], strict=False))


def test_a_crash_between_try_and_outcome_counts_as_a_refusal(tmp_path: Path) -> None:
    """A process that dies in the middle of each try does not get more of them."""
    clock, tries = Clock(), 0
    for _ in range(10):
        current = guard(tmp_path, clock)
        tries += current.begin("demo")
        with current._file(write=True):
            current._entry("demo")["process"] = 2**30  # no such process: it died
        clock.now += 60

    assert tries == 2


def test_an_accepted_login_is_never_held_back(tmp_path: Path) -> None:
    """Hundreds of accepted logins an hour are none of the guard's business."""
    current = guard(tmp_path, Clock())
    for _ in range(100):
        assert current.begin("demo")
        current.end("demo", accepted=True)
    other = guard(tmp_path, Clock(), most=1)
    other.begin("demo")
    other.end("demo", accepted=False)
    assert not guard(tmp_path, Clock(), most=1).begin("demo"), (
        "what another process was refused holds for all"
    )


def test_a_refusal_after_acceptance_is_written_down(tmp_path: Path) -> None:
    """The tries that needed no writing are followed by one that does."""
    clock = Clock()
    current = guard(tmp_path, clock)
    assert current.begin("demo")
    current.end("demo", accepted=True)
    assert current.begin("demo")
    assert current.begin("demo")
    current.end("demo", accepted=False)
    current.end("demo", accepted=False)
    assert not guard(tmp_path, clock).begin("demo")
    assert not current.begin("demo")


def test_other_settings_start_anew(tmp_path: Path) -> None:
    """Password, username, host or port: whatever changes, the new login is tried at once."""
    clock = Clock()
    spent = guard(tmp_path, clock, most=1)
    assert spent.begin("demo")
    spent.end("demo", accepted=False)
    assert not guard(tmp_path, clock, most=1).begin("demo")
    assert spent.try_again_at("demo") == clock.now + HOUR

    for changed in (relay("0ther-Green"), relay(username="v"), relay(host="s.test"), relay(port=2525)):
        assert guard(tmp_path, clock, changed, most=1).admits("demo")


def test_a_try_that_came_to_nothing_is_given_back(tmp_path: Path) -> None:
    """A relay that cannot be reached was asked nothing."""
    current = guard(tmp_path, Clock())
    assert current.begin("demo")
    current.end("demo", accepted=False)
    for _ in range(10):
        assert current.begin("demo")
        current.end("demo", accepted=None)


def test_the_file_holds_no_secret_and_is_the_owners_alone(tmp_path: Path) -> None:
    """Mode 0600, without the password; a damaged file is no obstacle."""
    current = guard(tmp_path, Clock())
    current.begin("demo")
    path = tmp_path / "logins.json"

    assert path.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in path.read_text()
    path.write_text("{broken")
    assert current.begin("demo")

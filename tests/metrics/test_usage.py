"""Limits of relays, their forecast, and floods: by the stamps of the lines, over restarts."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from postward.agent.metrics.labels import RelayNames
from postward.agent.metrics.minutes import minute_of
from postward.agent.metrics.usage import Accepted, MailVolume
from postward.agent.metrics.volume import HOUR, Volume
from postward.agent.rows import ByRows
from postward.agent.status.model import limits_text
from postward.config.settings import Settings, load_settings
from postward.parsers.scan import Scanner
from tests.support import require_postfix, wait_for
from tools.incidents.pairs import bed

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
WEEK = 7 * 24 * HOUR


def settings(folder: Path, limits: str) -> Settings:
    """Settings with a relay that has these limits."""
    path = folder / "postward.toml"
    path.write_text(
        '[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "main"\nhost = "r.test"\ntls = "starttls"\n'
        f"{limits}\n"
    )
    return load_settings(path)


def line(moment: datetime, status: str = "sent", host: str = "r.test", form: str = "iso") -> str:
    """A delivery to a relay."""
    stamp = moment.isoformat(timespec="microseconds") if form == "iso" else moment.strftime("%b %e %T")
    return (
        f"{stamp} mx postfix/smtp[1]: 3C0001: to=<a@b.example>, relay={host}[192.0.2.1]:587, delay=1, "
        f"delays=0/0/0/1, dsn=2.0.0, status={status} (ok)\n"
    )


def volume(given: Settings, now: datetime = NOW) -> MailVolume:
    """The part, at this time."""
    return MailVolume(given, RelayNames.of_settings(given), lambda: now, now.timestamp)


def feed(part: ByRows, text: str) -> None:
    """Give lines to the part, as the agent's pipeline does."""
    part.observe_block(Scanner(part.wanted).scan(text))


def values(part: MailVolume, name: str) -> Any:
    """The values of a gauge."""
    return part.gauges()[name]


@pytest.mark.parametrize("form", ["iso", "traditional"])
def test_recipients_count_in_the_window_of_their_stamps(form: str, tmp_path: Path) -> None:
    """A backlog that is read late counts when its mail left. Failures and other relays do not count."""
    part = volume(settings(tmp_path, "daily_limit = 100\nhourly_limit = 10"))
    lines = [line(NOW - timedelta(hours=hours), form=form) for hours in (0, 0, 2, 23, 25)]
    lines += [line(NOW, "deferred", form=form), line(NOW, host="other.test", form=form)]

    feed(part, "".join(lines))

    assert values(part, "postward_relay_limit_ratio") == {("main", "hour"): 0.2, ("main", "day"): 0.04}
    assert part.conditions() == {"relay-limit-near": None, "mail-flood": None}


def test_a_limit_that_is_nearly_used_up(tmp_path: Path) -> None:
    """From 80 % on `why` names numbers and the time at which it is used up; counts survive a restart as JSON."""
    given = settings(tmp_path, "daily_limit = 300")
    part = volume(given)
    feed(part, "".join(line(NOW - timedelta(minutes=minute)) * 4 for minute in range(1, 61)))
    restarted = volume(given)
    restarted.restore(json.loads(json.dumps(part.state())))

    assert values(restarted, "postward_relay_limit_ratio") == {("main", "day"): 0.8}
    text = str(restarted.conditions()["relay-limit-near"])
    end = datetime.fromtimestamp((NOW + timedelta(minutes=15)).timestamp()).astimezone()
    assert text == f"relay main: 240 of 300 recipients of the last day, used up at {end:%H:%M} at this rate"


@pytest.mark.parametrize("seed", range(3))
def test_a_day_of_traffic_with_restarts(seed: int, tmp_path: Path) -> None:
    """The ratio is that of the relay's own count at every minute, and 80 % are reached before the relay defers mail."""
    random = Random(seed)  # noqa: S311 -- a reproducible day
    given, limit = settings(tmp_path, "daily_limit = 2000"), 2000
    clock = [NOW]
    part = MailVolume(given, RelayNames.of_settings(given), lambda: clock[0], lambda: clock[0].timestamp())
    accepted: list[float] = []  # when the relay accepted a recipient
    warned = deferred = None
    for _ in range(24 * 60):
        clock[0] += timedelta(minutes=1)
        now = clock[0].timestamp()
        lines = []
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            moment = clock[0] - timedelta(seconds=random.randrange(60))
            # The relay's window is not longer than ours, which has whole steps.
            is_full = sum(at > moment.timestamp() - 24 * HOUR for at in accepted) >= limit
            if is_full:
                deferred = deferred or now
            else:
                accepted.append(moment.timestamp())
            lines.append(line(moment, "deferred" if is_full else "sent"))
        feed(part, "".join(lines))
        [ratio] = values(part, "postward_relay_limit_ratio").values()
        assert ratio == len(accepted) / limit
        warned = warned or (now if part.conditions()["relay-limit-near"] else None)
        if random.random() < 0.02:  # a crash: the checkpoint has state and position together
            state = json.loads(json.dumps(part.state()))
            part = MailVolume(
                given, RelayNames.of_settings(given), lambda: clock[0], lambda: clock[0].timestamp()
            )
            part.restore(state)

    assert warned is not None
    assert deferred is not None
    assert deferred - warned > HOUR


def test_state_of_a_relay_without_a_limit_is_dropped(tmp_path: Path) -> None:
    """Limits can be removed from the settings."""
    part = volume(settings(tmp_path, ""))
    part.restore({"accepted": {"main": {"5970000": 7}}, "hours": {}})

    assert part.state()["accepted"] == {}
    assert values(part, "postward_relay_limit_ratio") == {}


def test_the_forecast_lets_mail_leave_the_window() -> None:
    """A steady stream below the limit never uses it up, and one above does before the window is over."""
    now = NOW.timestamp()
    stream = Accepted({int(now) // 300 - step: 10 for step in range(288)})

    assert stream.used_up_at(2900, 86400, now) is None
    assert stream.used_up_at(2880, 86400, now) == now
    fresh = Accepted({int(now) // 300 - step: 10 for step in range(1, 13)})
    assert fresh.used_up_at(240, 86400, now) == now + 12 * 300
    assert Accepted().used_up_at(1, 3600, now) is None


@pytest.mark.parametrize(
    ("stamp", "minute"),
    [
        ("Nov 24 06:05:59", "Nov 24 06:05:00"),
        ("2026-11-24T06:05:59.123456+01:00", "2026-11-24T06:05:00+01:00"),
        ("2026-11-24T06:05:59Z", "2026-11-24T06:05:00Z"),
        ("1764000000123456", "1764000000000000"),
    ],
)
def test_stamps_of_a_minute_are_parsed_once(stamp: str, minute: str) -> None:
    """The zone stays."""
    assert minute_of(stamp) == minute


def usual(weeks: int, number: int) -> Volume:
    """The same number each hour, for some weeks."""
    return Volume(dict.fromkeys(range(weeks * 7 * 24), number))


def test_a_flood_needs_two_weeks_of_history() -> None:
    """Without it nothing is called unusual; with it, the hour and the amount are named."""
    for weeks, found in ((1, False), (3, True)):
        history, now = usual(weeks, 50), weeks * WEEK
        history.flood(now)
        history.add(now, 400)
        flood = history.flood(now)
        assert (flood is not None) is found
    assert flood == ("hour", 400, 50)


def test_a_steady_stream_is_found_by_the_day() -> None:
    """Twice the usual amount is allowed in an hour, and too much in the sum of a day."""
    history, found = usual(5, 50), []
    for hour in range(5 * 7 * 24, 5 * 7 * 24 + 24):
        history.flood(hour * HOUR)
        history.add(hour * HOUR, 100)
        found.append(history.flood(hour * HOUR))

    assert found[0] is None
    assert found[-1] is not None
    assert found[-1].window == "day"


def test_a_quiet_host_has_no_floods() -> None:
    """A few mails where there were none are not a flood."""
    history, now = usual(3, 0), 3 * WEEK
    history.flood(now)
    history.add(now, 90)

    assert history.flood(now) is None


def test_a_flood_does_not_become_usual() -> None:
    """A second flood, a day after a first one, is found too; the state has five weeks at most."""
    history = usual(5, 50)
    for day in (0, 1):
        now = 5 * WEEK + day * 24 * HOUR
        history.flood(now)
        history.add(now, 5000)
        assert history.flood(now) is not None
        history.flood(now + HOUR)
    assert len(history.to_dict()) <= 5 * 7 * 24 + 30


def test_the_agent_names_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real Postfix and relay: after the mail that uses the limit up, `status` and the incidents name it."""
    require_postfix()
    monkeypatch.setenv("POSTWARD_RELAY__FIRST__DAILY_LIMIT", "1")
    with bed(tmp_path) as made:
        made.mail(0)
        wait_for(
            lambda: "relay-limit-near" in {symptom for _, symptom in made.open()}, 30, "the note on the limit"
        )
        status = json.loads(made.agent.get("/api/status")[1])

    [first] = [relay for relay in status["relays"] if relay["name"] == "first"]
    [limit] = first["limits"]
    assert (limit["window"], limit["ratio"]) == ("day", 1.0)
    assert limits_text(first, lambda _: "now") == "100% of the limit of the day, used up now at this rate"
    [note] = [row for row in status["incidents"] if row["symptom"] == "relay-limit-near"]
    assert note["effect"] == "note"
    assert note["evidence"] == ["relay first: 1 of 1 recipients of the last day, is used up"]

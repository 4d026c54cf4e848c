"""Reports on a time: by the stamps of the lines, whatever their form, compared with the period before, and by host."""

import gzip
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from postward.agent.commands.report import command
from postward.agent.report import chunks as report_chunks
from postward.agent.report.clock import LogClock
from postward.agent.report.period import Period, Within
from postward.agent.text import local_now

NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)  # a Wednesday
LINE = "postfix/smtp[1]: {0}: to=<a@b.example>, relay=r.test[192.0.2.1]:587, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (ok)"


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    """A moment of November 2026."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def sent(moment: datetime, host: str = "mx1", number: int = 0) -> str:
    """A line of a delivery."""
    return f"{moment.isoformat(timespec='seconds')} {host} {LINE.format(f'3C{number:04X}')}\n"


def run(*arguments: object) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_named_periods() -> None:
    """Yesterday, the week before this one, and the same length before each."""
    day, week = Period.yesterday(NOW), Period.last_week(NOW)

    assert day == Period.between(at(24), at(25))
    assert week == Period.between(at(16), at(23))
    assert week.before(NOW) == Period.between(at(9), at(16))
    assert Period.between(at(25, 7, 30), None).before(NOW) == Period.between(at(25, 5, 30), at(25, 7, 30))
    assert Period(None, 5).before(NOW) is None


@given(
    st.lists(st.integers(0, 7200), max_size=12),
    st.integers(0, 7200),
    st.integers(0, 7200),
    st.sampled_from(("%b %e %T", "%Y-%m-%dT%T.5+01:00", "<22>1 %Y-%m-%dT%T+01:00")),
)
def test_each_line_is_taken_by_its_own_stamp(seconds: list[int], since: int, until: int, form: str) -> None:
    """In any order, in the usual forms of stamps: exactly the lines of the period stay."""
    start = at(24, 9)
    period = Period.between(start + timedelta(seconds=since), start + timedelta(seconds=until))
    lines = []
    for number, second in enumerate(seconds):
        stamp = (start + timedelta(seconds=second)).strftime(form)
        text = LINE.format(f"3C{number:04X}")
        host = "mx1 postfix/smtp 1 - - " if form[0] == "<" else "mx1 "
        lines.append(f"{stamp} {host}{text.partition(': ')[2] if form[0] == '<' else text}\n")
    within = Within(period, LogClock(NOW))

    kept = within.lines("".join(lines))

    assert kept == "".join(
        line for line, second in zip(lines, seconds, strict=True) if since <= second < until
    )
    assert within.reaches_back == any(second < since for second in seconds)


def test_the_period_of_a_report(tmp_path: Path) -> None:
    """Lines of other times, and lines without a stamp, are not counted; the numbers of the period before stand beside."""
    log = tmp_path / "mail.log"
    hours = [7, 8, 8, 9, 9, 9, 10]
    log.write_text("".join(sent(at(24, hour, 5), number=n) for n, hour in enumerate(hours)) + "junk\n")
    times = ("--since", "2026-11-24 09:00", "--until", "2026-11-24T10:00")

    result = run("--json", "--compare", *times, log)

    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["totals"]["delivered"] == 3
    assert report["lines"] == {"event": 3, "generic": 0, "unrecognised": 0, "foreign": 0}
    assert report["before"]["totals"]["delivered"] == 2
    assert "delivered             before: 2  +50%" in run("--compare", *times, log).stdout
    assert run("--json", "--compare", "--jobs", 1, "--chunk", 100, *times, log).stdout == result.stdout


def test_a_log_that_begins_too_late_is_not_compared(tmp_path: Path) -> None:
    """Growth is not claimed where the log has no line before the period before."""
    log = tmp_path / "mail.log"
    log.write_text("".join(sent(at(24, hour, 5)) for hour in (8, 9)))

    result = run("--compare", "--since", "2026-11-24 09:00", "--until", "2026-11-24 10:00", log)

    assert "not compared, as the log has no earlier line" in result.stdout
    assert "before: " not in result.stdout.partition("Totals")[2]
    assert "The log may begin later" not in result.stdout


def test_hosts_of_a_central_log(tmp_path: Path) -> None:
    """A table by host if the log has several; masked with the domains."""
    log = tmp_path / "mail.log"
    log.write_text("".join(sent(NOW, host) for host in ("mx1", "mx2", "mx2")))

    text = run(log).stdout

    rows = [line.split() for line in text.partition("\nHosts\n")[2].splitlines()[1:3]]
    assert [row[:3] for row in rows] == [["mx2", "0", "2"], ["mx1", "0", "1"]]
    assert "mx2" not in run("--mask", log).stdout
    log.write_text(sent(NOW, "mx1"))
    assert "\nHosts\n" not in run(log).stdout


def test_without_a_file_the_log_of_this_host_is_read(tmp_path: Path) -> None:
    """The settings name it; its rotated files are read as far back as the period, and the relay has its name."""
    now = local_now()
    log, settings = tmp_path / "mail.log", tmp_path / "postward.toml"
    log.write_text(sent(now))
    yesterday = datetime.combine(now - timedelta(days=1), datetime.min.time()).replace(hour=12)
    (tmp_path / "mail.log.1").write_text(sent(yesterday) * 2)
    (tmp_path / "mail.log.2.gz").write_bytes(gzip.compress(sent(now - timedelta(days=20)).encode() * 5))
    os.utime(tmp_path / "mail.log.2.gz", (0, (now - timedelta(days=20)).timestamp()))
    settings.write_text(
        '[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "r.test"\ntls = "starttls"\n'
        f'[log]\nsource = "{log}"\n'
    )

    whole = json.loads(run("--json", "--config", settings).stdout)
    day = json.loads(run("--json", "--config", settings, "--yesterday").stdout)

    assert (whole["totals"]["delivered"], day["totals"]["delivered"]) == (8, 2)
    assert [row["relay"] for row in day["relays"]] == ["demo"]


def test_a_year_of_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day is read from the files that can have it, and a week is the sum of its days."""
    log, settings = tmp_path / "mail.log", tmp_path / "postward.toml"
    settings.write_text(
        '[host]\nmyhostname = "mx.example.test"\n[[relay]]\nname = "demo"\nhost = "r.test"\ntls = "starttls"\n'
        f'[log]\nsource = "{log}"\n'
    )
    today = datetime.combine(local_now(), datetime.min.time()).astimezone()
    for age in range(365):
        day = today - timedelta(days=age)
        text = "".join(sent(day + timedelta(minutes=n), number=n) for n in range(10 + age % 7)).encode()
        path = log if age == 0 else tmp_path / (f"mail.log.{age}" + (".gz" if age > 1 else ""))
        path.write_bytes(gzip.compress(text) if age > 1 else text)
        written = (day + timedelta(days=1, seconds=-1)).timestamp()
        os.utime(path, (written, written))
    size = sum(path.stat().st_size for path in tmp_path.glob("mail.log*"))
    read: dict[str, int] = {}
    chunks = report_chunks.chunks_of

    def noted(paths: Sequence[Path], *options: Any) -> Any:
        read.update({path.name: path.stat().st_size for path in paths})
        return chunks(paths, *options)

    monkeypatch.setattr("postward.agent.commands.report.chunks_of", noted)

    def delivered(*period: object) -> int:
        number = json.loads(run("--json", "--config", settings, *period).stdout)["totals"]["delivered"]
        assert isinstance(number, int)
        return number

    assert delivered("--yesterday") == 11
    print(f"--yesterday read {sum(read.values()):,} of {size:,} bytes: {', '.join(sorted(read))}")  # noqa: T201
    assert set(read) == {"mail.log", "mail.log.1", "mail.log.2.gz"}
    monday = today - timedelta(days=today.weekday())
    days = [
        delivered(
            "--since", f"{monday - timedelta(days=n):%F}", "--until", f"{monday - timedelta(days=n - 1):%F}"
        )
        for n in range(1, 8)
    ]
    assert delivered("--last-week") == sum(days) == 91


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--yesterday", "--last-week", "x"], "exclude each other"),
        (["--since", "2026-11-24", "--until", "2026-11-23", "x"], "--since must be earlier"),
        (["--since", "soon", "x"], 'soon is not a time; write 30m, 2h, 3d, or "2026-11-24 09:00"'),
        (["--compare", "x"], "--compare needs a period"),
        (["--csv", "x"], "--csv belongs to --lost"),
        (["--addresses", "--mask", "x"], "--addresses and --mask exclude each other"),
        (["--send", "x"], "leave out FILE"),
    ],
)
def test_options_that_do_not_fit(arguments: list[str], message: str) -> None:
    """A usage error says what is wrong."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())

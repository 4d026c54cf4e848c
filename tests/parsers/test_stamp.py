"""Time stamps, also around New Year and the change to and from daylight saving time."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postward.parsers import parse_stamp

_BERLIN = ZoneInfo("Europe/Berlin")
_NOW = datetime(2025, 11, 24, 6, 5, 1, tzinfo=_BERLIN)


def _utc(stamp: str, reference: datetime) -> str | None:
    moment = parse_stamp(stamp, reference)
    return None if moment is None else moment.astimezone(UTC).isoformat()


@pytest.mark.parametrize(
    ("stamp", "moment"),
    [
        ("Nov 24 06:05:01", "2025-11-24T05:05:01+00:00"),
        ("Nov  4 06:05:01", "2025-11-04T05:05:01+00:00"),
        ("Nov 04 06:05:01", "2025-11-04T05:05:01+00:00"),
        ("Nov 24 06:05:01.123456", "2025-11-24T05:05:01.123456+00:00"),
        ("2013 Jun 16 16:05:07.123", "2013-06-16T14:05:07.123000+00:00"),
        ("2025-11-24T06:05:01.123456+03:00", "2025-11-24T03:05:01.123456+00:00"),
        ("2025-11-24T06:05:01.123456789Z", "2025-11-24T06:05:01.123456+00:00"),
        ("2025-11-24T06:05:01-0330", "2025-11-24T09:35:01+00:00"),
        ("2025-11-24 06:05:01", "2025-11-24T05:05:01+00:00"),
        ("Okt 24 06:05:01", "2025-10-24T04:05:01+00:00"),
        ("1762232701000000", "2025-11-04T05:05:01+00:00"),
        ("Jun 30 23:59:60", "2025-06-30T21:59:59+00:00"),
    ],
)
def test_every_form_of_stamp_is_read(stamp: str, moment: str) -> None:
    """Each form of stamp that a header can have gives the right point in time."""
    assert _utc(stamp, _NOW) == moment


@pytest.mark.parametrize(
    ("stamp", "reference", "year"),
    [
        ("Dec 31 23:59:59", datetime(2026, 1, 1, 0, 0, 2, tzinfo=_BERLIN), 2025),
        ("Jan  1 00:00:03", datetime(2026, 1, 1, 0, 0, 2, tzinfo=_BERLIN), 2026),
        ("Jan  1 00:00:00", datetime(2025, 12, 31, 23, 59, 59, tzinfo=_BERLIN), 2026),
        ("Dec  1 00:00:00", datetime(2026, 2, 1, tzinfo=_BERLIN), 2025),
        ("Feb 29 12:00:00", datetime(2025, 1, 10, tzinfo=_BERLIN), 2024),
        ("Feb 29 12:00:00", datetime(2028, 3, 1, tzinfo=_BERLIN), 2028),
        ("Feb 29 12:00:00", datetime(2026, 11, 29, tzinfo=_BERLIN), 2024),
        ("Feb  6 12:00:00", datetime(2026, 11, 29, tzinfo=_BERLIN), 2026),
        ("Nov 30 11:00:00", datetime(2026, 11, 29, 12, tzinfo=_BERLIN), 2026),
        ("Nov 30 13:00:00", datetime(2026, 11, 29, 12, tzinfo=_BERLIN), 2025),
    ],
)
def test_a_stamp_without_a_year_gets_the_latest_possible_year(
    stamp: str, reference: datetime, year: int
) -> None:
    """The result is at most one day after the reference, because the clocks of hosts differ."""
    moment = parse_stamp(stamp, reference)
    assert moment is not None
    assert moment.astimezone(_BERLIN).year == year


def test_the_reference_decides_in_the_hour_that_occurs_twice() -> None:
    """At 03:00 on 26 October 2025, clocks in Berlin went back to 02:00."""
    first = datetime(2025, 10, 26, 0, 31, tzinfo=UTC).astimezone(_BERLIN)
    second = datetime(2025, 10, 26, 1, 31, tzinfo=UTC).astimezone(_BERLIN)
    assert _utc("Oct 26 02:30:00", first) == "2025-10-26T00:30:00+00:00"
    assert _utc("Oct 26 02:30:00", second) == "2025-10-26T01:30:00+00:00"


def test_a_stamp_of_summer_has_the_offset_of_summer() -> None:
    """The offset depends on the date of the stamp, not on the date of the reference."""
    assert _utc("Oct 25 12:00:00", _NOW) == "2025-10-25T10:00:00+00:00"


def test_the_cache_distinguishes_time_zones() -> None:
    """A result for one zone is not returned for an equal reference in another zone."""
    plus_one = datetime(2025, 11, 24, 6, 5, 1, tzinfo=timezone(timedelta(hours=1)))
    assert plus_one == _NOW
    assert _utc("Jul  1 12:00:00", _NOW) == "2025-07-01T10:00:00+00:00"
    assert _utc("Jul  1 12:00:00", plus_one) == "2025-07-01T11:00:00+00:00"


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "-",
        "Xyz 24 06:05:01",
        "Nov 31 06:05:01",
        "Nov 24 25:05:01",
        "2025-13-01T00:00:00Z",
        "9999-12-31T23:59:59-99:99",
        "0001-01-01T00:00:00+23:59",
        "99999999999999999",
        "Nov 24",
        "yesterday",
        "Nov 24 06:05:01 ",
        "٢٠٢٥-11-24T06:05:01Z",
    ],
)
def test_an_invalid_stamp_is_none(stamp: str) -> None:
    """An invalid stamp does not raise an exception."""
    moment = parse_stamp(stamp, _NOW)
    assert moment is None


def test_a_reference_without_a_time_zone_gives_none() -> None:
    """Without a time zone a stamp is not a point in time."""
    assert parse_stamp("Nov 24 06:05:01", datetime(2025, 11, 24)) is None  # noqa: DTZ001


def test_the_result_always_has_a_time_zone() -> None:
    """Each form of stamp gives a result that can be compared with others."""
    for stamp in ("Nov 24 06:05:01", "2025-11-24T06:05:01", "1762232701000000"):
        moment = parse_stamp(stamp, _NOW)
        assert moment is not None
        assert moment.utcoffset() is not None


@given(
    st.text(max_size=40)
    | st.from_regex(r"[A-Z][a-z]{2} [ 0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?", fullmatch=True)
)
def test_no_text_raises(stamp: str) -> None:
    """Any program can print a stamp."""
    moment = parse_stamp(stamp, _NOW)
    assert moment is None or moment.astimezone(UTC) is not None


@given(st.integers(1_000_000_000, 7_000_000_000), st.integers(0, 360))
def test_a_stamp_before_the_reference_is_found_again(second: int, days: int) -> None:
    """Within a year, a stamp without its year is ambiguous in the repeated hour only."""
    whole = datetime.fromtimestamp(second, UTC)
    reference = (whole + timedelta(days=days)).astimezone(_BERLIN)
    found = parse_stamp(f"{whole.astimezone(_BERLIN):%b %d %H:%M:%S}", reference)
    assert found is not None
    assert abs(found - whole) <= timedelta(hours=1)
    assert f"{found:%b %d %H:%M:%S}" == f"{whole.astimezone(_BERLIN):%b %d %H:%M:%S}"

"""Stamps as printed, to points in time.

Promises: the result is aware. A stamp without a year is the one nearest to the reference, so a log read
right after New Year keeps its old year; one without a zone is local time of the reference's zone, and in the
hour that occurs twice it is the one nearer to the reference. Nonsense is None; nothing raises.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_YEARLESS: Final = re.compile(
    r"(?:(\d{4}) )?([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?", re.ASCII
)
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
# __REALTIME_TIMESTAMP of the journal; so many digits from 2001 to 2286.
_MICROSECONDS: Final = re.compile(r"\d{15,16}", re.ASCII)

# Nobody logs outside of these, and at the ends of the calendar a change of zone overflows.
_YEARS: Final = range(1970, 9000)
_NEAR: Final = timedelta(minutes=1)
_MAX_RECENT: Final = 256
_recent: dict[str, tuple[datetime, datetime | None]] = {}


def parse_stamp(stamp: str, reference: datetime) -> datetime | None:
    """The point in time that a stamp names, seen from an aware reference such as now."""
    zone = reference.tzinfo
    if zone is None:
        return None
    if stamp[10:11] == "T" and (moment := _with_offset(stamp)) is not None:
        return moment
    # Lines come many to a second, and the clock runs on: a reference less than a minute away decides the same.
    # Within one zone a difference is one of clock readings, hence the fold.
    known = _recent.get(stamp)
    if known is not None:
        seen, moment = known
        if seen.tzinfo is zone and seen.fold == reference.fold and abs(reference - seen) < _NEAR:
            return moment
    moment = _parse(stamp, reference.astimezone(UTC), zone)
    if len(_recent) >= _MAX_RECENT:
        _recent.clear()
    _recent[stamp] = (reference, moment)
    return moment


def _with_offset(stamp: str) -> datetime | None:
    """RFC 3339 with its offset, which no reference can change; fractions make nearly all of these differ."""
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and moment.year in _YEARS else None


def _parse(stamp: str, reference: datetime, zone: tzinfo) -> datetime | None:
    try:
        if (match := _RFC3339.fullmatch(stamp)) is not None:
            return _full(match, reference, zone)
        if (match := _YEARLESS.fullmatch(stamp)) is not None:
            return _nearest(match, reference, zone)
        if _MICROSECONDS.fullmatch(stamp):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(stamp))
    except (ValueError, OverflowError):  # such as 30 February, or the year 10000
        return None
    return None


def _full(match: re.Match[str], reference: datetime, zone: tzinfo) -> datetime | None:
    *parts, fraction, offset = match.groups()
    year, month, day, hour, minute, second = (int(part) for part in parts)
    if year not in _YEARS:
        return None
    # A leap second is the second before it.
    naive = datetime(year, month, day, hour, minute, min(second, 59), _microseconds(fraction))  # noqa: DTZ001
    if offset is None:
        return _localise(naive, reference, zone)
    if offset == "Z":
        return naive.replace(tzinfo=UTC)
    away = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:]))
    return naive.replace(tzinfo=timezone(-away if offset[0] == "-" else away))


def _nearest(match: re.Match[str], reference: datetime, zone: tzinfo) -> datetime | None:
    year, name, day, hour, minute, second, fraction = match.groups()
    month = _MONTHS.get(name)
    if month is None or (year and int(year) not in _YEARS):
        return None
    clock = (int(hour), int(minute), min(int(second), 59), _microseconds(fraction))
    # The day before in UTC may be next year here.
    years = range(int(year), int(year) + 1) if year else range(max(1, reference.year - 1), reference.year + 2)
    found = []
    for candidate in years:
        try:
            naive = datetime(candidate, month, int(day), *clock)  # noqa: DTZ001
        except ValueError:  # 29 February of another year
            continue
        found.append(_localise(naive, reference, zone))
    return min(found, key=lambda moment: abs(moment - reference), default=None)


def _localise(naive: datetime, reference: datetime, zone: tzinfo) -> datetime:
    early = naive.replace(tzinfo=zone, fold=0)
    late = early.replace(fold=1)
    # The reference is in UTC, so these differences are between moments and not between clock readings.
    return min((early, late), key=lambda moment: abs(moment - reference))


def _microseconds(fraction: str | None) -> int:
    return int(fraction[:6].ljust(6, "0")) if fraction else 0

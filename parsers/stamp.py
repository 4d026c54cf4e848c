"""Parser for the time stamps of log lines.

- A stamp without a year gets the latest year in which it is at most one day after the reference time. So lines of
  December that are read in January keep the old year.
- A stamp without a time zone is local time in the zone of the reference. In the hour that occurs twice, the time
  nearer to the reference is chosen.

Promises: the result has a time zone, or is None for an invalid stamp. Nothing raises.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from postward.parsers.months import month_number

_YEARLESS: Final = re.compile(
    r"(?:(\d{4}) )?([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?", re.ASCII
)
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
# __REALTIME_TIMESTAMP of the journal. It has 16 digits from 2001 to 2286.
_MICROSECONDS: Final = re.compile(r"\d{15,16}", re.ASCII)

# Near the first and the last year of datetime, a conversion between time zones overflows.
_YEARS: Final = range(1970, 9000)
# No line is written after the reference (now, or the file's last write). But clocks and zones of hosts differ.
_AHEAD: Final = timedelta(days=1)
_LEAP_YEARS_APART: Final = 8  # the longest time between two leap years, such as 1896 and 1904
_NEAR: Final = timedelta(minutes=1)
_MAX_RECENT: Final = 256
_recent: dict[str, tuple[datetime, datetime | None]] = {}


def parse_stamp(stamp: str, reference: datetime) -> datetime | None:
    """Return the point in time of a stamp.

    Args:
        stamp: the stamp as printed.
        reference: a time with a zone, at or after the writing of the line: now, or the last write of its file.
    """
    zone = reference.tzinfo
    if zone is None:
        return None
    if stamp[10:11] == "T" and (moment := _with_offset(stamp)) is not None:
        return moment
    # Many lines have the same stamp, and the reference moves on. A reference less than a minute away gives the
    # same result. Python ignores the fold in differences within one zone, so it is compared separately.
    known = _recent.get(stamp)
    if known is not None:
        seen, moment = known
        if seen.tzinfo == zone and seen.fold == reference.fold and abs(reference - seen) < _NEAR:
            return moment
    moment = _parse(stamp, reference.astimezone(UTC), zone)
    if len(_recent) >= _MAX_RECENT:
        _recent.clear()
    _recent[stamp] = (reference, moment)
    return moment


def _with_offset(stamp: str) -> datetime | None:
    """Parse RFC 3339 with an offset, without the cache: no reference is necessary, and fractions rarely repeat."""
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
            return _latest(match, reference, zone)
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
    # A leap second counts as second 59.
    naive = datetime(year, month, day, hour, minute, min(second, 59), _microseconds(fraction))  # noqa: DTZ001
    if offset is None:
        return _localise(naive, reference, zone)
    if offset == "Z":
        return naive.replace(tzinfo=UTC)
    away = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:]))
    return naive.replace(tzinfo=timezone(-away if offset[0] == "-" else away))


def _latest(match: re.Match[str], reference: datetime, zone: tzinfo) -> datetime | None:
    year, name, day, hour, minute, second, fraction = match.groups()
    month = month_number(name)
    if month is None or (year and int(year) not in _YEARS):
        return None
    clock = (int(hour), int(minute), min(int(second), 59), _microseconds(fraction))
    # On 31 December in UTC, it may already be the next year in the zone of the stamp.
    first, last = (int(year), int(year)) if year else (reference.year - _LEAP_YEARS_APART, reference.year + 1)
    for candidate in range(last, max(first, 1) - 1, -1):
        try:
            naive = datetime(candidate, month, int(day), *clock)  # noqa: DTZ001
        except ValueError:  # 29 February of another year
            continue
        moment = _localise(naive, reference, zone)
        if year or moment - reference <= _AHEAD:
            return moment
    return None


def _localise(naive: datetime, reference: datetime, zone: tzinfo) -> datetime:
    early = naive.replace(tzinfo=zone, fold=0)
    late = early.replace(fold=1)
    # The reference is in UTC, so Python compares points in time and not clock readings.
    return min((early, late), key=lambda moment: abs(moment - reference))


def _microseconds(fraction: str | None) -> int:
    return int(fraction[:6].ljust(6, "0")) if fraction else 0

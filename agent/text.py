"""Moments, numbers and sizes as people read them, and the host's local time.

Pure but for `local_now`, which code that must not read the clock is handed as an argument.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from postward.parsers import parse_stamp

# Colours of a delivery's status, as printed, on a terminal.
STATUS_STYLE: Final = {"sent": "green", "deferred": "yellow", "SOFTBOUNCE": "yellow", "bounced": "red"}
_NEAR_TO = datetime(2000, 1, 1, tzinfo=UTC)  # any year: the journal's stamps are absolute
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 -- the log's own clock
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def local_now() -> datetime:
    """The present moment in the host's time zone, in which Postfix's stamps without a year are."""
    return datetime.now().astimezone()


def readable(stamp: str) -> str:
    """A stamp for display: the journal's is a number of microseconds since 1970, others stay as they are."""
    moment = parse_stamp(stamp, _NEAR_TO) if stamp.isdecimal() else None
    return moment.astimezone().isoformat(timespec="seconds") if moment is not None else stamp


def clock_time(seconds_since_1970: float) -> str:
    """A moment of this host's clock, "2026-11-24 09:12:33"."""
    return datetime.fromtimestamp(seconds_since_1970).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def moment(second: int | None) -> str | None:
    """A moment of the log's clock, "2026-11-24 09:12:33"; None where no stamp could be read."""
    return (_EPOCH + timedelta(seconds=second)).isoformat(sep=" ") if second else None


def hour_of_day(second: int) -> int:
    """0 to 23."""
    return second // 3600 % 24


def counted(number: float | None) -> str:
    """A number for the eye, "12,345"; nothing for none."""
    return f"{number:,}" if number else "0" if number == 0 else ""


def size(number: int) -> str:
    """Bytes for the eye."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def seconds(value: float | None) -> str:
    """A delay for the eye."""
    if value is None:
        return "–"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def plural(number: int, noun: str) -> str:
    """A number of things for the eye, "1 time", "2,345 times"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def span(first: str | None, last: str | None) -> str:
    """A period for the eye; of one moment, that moment."""
    return first or "?" if first == last else f"{first or '?'} – {last or '?'}"


def domain_of(address: str) -> str:
    """Return the domain of an address in lower case."""
    if not address:
        return "<>"
    _, at, domain = address.rpartition("@")
    return domain.lower() if at else "(no domain)"


def parse_duration(text: str) -> int | None:
    """The seconds of a duration as people write it, "90s", "30m", "12h" or "3d"; None for other texts."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None

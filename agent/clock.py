"""The wall clock, as an argument for code that must not read it itself; and stamps of the log as people read them."""

from datetime import UTC, datetime

from postward.parsers import parse_stamp

_NEAR_TO = datetime(2000, 1, 1, tzinfo=UTC)  # a stamp of the journal has its year


def local_now() -> datetime:
    """Now, in the host's own time zone: Postfix's year-less stamps are in that."""
    return datetime.now().astimezone()


def readable(stamp: str) -> str:
    """A stamp as people read it: the journal's is a number of microseconds."""
    moment = parse_stamp(stamp, _NEAR_TO) if stamp.isdecimal() else None
    return moment.astimezone().isoformat(timespec="seconds") if moment is not None else stamp

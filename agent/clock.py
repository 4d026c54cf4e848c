"""The wall clock, as an argument for code that must not read it itself."""

from datetime import datetime


def local_now() -> datetime:
    """Now, in the host's own time zone: Postfix's year-less stamps are in that."""
    return datetime.now().astimezone()

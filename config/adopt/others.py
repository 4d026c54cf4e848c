"""The other mail programs whose configuration is adopted."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from postward.config.adopt import dma, exim, msmtp, nullmailer, ssmtp
from postward.config.adopt.adopted import Adopted
from postward.config.adopt.source import Files, ThisHost


class Source(NamedTuple):
    """A program: its files, the first of which it needs, and what reads their text."""

    files: tuple[str, ...]
    adopt: Callable[[Files, ThisHost], Adopted]


SOURCES: Mapping[str, Source] = {
    "msmtp": Source(msmtp.FILES, msmtp.adopt),
    "ssmtp": Source(ssmtp.FILES, ssmtp.adopt),
    "nullmailer": Source(nullmailer.FILES, nullmailer.adopt),
    "dma": Source(dma.FILES, dma.adopt),
    "exim": Source(exim.FILES, exim.adopt),
}

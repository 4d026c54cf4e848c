"""Text as roff (man(7)), for the manual pages."""

import os
import re
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version

import click


def heading(name: str, section: int, day: str, summary: str) -> str:
    """Return the head of a manual page. Lines are not stretched: words such as lists of options are too long for that."""
    title = f'.TH {roff(name.upper())} {section} "{day}" "Postward {version("postward")}"'
    return f"{title}\n.ad l\n.nh\n.SH NAME\n{roff(name)} \\- {roff(summary)}"


def roff(text: str) -> str:
    """Return plain text for man(7): paragraphs are kept, and characters special to roff are escaped.

    A word of 48 characters or more may be broken.
    """
    breakable = re.sub(r"\S{48,}", lambda word: "\0".join(textwrap.wrap(word[0], 24)), text)
    escaped = breakable.replace("\\", r"\e").replace("-", r"\-").replace("\b\n", "").replace("\0", r"\:")
    paragraphs = re.split(r"\n\s*\n", escaped.strip())
    lines = (re.sub(r"^(['.])", r"\\&\1", " ".join(paragraph.split())) for paragraph in paragraphs)
    return "\n.PP\n".join(lines)


def item(term: str, text: str) -> str:
    """Return an item of a list; the term is roff, the text is plain."""
    return f".TP\n{term}\n{roff(text)}"


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Return the options of a command as items, with the text of `--help`."""
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)):
            yield item(rf"\fB{roff(record[0])}\fR", record[1])


def today() -> str:
    """Return the day of the build, as reproducible builds name it (SOURCE_DATE_EPOCH), or else the present one."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(int(epoch) if epoch else time.time(), UTC).strftime("%Y-%m-%d")

"""Text of the code as Markdown."""

import re
import textwrap

_COLUMNS = 120


def plain(text: str) -> str:
    """Return text in one line, with characters that have a meaning in Markdown escaped; code spans stay."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part[:1] == "`" else re.sub(r"[*<|\\]", r"\\\g<0>", part) for part in parts)


def cell(text: str) -> str:
    """Return Markdown for a cell of a table, which a bar would end, in code too."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def wrapped(text: str, indent: str = "") -> str:
    """Return a paragraph, or an item of a list, in lines of 120 columns; `indent` begins all but the first."""
    return textwrap.fill(
        text, _COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

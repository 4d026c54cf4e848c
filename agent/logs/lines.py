"""Split log text into lines.

Only LF ends a line: `str.splitlines()` also splits at other characters, which a remote server can send. Bytes that are
not UTF-8 are replaced, so that no input raises an error.
"""

from typing import Final

MAX_LINE: Final = 1 << 20  # bytes; a longer line, which Postfix cannot write, is read in pieces or cut off


def lines_of(data: bytes) -> list[str]:
    """Return the lines of `data`, decoded, without their line ends."""
    return split_lines(data.decode("utf-8", "replace"))


def split_lines(text: str) -> list[str]:
    """Return the lines of `text` without their line ends; a trailing LF does not add an empty line."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines

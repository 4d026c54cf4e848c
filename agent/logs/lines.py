"""Bytes to lines: the only splitter of log text.

Only LF ends a line: `str.splitlines()` also splits at characters that a remote server can send. Bytes that are not UTF-8
are replaced, so that nothing a stranger sends can raise.
"""


def lines_of(data: bytes) -> list[str]:
    """The whole lines of `data`, decoded, without their ends."""
    return split_lines(data.decode("utf-8", "replace"))


def split_lines(text: str) -> list[str]:
    """The lines of `text`, without their ends; a trailing LF makes no empty line."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines

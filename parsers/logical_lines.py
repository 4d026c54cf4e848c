"""Logical lines of Postfix's files: a line and those after it that begin with white space."""

from collections.abc import Iterator

BLANK = " \t\r\f\v"  # as for Postfix: without the no-break space


def logical_lines(text: str) -> Iterator[list[tuple[int, str]]]:
    """Join lines as Postfix does: white space at the start continues the line before, also over comments (postconf(5)).

    Yields:
        the lines that belong together: (number, text).
    """
    line: list[tuple[int, str]] = []
    for number, part in enumerate(text.split("\n"), 1):
        bare = part.strip(BLANK)
        if not bare or bare.startswith("#"):
            continue
        if part[0] in " \t" and line:
            line.append((number, bare))
            continue
        if line:
            yield line
        # White space in front of the very first line stays: postmap(1) skips such a line.
        line = [(number, part.rstrip(BLANK))]
    if line:
        yield line

"""The lines of main.cf and master.cf that belong to others than Postward.

Pure. Two versions of a file that agree in them differ by Postward's edits alone, so either can replace the other.
"""

import re
from collections.abc import Collection, Iterator


def unmanaged(content: bytes, managed: Collection[str]) -> list[bytes]:
    """Return the lines that belong to no managed entry: other entries, comments and empty lines.

    Args:
        content: main.cf or master.cf. Line ends do not count: postconf(1) replaces those of Windows where it edits.
        managed: names of parameters or services, with which their entries begin (postconf(5), master(5)).
    """
    return list(_unmanaged(content, managed))


def _unmanaged(content: bytes, managed: Collection[str]) -> Iterator[bytes]:
    ours = False
    for line in content.removesuffix(b"\n").split(b"\n"):
        text = line.strip()
        is_entry = bool(text) and not text.startswith(b"#")
        if is_entry and line[:1].strip():  # a line that begins with a blank continues the entry before
            ours = re.split(rb"[\s=]", line, maxsplit=1)[0].decode(errors="replace") in managed
        if not (is_entry and ours):
            yield line.removesuffix(b"\r")

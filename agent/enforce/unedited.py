"""Records since which generation main.cf and master.cf hold only Postward's edits.

A roll-back puts the kept bytes back where that is so, and edits where someone else has edited since. If the record is
missing or older than the file, as after a kill, the roll-back edits.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from postward.agent.fsutil import write_atomically
from postward.agent.stored import Form, read_stored

_FILE = "unedited.json"
_FORM: Form[dict[str, dict[str, object]]] = Form(dict[str, dict[str, Any]])


def note_edit(
    directory: Path, name: str, before: bytes, after: bytes, kept: tuple[int, bytes] | None
) -> None:
    """Record an edit of Postward's. Raises OSError.

    Args:
        directory: enforce.directory.
        name: main.cf or master.cf.
        before: the content that was edited.
        after: the content that replaced it.
        kept: number and content of the generation that was kept just before, if any.
    """
    record = _read(directory)
    since = _since(record, name, before)
    if since is None and kept is not None and kept[1] == before:
        since = kept[0]
    record.pop(name, None)
    if since is not None:
        record[name] = {"since": since, "digest": _digest(after)}
    write_atomically(directory / _FILE, json.dumps(record).encode(), mode=0o600)


def is_unedited(directory: Path, name: str, content: bytes, number: int) -> bool:
    """Return True if only Postward has edited a file with this content since the generation."""
    since = _since(_read(directory), name, content)
    return since is not None and since <= number


def _since(record: dict[str, dict[str, object]], name: str, content: bytes) -> int | None:
    entry = record.get(name, {})
    since = entry.get("since")
    return since if isinstance(since, int) and entry.get("digest") == _digest(content) else None


def _read(directory: Path) -> dict[str, dict[str, object]]:
    try:
        return read_stored(directory / _FILE, _FORM)
    except (OSError, ValueError):
        return {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

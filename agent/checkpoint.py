"""Position and counts in one file, written as one: after a restart counting goes on where it stopped.

Promise: the file is replaced atomically and flushed to disk, so that it always holds a position and exactly the
counts up to it. A damaged file (its checksum tells) is put aside and told of; counting starts afresh then. One of
another version is refused, and stays as it is.

How it fails: `OSError` when it cannot be written, and the former one stays; `CheckpointError` when what is there
can neither be used nor put aside.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.files import write_atomically
from agent.source.segment import Mark
from agent.tally import Tally

VERSION = 1
_log = logging.getLogger("postward.checkpoint")
# Two would write the same file beside the checkpoint, and one would rename what the other has half written.
_one_writer = threading.Lock()


class CheckpointError(Exception):
    """The checkpoint cannot be used, and must not be overwritten."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was counted, and the position in the log `source` up to which it was.

    `marks` is None while no log could be seen yet, and empty for a log of which everything is news; `cursor` is the
    position in the journal, if that is the source.
    `parts` is what other parts of the agent keep in step with the counts, by name: what may go into JSON.
    """

    source: str
    marks: Sequence[Mark] | None
    tally: Tally
    parts: Mapping[str, Any] = field(default_factory=dict)
    cursor: str | None = None

    def to_json(self) -> bytes:
        """The file's content."""
        body = {
            "source": self.source,
            "marks": None if self.marks is None else [mark.as_json() for mark in self.marks],
            "tally": self.tally.as_json(),
            "parts": self.parts,
            "cursor": self.cursor,
        }
        return _dump({"version": VERSION, "sha256": _checksum(body), **body})


def write_checkpoint(path: Path, content: bytes) -> None:
    """Replace the checkpoint. Raises OSError; the former one stays then."""
    with _one_writer:
        write_atomically(path, content, mode=0o640)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The last checkpoint; None if there is none that can be used.

    Raises:
        CheckpointError: it is of another version, or cannot be read: starting afresh would overwrite it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(
            f"{path}: {error.strerror}; it must be readable and writable for this user"
        ) from error
    try:
        return parse_checkpoint(content)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except ValueError as error:
        _put_aside(path, error)
        return None


def parse_checkpoint(content: bytes) -> Checkpoint:
    """What `to_json` made.

    Raises:
        CheckpointError: it is of another version.
        ValueError: it is damaged.
    """
    try:
        data = json.loads(content)
        version = data.pop("version")
        if not isinstance(version, int):
            raise TypeError(f"version {version!r}")  # noqa: TRY301 - as every other thing that is no checkpoint
        if version != VERSION:
            raise CheckpointError(_of_another_version(version))
        checksum = data.pop("sha256")
        if checksum != _checksum(data):
            raise ValueError("its checksum is wrong")
        marks = data["marks"]
        return Checkpoint(
            data["source"],
            None if marks is None else [Mark(**mark) for mark in marks],
            Tally.from_json(data["tally"]),
            dict(data.get("parts", {})),
            data.get("cursor"),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _of_another_version(version: int) -> str:
    if version > VERSION:
        return (
            f"is of version {version}, and this Postward knows version {VERSION}; "
            "start the Postward that wrote it, or move the file away to count afresh"
        )
    return (
        f"is of version {version}, which is older than what this Postward can take over (version {VERSION}); "
        "move the file away to count afresh"
    )


def _put_aside(path: Path, reason: ValueError) -> None:
    aside = path.with_suffix(".damaged")
    try:
        path.replace(aside)
    except OSError as error:
        raise CheckpointError(
            f"{path}: is damaged ({reason}) and cannot be put aside: {error.strerror}; move it away to count afresh"
        ) from error
    _log.error(
        "checkpoint %s is damaged (%s): put aside as %s, counting starts afresh", path, reason, aside.name
    )


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_dump(body)).hexdigest()


def _dump(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()

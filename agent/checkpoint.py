"""Position and counts in one file, written as one: after a restart counting goes on where it stopped.

Promise: the file is replaced atomically and flushed to disk, so that it always holds a position and exactly the
counts up to it. A damaged file is put aside and told of, one of a later version is refused; neither stops the agent
from starting afresh.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.files import write_atomically
from agent.source.segment import Mark
from agent.tally import Tally

VERSION = 1
_log = logging.getLogger("postward.checkpoint")


class CheckpointError(Exception):
    """The checkpoint cannot be used, and must not be overwritten."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was counted, and the position in the log `source` up to which it was."""

    source: str
    marks: Sequence[Mark]
    tally: Tally

    def to_json(self) -> bytes:
        """The file's content."""
        data = {
            "version": VERSION,
            "source": self.source,
            "marks": [mark.as_json() for mark in self.marks],
            "tally": self.tally.as_json(),
        }
        return json.dumps(data, separators=(",", ":")).encode()


def write_checkpoint(path: Path, content: bytes) -> None:
    """Replace the checkpoint. Raises OSError; the former one stays then."""
    write_atomically(path, content, mode=0o640)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The last checkpoint; None if there is none that can be used.

    Raises:
        CheckpointError: it is of a later version, or cannot be read: starting afresh would overwrite it.
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
        data = json.loads(content)
        version = data["version"]
        if version == VERSION:
            marks = [Mark(**mark) for mark in data["marks"]]
            return Checkpoint(data["source"], marks, Tally.from_json(data["tally"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        _log.error(
            "checkpoint %s is damaged (%s): put aside as %s, counting starts afresh", path, error, aside.name
        )
        return None
    raise CheckpointError(
        f"{path}: is of version {version}, and this Postward knows version {VERSION}; "
        "start the Postward that wrote it, or move the file away to count afresh"
    )

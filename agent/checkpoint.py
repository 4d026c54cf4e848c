"""Position and counts in one file, written as one: after a restart counting goes on where it stopped.

Promise: the file is replaced atomically and flushed to disk, so that it always holds a position and exactly the
counts up to it. A damaged file (its checksum tells) is put aside and told of; counting starts afresh then. One of
an older version is taken over as far as that is known how to; any other is refused, and stays as it is.

How it fails: `OSError` when it cannot be written, and the former one stays; `CheckpointError` when what is there
can neither be used nor put aside.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from postward.agent.fsutil import write_atomically
from postward.agent.metrics.tally import Tally

VERSION = 2
_log = logging.getLogger("postward.checkpoint")
# Two would write the same file beside the checkpoint, and one would rename what the other has half written.
_one_writer = threading.Lock()


class CheckpointError(Exception):
    """The checkpoint cannot be used, and must not be overwritten."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was counted, and the positions in the sources of the log up to which it was.

    Attributes:
        positions: name of a source → its position, as `postward.agent.logs.source` has it.
        tally: the counts.
        parts: what other parts of the agent keep in step with the counts, by name: what may go into JSON.
    """

    positions: Mapping[str, Any]
    tally: Tally
    parts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The file's content."""
        body = {"positions": self.positions, "tally": self.tally.as_json(), "parts": self.parts}
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
        if version != VERSION and version not in _MIGRATIONS:
            raise CheckpointError(_of_another_version(version))
        checksum = data.pop("sha256")
        if checksum != _checksum(data):
            raise ValueError("its checksum is wrong")
        while version != VERSION:
            data = _MIGRATIONS[version](data)
            version += 1
        return Checkpoint(
            dict(data["positions"]), Tally.from_json(data["tally"]), dict(data.get("parts", {}))
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _from_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """One source, and the marks of it."""
    return {
        "positions": {data["source"]: data["marks"]},
        "tally": data["tally"],
        "parts": data.get("parts", {}),
    }


# Version → what makes the next one of it.
_MIGRATIONS: Final[Mapping[int, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {1: _from_1}


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

"""Atomic replacement of files, on a disk with errors."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from postward.agent.fsutil import write_atomically


def failing_fsync(fails: Callable[[int], bool]) -> Callable[[int], None]:
    """Return an fsync(2) that reports EIO for files whose mode `fails` accepts."""

    def fsync(descriptor: int) -> None:
        if fails(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    return fsync


def test_a_failed_flush_of_the_file_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is raised before the rename, and the temporary file is removed."""
    path = tmp_path / "state.json"
    path.write_bytes(b"former")
    monkeypatch.setattr(os, "fsync", failing_fsync(stat.S_ISREG))

    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(path, b"new")

    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_flush_of_the_directory_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is replaced already, and callers take an error for an unchanged file."""
    path = tmp_path / "state.json"
    path.write_bytes(b"former")
    monkeypatch.setattr(os, "fsync", failing_fsync(stat.S_ISDIR))

    write_atomically(path, b"new")

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]

"""Facts of files and of the file system of the queue, for lint."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file as stat(2) sees it.

    Attributes:
        exists: the file exists.
        mode: permission bits.
        owner: uid.
        group: gid.
        mtime: in seconds since the epoch.
        directory: it is a directory.
        certificates: it contains at least one certificate; None if that was not checked.
        word: the first word of the file, if it is not secret; None if it was not read.
        entries: number of files in a directory; None if they were not counted.
    """

    exists: bool = True
    mode: int = 0o644
    owner: int = 0
    group: int = 0
    mtime: float = 0.0
    directory: bool = False
    certificates: bool | None = None
    word: str | None = None
    entries: int | None = None


MISSING = FileFacts(exists=False)


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the queue, in bytes and inodes; 0 of 0 inodes if it makes them as needed."""

    free: int
    size: int
    free_inodes: int
    inodes: int
